"""How much memory a job may take: what the machine and the control group have left, or what a setting allows."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from trainer.settings import Settings

# The rest is left to the other processes of the machine.
_SHARE_OF_FREE: Final = 0.9
_CGROUP: Final = Path("/sys/fs/cgroup")
_MEMINFO: Final = Path("/proc/meminfo")


def memory_limit_bytes(settings: Settings) -> int:
    """What one job may take, with what this process holds already."""
    if settings.trainer_max_memory_gib:
        return int(settings.trainer_max_memory_gib * 2**30)
    return int(_SHARE_OF_FREE * free_bytes())


def free_bytes(*, meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> int:
    """Memory that can be had without pushing another process out: of the machine, and of the control group if less."""
    return min(_free_on_machine(meminfo), _free_in_group(cgroup))


def _free_on_machine(meminfo: Path) -> int:
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]) * 1024
    except (OSError, StopIteration, ValueError):
        # No Linux: half of what is built in.
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _free_in_group(cgroup: Path) -> int:
    """Of the control group, of either version, that this process sees as its root: a container's."""
    for limit, used, statistics in (
        ("memory.max", "memory.current", "memory.stat"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
    ):
        try:
            limit_bytes = int((cgroup / limit).read_text(encoding="ascii"))
            used_bytes = int((cgroup / used).read_text(encoding="ascii"))
            fields = dict(line.split() for line in (cgroup / statistics).read_text(encoding="ascii").splitlines())
        except (OSError, ValueError):  # "max": no limit
            continue
        # Cached files go when memory is wanted.
        cached_bytes = int(fields.get("inactive_file", fields.get("total_inactive_file", 0)))
        return max(0, limit_bytes - used_bytes + cached_bytes)
    return 2**63 - 1
