"""Runs one service: starts it once its dependencies are ready, waits for its readiness, and restarts it with a growing
backoff whenever it dies or hangs. Only a service that was never ready ends its supervision, with ServiceFailed.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Literal

from vitrine_local.data_folder import ServiceRecord
from vitrine_local.errors import ServiceFailed
from vitrine_local.supervisor.health import LivenessMonitor
from vitrine_local.supervisor.process import ServiceProcess, lower_priority
from vitrine_local.supervisor.reaper import Reaper
from vitrine_local.supervisor.spec import ServiceSpec

_PROBE_INTERVAL_S: Final = 0.1
_MAX_REPAIRS: Final = 3
_LAST_LINES: Final = 30

Level = Literal["info", "warning", "error"]
Note = Callable[[Level, str], None]


@dataclass(slots=True)
class RestartBackoff:
    """The pause before each restart: doubles with every early crash, without a limit on the number of restarts.

    A crash is early if the process ran for less than `early_s` seconds. A longer run resets the pause.
    """

    early_s: float = 60.0
    first_delay_s: float = 0.2
    max_delay_s: float = 30.0
    _early_crashes: int = 0

    def next_delay_s(self, *, uptime_s: float) -> float:
        """Seconds to wait before the next start, after a process that ran for `uptime_s`."""
        self._early_crashes = self._early_crashes + 1 if uptime_s < self.early_s else 1
        doublings = min(self._early_crashes - 1, 20)
        return min(self.max_delay_s, self.first_delay_s * 2.0**doublings)


class State(StrEnum):
    """The state of a service, as run.json and `vitrine status` show it."""

    WAITING = "waiting"  # for its dependencies
    STARTING = "starting"
    READY = "ready"
    SILENT = "silent"  # it runs but does not answer
    RESTARTING = "restarting"  # it died and will start after a pause
    STOPPED = "stopped"


_TROUBLES: Final = frozenset({State.SILENT, State.RESTARTING})


class Service:
    """Supervises one service. `note` reports its events to the user; `on_line` receives its output."""

    def __init__(
        self,
        spec: ServiceSpec,
        *,
        reaper: Reaper,
        note: Note,
        on_line: Callable[[str], None],
        backoff: RestartBackoff | None = None,
    ) -> None:
        self.spec = spec
        self.ready = asyncio.Event()  # set at the first readiness, never cleared
        self.stopped = asyncio.Event()
        self.process: ServiceProcess | None = None
        self._state = State.WAITING
        self._since = _now()
        self._deaths = 0
        self._reason: str | None = None
        self._repairs = 0
        self._last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._stopping = asyncio.Event()
        self._starting = asyncio.Lock()  # no stop between the check of `_stopping` and the started process
        self._reaper = reaper
        self._note = note
        self._on_line = on_line
        self._backoff = backoff or RestartBackoff()

    @property
    def is_ready(self) -> bool:
        """Whether it is ready now."""
        return self._state is State.READY

    @property
    def record(self) -> ServiceRecord:
        """Its entry in run.json."""
        return ServiceRecord(state=self._state, since=self._since, deaths=self._deaths, reason=self._reason)

    async def run(self, dependencies: Sequence[Service]) -> None:
        """Keep the service running until `stop`. Starts once all `dependencies` are ready. Raises ServiceFailed."""
        for dependency in dependencies:
            await dependency.ready.wait()
        if self.spec.command is None:
            await self._wait_ready(None)
            self._set_state(State.READY)
            self._note("info", "answers (it runs elsewhere)")
            self.ready.set()
            await self._stopping.wait()
            return
        while not self._stopping.is_set():
            try:
                process = await self._start()
            except OSError as error:  # out of memory or processes
                await self._recover(0.0, f"cannot be started: {error}", was_ready=True)
                continue
            if process is not None:
                await self._supervise(process)

    async def stop(self, *, hurry: asyncio.Event) -> None:
        """Graceful shutdown; returns when all its processes are gone. `hurry` cuts the grace period short."""
        self._stopping.set()
        async with self._starting:
            pass
        if self.process is not None and self.process.running:
            await self.process.stop(grace_s=self.spec.stop_grace_s, hurry=hurry)
            self._set_state(State.STOPPED)
            self._note("info", "stopped")
        self.stopped.set()

    async def _start(self) -> ServiceProcess | None:
        async with self._starting:
            if self._stopping.is_set():
                return None
            self._last_lines.clear()
            process = await ServiceProcess.start(self.spec, reaper=self._reaper, on_line=self._take_line)
            self.process = process
        # A service that died stays in RESTARTING until it is ready again, so that `since` shows its death.
        if self._state is not State.RESTARTING:
            self._set_state(State.STARTING)
        self._note("info", f"started, process {process.pid}" + (f", port {self.spec.port}" if self.spec.port else ""))
        return process

    async def _supervise(self, process: ServiceProcess) -> None:
        """From the start of a process to its end, and the pause before the next one."""
        killed_because: str | None = None
        readiness = asyncio.create_task(self._wait_ready(process))
        exited = asyncio.create_task(process.wait())
        try:
            await asyncio.wait({readiness, exited}, return_when=asyncio.FIRST_COMPLETED)
            if readiness.done():
                killed_because = readiness.result()
                if killed_because is None:
                    if self.spec.niceness:
                        await asyncio.to_thread(lower_priority, process.pid, self.spec.niceness)
                    self._set_state(State.READY)
                    self._note("info", f"ready after {process.uptime_s:.1f} s")
                    self.ready.set()
                    killed_because = await self._monitor(process, exited)
                if killed_because is not None:
                    process.kill()
            status = await exited
        finally:
            readiness.cancel()
            exited.cancel()
        if not self._stopping.is_set():
            reason = killed_because or _exit_reason(status)
            await self._recover(process.uptime_s, reason, was_ready=readiness.done())

    async def _recover(self, uptime_s: float, reason: str, *, was_ready: bool) -> None:
        """After a death: repair the service's data if possible, then wait before the restart. Raises ServiceFailed."""
        if not was_ready and await self._repair():
            return
        if not self.ready.is_set():
            raise ServiceFailed(f"the {self.spec.name} could not start: {reason}", service=self.spec.name)
        self._deaths += 1
        delay_s = self._backoff.next_delay_s(uptime_s=uptime_s)
        self._set_state(State.RESTARTING, reason=reason)
        times = f", death {self._deaths}" if self._deaths > 1 else ""
        self._note("error", f"died ({reason}){times}; starting it again in {delay_s:g} s")
        await _wait_at_most(self._stopping, delay_s)

    async def _repair(self) -> bool:
        """Whether something was repaired that kept the service from starting."""
        if self.spec.repair is None or self._repairs >= _MAX_REPAIRS:
            return False
        try:
            done = await asyncio.to_thread(self.spec.repair, tuple(self._last_lines))
        except OSError as error:
            self._note("error", f"its data is damaged and cannot be repaired: {error}")
            return False
        if done is None:
            return False
        self._repairs += 1
        self._note("error", done)
        return True

    async def _monitor(self, process: ServiceProcess, exited: asyncio.Task[int]) -> str | None:
        """Wait until the process exits (returns None) or has hung (returns the reason to kill it)."""
        self._repairs = 0
        if self.spec.liveness is None:
            await asyncio.wait({exited})
            return None
        monitor = LivenessMonitor(self.spec.liveness, pid=process.pid, hung_after_s=self.spec.hung_after_s)
        hung = asyncio.create_task(monitor.watch(on_silent=self._on_silent, on_answer=self._on_answer))
        stopping = asyncio.create_task(self._stopping.wait())  # during a shutdown silence is expected
        try:
            await asyncio.wait({exited, hung, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return hung.result() if hung.done() and not stopping.done() else None
        finally:
            hung.cancel()
            stopping.cancel()

    def _on_silent(self, missing: str) -> None:
        self._set_state(State.SILENT, reason=missing)
        self._note("warning", f"does not answer: {missing}")

    def _on_answer(self) -> None:
        self._set_state(State.READY)
        self._note("info", "answers again")

    def _set_state(self, state: State, *, reason: str | None = None) -> None:
        if state is not self._state and not (state in _TROUBLES and self._state in _TROUBLES):
            self._since = _now()
        self._state = state
        self._reason = reason

    def _take_line(self, line: str) -> None:
        self._last_lines.append(line)
        self._on_line(line)

    async def _wait_ready(self, process: ServiceProcess | None) -> str | None:
        """Return None once the service is ready.

        If it is not ready in time: raises ServiceFailed at the very first start, later returns the reason.
        """
        deadline_s = time.monotonic() + self.spec.start_timeout_s
        while (missing := await self.spec.probe(process.pid if process else None)) is not None:
            if time.monotonic() >= deadline_s:
                late = f"not ready after {self.spec.start_timeout_s:.0f} s: {missing}"
                if self.ready.is_set():
                    return late
                raise ServiceFailed(f"the {self.spec.name} was {late}", service=self.spec.name)
            await asyncio.sleep(_PROBE_INTERVAL_S)
        return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _exit_reason(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


async def _wait_at_most(event: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return
