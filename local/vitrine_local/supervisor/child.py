"""One process of one service: started in a process group of its own, tied to the supervisor's life, its output read to
the end, and gone with all its children when it is stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from vitrine_local.supervisor.spec import ServiceSpec
from vitrine_local.supervisor.watchdog import Watchdog

_LAUNCHER = Path(__file__).with_name("launch.py")
_READ_BYTES = 65_536
_MAX_LINE_BYTES = 1_048_576
# A grandchild may hold the pipe open after the child's death; its last words are not worth waiting for.
_DRAIN_TIMEOUT_S = 2.0


class Child:
    """A running process. Make one with `Child.start`."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        *,
        output: int,
        watchdog: Watchdog,
        on_line: Callable[[str], None],
    ) -> None:
        self._process = process
        self._watchdog = watchdog
        self.started_at_s = time.monotonic()
        watchdog.watch(process.pid)
        self._reader = asyncio.create_task(_read_lines(output, on_line))
        self._exit = asyncio.create_task(self._wait())

    @classmethod
    async def start(cls, spec: ServiceSpec, *, watchdog: Watchdog, on_line: Callable[[str], None]) -> Child:
        """Start the service's command. It must be called from the main thread: the kernel ties a child to the thread
        that made it."""
        assert spec.command is not None
        if spec.reservation is not None:
            spec.reservation.hand_over()
        # A pipe of our own: asyncio's would put off the news of a death until every heir of the pipe is dead too.
        read_end, write_end = os.pipe()
        stdin = _filled_pipe(spec.stdin) if spec.stdin else None
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), *spec.command,
                stdin=asyncio.subprocess.DEVNULL if stdin is None else stdin,
                stdout=write_end,
                stderr=asyncio.subprocess.STDOUT,
                env=dict(spec.environment),
                start_new_session=True,
            )  # fmt: skip
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
            if stdin is not None:
                os.close(stdin)
        return cls(process, output=read_end, watchdog=watchdog, on_line=on_line)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return not self._exit.done()

    @property
    def lived_s(self) -> float:
        return time.monotonic() - self.started_at_s

    async def wait(self) -> int:
        """The exit status, after the last line was read and the whole group is gone. Negative: a signal's number."""
        return await asyncio.shield(self._exit)

    def kill(self) -> None:
        """End the process and its children at once."""
        if self.running:
            self._kill_group()

    async def stop(self, *, grace_s: float, hurry: asyncio.Event) -> int:
        """Ask the process to end; kill its group after `grace_s` seconds or as soon as `hurry` is set."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        hurried = asyncio.create_task(hurry.wait())
        await asyncio.wait({self._exit, hurried}, timeout=grace_s, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        self.kill()
        return await self.wait()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def _wait(self) -> int:
        status = await self._process.wait()
        self._kill_group()  # children that a killed worker left behind
        self._watchdog.forget(self._process.pid)
        await asyncio.wait({self._reader}, timeout=_DRAIN_TIMEOUT_S)
        self._reader.cancel()
        return status


def _filled_pipe(content: bytes) -> int:
    """The read end of a pipe that holds `content`, which is far smaller than a pipe's buffer, and then ends."""
    read_end, write_end = os.pipe()
    try:
        os.write(write_end, content)
    finally:
        os.close(write_end)
    return read_end


async def _read_lines(descriptor: int, on_line: Callable[[str], None]) -> None:
    """Hand over every line until the pipe's other end is closed everywhere; closes this end."""
    loop = asyncio.get_running_loop()
    stream = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(descriptor, "rb", buffering=0)
    )
    try:
        rest = b""
        while chunk := await stream.read(_READ_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > _MAX_LINE_BYTES:
                lines, rest = [*lines, rest], b""
            for line in lines:
                on_line(line.decode(errors="replace"))
        if rest:
            on_line(rest.decode(errors="replace"))
    finally:
        transport.close()
