"""The supervisor's side of the watchdog: starts it and tells it which process groups to kill if the supervisor dies.

The kernel's own tie (see `launch`) reaches only direct children; this one reaches the children of workers too.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

_SCRIPT = Path(__file__).with_name("watchdog_process.py")
_STOP_TIMEOUT_S = 10


class Watchdog:
    """A context: inside it, the groups that `watch` named die with this process."""

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

    def watch(self, group: int) -> None:
        """Kill the process group when this process dies."""
        self._groups.add(group)
        self._send(f"+{group}\n")

    def forget(self, group: int) -> None:
        """The group has ended: its number may soon be somebody else's."""
        self._groups.discard(group)
        self._send(f"-{group}\n")

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_SCRIPT)],
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
        except BrokenPipeError:  # somebody killed it: a new one takes over the whole list
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
