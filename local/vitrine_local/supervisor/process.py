"""One process of a service: its own process group, tied to the supervisor's life, its output read line by line."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from vitrine_local import parent_death
from vitrine_local.supervisor.reaper import Reaper
from vitrine_local.supervisor.spec import ServiceSpec

_READ_BYTES: Final = 65_536
_MAX_LINE_BYTES: Final = 1_048_576
# A grandchild may hold the output pipe open after the process has ended. Its last lines are not worth a longer wait.
_DRAIN_TIMEOUT_S: Final = 2.0
_MAX_NICENESS: Final = 19
_AUTOGROUP_TRIES: Final = 10
_AUTOGROUP_WAIT_S: Final = 0.12  # the kernel accepts one such change per user every 0.1 s


class ServiceProcess:
    """A running process. Make one with `ServiceProcess.start`."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        *,
        output: int,
        reaper: Reaper,
        on_line: Callable[[str], None],
    ) -> None:
        self._process = process
        self._reaper = reaper
        self.started_at_s = time.monotonic()
        reaper.add(process.pid)
        self._reader = asyncio.create_task(_read_lines(output, on_line))
        self._exit = asyncio.create_task(self._wait())

    @classmethod
    async def start(cls, spec: ServiceSpec, *, reaper: Reaper, on_line: Callable[[str], None]) -> ServiceProcess:
        """Start the service's command. Call it from the main thread (see `parent_death`). Raises OSError."""
        assert spec.command is not None
        if spec.reservation is not None:
            spec.reservation.hand_over()
        # Our own pipe: asyncio's would report the exit only after every process that inherited the pipe has ended.
        read_end, write_end = os.pipe()
        stdin = _filled_pipe(spec.stdin) if spec.stdin else None
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", parent_death.__file__, str(os.getpid()), *spec.command,
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
        return cls(process, output=read_end, reaper=reaper, on_line=on_line)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return not self._exit.done()

    @property
    def uptime_s(self) -> float:
        return time.monotonic() - self.started_at_s

    async def wait(self) -> int:
        """Wait until the last line is read and the whole process group is gone.

        Returns the exit status; negative: the number of the signal that ended the process.
        """
        return await asyncio.shield(self._exit)

    def kill(self) -> None:
        """Kill the process and its children now."""
        if self.running:
            self._kill_group()

    async def stop(self, *, grace_s: float, hurry: asyncio.Event) -> int:
        """Graceful shutdown: send SIGTERM, then kill the group after `grace_s` seconds or once `hurry` is set."""
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
        self._kill_group()  # the children of a killed worker
        self._reaper.remove(self._process.pid)
        await asyncio.wait({self._reader}, timeout=_DRAIN_TIMEOUT_S)
        self._reader.cancel()
        return status


def lower_priority(group: int, niceness: int) -> None:
    """Add `niceness` to this process's nice value for every process of a group. Their later children inherit it.

    Linux with autogroup, the default of most distributions, compares nice values only inside a session, and each
    service has its own session. There the nice value of the whole session is set as well.

    Call it once the service is ready: on a busy machine a start at low priority might never finish. Blocks up to 1.2 s.
    """
    wanted = min(_MAX_NICENESS, os.getpriority(os.PRIO_PROCESS, 0) + niceness)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.setpriority(os.PRIO_PGRP, group, wanted)
    for _ in range(_AUTOGROUP_TRIES):
        try:
            Path(f"/proc/{group}/autogroup").write_text(str(wanted))
        except BlockingIOError:
            time.sleep(_AUTOGROUP_WAIT_S)
        except OSError:  # no autogroup here, or the process has ended
            return
        else:
            return


def _filled_pipe(content: bytes) -> int:
    """The read end of a pipe that holds `content` and is closed for writing. `content` must fit into the buffer."""
    read_end, write_end = os.pipe()
    try:
        os.write(write_end, content)
    finally:
        os.close(write_end)
    return read_end


async def _read_lines(descriptor: int, on_line: Callable[[str], None]) -> None:
    """Call `on_line` with every line until all writers have closed the pipe. Closes `descriptor`."""
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
