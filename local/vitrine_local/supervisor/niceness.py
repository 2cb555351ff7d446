"""Lets a service give way to others on the processor.

Linux compares niceness inside a session only where it groups tasks by session (autogroup, the default of most
distributions), and each service has a session of its own: there the group as a whole is made as nice.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Final

_GREATEST: Final = 19
_TRIES: Final = 10
_WAIT_S: Final = 0.12  # the kernel takes one such change of a user in a tenth of a second


def give_way(group: int, niceness: int) -> None:
    """Make every process of a group nicer than this one by `niceness`; those that they start later inherit it.

    Called once the service is ready: on a busy machine a start that gives way might never end. Blocks for a moment.
    """
    wanted = min(_GREATEST, os.getpriority(os.PRIO_PROCESS, 0) + niceness)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.setpriority(os.PRIO_PGRP, group, wanted)
    for _ in range(_TRIES):
        try:
            Path(f"/proc/{group}/autogroup").write_text(str(wanted))
        except BlockingIOError:
            time.sleep(_WAIT_S)
        except OSError:  # no such grouping here, or the process has ended
            return
        else:
            return
