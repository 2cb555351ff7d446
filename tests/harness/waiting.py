"""Waits for a condition with a deadline, instead of sleeping for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

POLL_S: Final = 0.02
# After this time the condition counts as hung. No test depends on the speed or load of the machine, so the deadline is
# far above what a busy machine needs.
HUNG_AFTER_S: Final = 600


def wait_until(condition: Callable[[], T], *, deadline_s: float = HUNG_AFTER_S, what: str = "the condition") -> T:
    """Return the first truthy result of `condition`.

    An exception counts as not yet, and the last one is shown. `deadline_s` may be longer than HUNG_AFTER_S, but need
    not be shorter.
    """
    deadline_s = max(deadline_s, HUNG_AFTER_S)
    give_up_at_s = time.monotonic() + deadline_s
    last: object = None
    while time.monotonic() < give_up_at_s:
        try:
            answer = condition()
        except Exception as error:
            last = error
        else:
            if answer:
                return answer
            last = answer
        time.sleep(POLL_S)  # a poll with a deadline
    raise AssertionError(f"{what} did not come true within {deadline_s} s; last: {last!r}")
