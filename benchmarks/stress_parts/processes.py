"""What the processes of a running system use, read from /proc: seconds of CPU and resident memory."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
SERVICES: Final = ("search_api", "embedder", "qdrant", "redis")


@dataclass(frozen=True, slots=True)
class Processes:
    """The services of one system by name, as `run.json` of its data folder names them."""

    pids: dict[str, int]

    @classmethod
    def of(cls, data: Path) -> Processes:
        pids: dict[str, int] = json.loads((data / "run.json").read_text())["pids"]
        known = {name.replace("-", "_"): pid for name, pid in pids.items()}
        return cls({name: known[name] for name in SERVICES if name in known})

    def cpu_s(self) -> float:
        """Seconds of CPU that all of them have used, in user mode and in the kernel."""
        return sum(_cpu_s(pid) for pid in self.pids.values())

    def reset_peaks(self) -> None:
        for pid in self.pids.values():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def resident_mb(self) -> dict[str, float]:
        return {name: _memory_mb(pid, "VmRSS") for name, pid in self.pids.items()}

    def peak_mb(self) -> dict[str, float]:
        """The most resident memory since `reset_peaks`."""
        return {name: _memory_mb(pid, "VmHWM") for name, pid in self.pids.items()}

    def alive(self) -> bool:
        return all(Path(f"/proc/{pid}").exists() for pid in self.pids.values())


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


def _memory_mb(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"process {pid} has gone")
