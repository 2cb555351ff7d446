"""Kills processes and restarts them, as a supervisor does."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

from harness.processes import Process

_LOOK_EVERY_S = 0.1


class Restarter:
    """Restarts each process that has ended."""

    def __init__(self, *processes: Process) -> None:
        self.starts = 0
        self._processes = processes
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Restarter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_EVERY_S):
            for process in self._processes:
                if not process.running():
                    process.start()
                    self.starts += 1


def pool_processes(pid: int) -> list[int]:
    """The processes that a worker has spawned to run its tasks."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            command = (status.parent / "cmdline").read_bytes()
            if f"\nPPid:\t{pid}\n" in status.read_text() and b"spawn_main" in command:
                found.append(int(status.parent.name))
    return found
