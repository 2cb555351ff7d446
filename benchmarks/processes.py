"""Processes of a benchmark: running a part in its own process, and CPU time and memory from /proc (Linux only)."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
SERVICES: Final = ("search_api", "embedder", "qdrant", "redis")
LOG_TAIL_CHARS: Final = 3000
_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
# Positions in /proc/PID/stat after the name in brackets.
_SESSION, _USER, _SYSTEM = 3, 11, 12


def run_module(module: str, order: Mapping[str, Any], *options: str) -> Any:
    """Run a module in its own process, so that its CPU time and memory are its own.

    The module reads `order` from standard input and writes its answer to standard output, both as JSON. Raises
    SystemExit, with its output, if it fails.
    """
    command = [sys.executable, "-m", module, *options]
    done = subprocess.run(
        command, input=json.dumps(order), env=environment({}), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{module} failed:\n{done.stderr[-LOG_TAIL_CHARS:]}")
    return json.loads(done.stdout)


def environment(own: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with `own` variables, in which the benchmarks can be imported."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **own}


def own_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def own_peak_mb() -> float:
    """Peak resident memory of this process, in MB.

    From /proc, because the peak that getrusage reports includes the parent's memory at the start of the process.
    """
    return memory_mb(os.getpid(), "VmHWM")


def own_resident_mb() -> float:
    """Resident memory of this process, in MB. It includes the pages of mapped files that are in memory."""
    return memory_mb(os.getpid(), "VmRSS")


def session_cpu_s(session: int) -> float | None:
    """CPU seconds of a session's running processes; None if the system does not report them as Linux does."""
    ticks, known = 0, False
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # the process ended meanwhile
            fields = _stat(stat)
            if int(fields[_SESSION]) == session:
                ticks += int(fields[_USER]) + int(fields[_SYSTEM])
                known = True
    return ticks * _TICK_S if known else None


@dataclass(frozen=True, slots=True)
class ServiceProcesses:
    """The services of a running local system: process ids by name."""

    pids: dict[str, int]

    @classmethod
    def of(cls, data: Path) -> ServiceProcesses:
        """From `run.json` of a data folder."""
        pids: dict[str, int] = json.loads((data / "run.json").read_text())["pids"]
        known = {name.replace("-", "_"): pid for name, pid in pids.items()}
        return cls({name: known[name] for name in SERVICES if name in known})

    def cpu_s(self) -> float:
        """CPU seconds of all services, in user mode and in the kernel."""
        stats = [_stat(Path(f"/proc/{pid}/stat")) for pid in self.pids.values()]
        return sum(int(fields[_USER]) + int(fields[_SYSTEM]) for fields in stats) * _TICK_S

    def reset_peaks(self) -> None:
        for pid in self.pids.values():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def resident_mb(self) -> dict[str, float]:
        return {name: memory_mb(pid, "VmRSS") for name, pid in self.pids.items()}

    def peak_mb(self) -> dict[str, float]:
        """The peak of resident memory since `reset_peaks`."""
        return {name: memory_mb(pid, "VmHWM") for name, pid in self.pids.items()}

    def alive(self) -> bool:
        return all(Path(f"/proc/{pid}").exists() for pid in self.pids.values())


def _stat(file: Path) -> list[str]:
    return file.read_text(errors="replace").rpartition(")")[2].split()


def memory_mb(pid: int, name: str) -> float:
    """Memory of a process, in MB: `VmRSS` (resident), `VmHWM` (its peak) or `RssAnon` (without mapped files)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"process {pid} has ended")
