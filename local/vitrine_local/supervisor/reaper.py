"""Kills the services' processes if the supervisor is killed.

The kernel's parent-death signal (see `parent_death`) reaches direct children only. The reaper is a small process that
knows every service's process group, and so reaches the children of workers too. It reads `+GROUP` and `-GROUP` lines
from standard input; at end of input, which means the supervisor has ended, it kills every group still listed. It
inherits the lock on the data folder and holds it until then, so the next system never meets processes of this one.

This file also runs as that process (`python -I -S reaper.py`), so it uses the standard library only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from types import TracebackType
from typing import Self

_STOP_TIMEOUT_S = 10


class Reaper:
    """Context manager: the process groups passed to `add` are killed if this process dies inside the context."""

    def __init__(self, *, lock_descriptor: int) -> None:
        self._lock_descriptor = lock_descriptor
        self._groups: set[int] = set()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._close(self._process)

    def add(self, group: int) -> None:
        """Kill this process group if the supervisor dies."""
        self._groups.add(group)
        self._send(f"+{group}\n")

    def remove(self, group: int) -> None:
        """The group has ended. The system may reuse its number."""
        self._groups.discard(group)
        self._send(f"-{group}\n")

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[self._lock_descriptor],
            start_new_session=True,
            bufsize=0,
        )

    def _send(self, message: str) -> None:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        try:
            process.stdin.write(message.encode())
        except BrokenPipeError:  # the reaper was killed: start a new one with the whole list
            self._close(process)
            self._start()
            for group in self._groups:
                self._send(f"+{group}\n")

    @staticmethod
    def _close(process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.wait(timeout=_STOP_TIMEOUT_S)


def remaining_groups(lines: Iterable[str]) -> set[int]:
    """The process groups that were added and not removed."""
    groups: set[int] = set()
    for line in lines:
        group = int(line[1:])
        if line.startswith("+"):
            groups.add(group)
        else:
            groups.discard(group)
    return groups


def main() -> None:
    # Signals from the terminal are for the supervisor. This process ends at end of input.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for group in remaining_groups(sys.stdin):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
