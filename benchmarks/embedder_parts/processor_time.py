"""Processor seconds used so far, user and system together: this process's, and a server's with all it started."""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path

# Positions in /proc/PID/stat after the name in brackets: session, user and system ticks.
_SESSION, _USER, _SYSTEM = 3, 11, 12


def own_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def session_cpu_s(session: int) -> float | None:
    """Processor seconds of a session's living processes; None where the system does not tell them as Linux does."""
    ticks, known = 0, False
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # one that ended between the listing and the reading
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
            if int(fields[_SESSION]) == session:
                ticks += int(fields[_USER]) + int(fields[_SYSTEM])
                known = True
    return ticks / os.sysconf("SC_CLK_TCK") if known else None
