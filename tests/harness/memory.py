"""How much memory a piece of work takes at its peak, in this process."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_STATUS = Path("/proc/self/status")


@dataclass
class Peak:
    """What was taken at most, in bytes, above what was held when it began. Set at the end."""

    grown_bytes: int = 0


@contextmanager
def peak_memory() -> Iterator[Peak]:
    """Measure the peak of what runs inside.

    The kernel's own peak (VmHWM) is set back first: ru_maxrss never falls, so that an earlier test's peak would hide
    any growth.
    """
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before_bytes = _peak_bytes()
    peak = Peak()
    yield peak
    peak.grown_bytes = _peak_bytes() - before_bytes


def _peak_bytes() -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())
    assert found, "the kernel tells no peak"
    return int(found[1]) * 1024
