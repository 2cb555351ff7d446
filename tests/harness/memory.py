"""Peak memory of a piece of work in this process."""

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
    """The peak in bytes above the memory used at the start. Set at the end."""

    grown_bytes: int = 0


@contextmanager
def peak_memory() -> Iterator[Peak]:
    """Measure the peak memory of the block.

    The kernel's peak (VmHWM) is reset first. ru_maxrss never falls, so the peak of an earlier test would hide any
    growth.
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
