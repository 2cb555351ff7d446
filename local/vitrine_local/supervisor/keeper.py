"""Keeps one service alive: starts it when what it needs is ready, waits until it is ready itself, and starts it again
whenever it dies or hangs, for ever and with growing pauses, while the others serve. Only a service that was never ready
ends its keeper, with ServiceFailed.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Literal

from vitrine_local.data_folder import ServiceRecord
from vitrine_local.errors import ServiceFailed
from vitrine_local.supervisor.child import Child
from vitrine_local.supervisor.liveness import Liveness
from vitrine_local.supervisor.niceness import give_way
from vitrine_local.supervisor.spec import RestartPolicy, ServiceSpec
from vitrine_local.supervisor.watchdog import Watchdog

_PROBE_INTERVAL_S: Final = 0.1
_MAX_REPAIRS: Final = 3
_LAST_LINES: Final = 30

Note = Callable[[Literal["info", "warning", "error"], str], None]


class State(StrEnum):
    """What a service is doing, as run.json and `vitrine status` show it."""

    WAITING = "waiting"  # for what must be ready before it
    STARTING = "starting"
    READY = "ready"
    SILENT = "silent"  # it runs and does not answer
    RESTARTING = "restarting"  # it died; the next start comes after a pause
    STOPPED = "stopped"


_TROUBLES: Final = frozenset({State.SILENT, State.RESTARTING})


class Keeper:
    """Runs one service. `note` tells the user what happens to it, `on_line` takes its output."""

    def __init__(
        self,
        spec: ServiceSpec,
        *,
        watchdog: Watchdog,
        note: Note,
        on_line: Callable[[str], None],
        policy: RestartPolicy | None = None,
    ) -> None:
        self.spec = spec
        self.ready = asyncio.Event()  # once set, it stays: the service was ready
        self.stopped = asyncio.Event()
        self.child: Child | None = None
        self._state = State.WAITING
        self._since = _now()
        self._deaths = 0
        self._reason: str | None = None
        self._repairs = 0
        self._last_lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._stopping = asyncio.Event()
        self._starting = asyncio.Lock()  # a stop never falls between the decision to start and the started process
        self._watchdog = watchdog
        self._note = note
        self._on_line = on_line
        self._policy = policy or RestartPolicy()

    @property
    def is_ready(self) -> bool:
        """Is it ready now?"""
        return self._state is State.READY

    @property
    def record(self) -> ServiceRecord:
        """Its state since when, how often it died, and why last."""
        return ServiceRecord(state=self._state, since=self._since, deaths=self._deaths, reason=self._reason)

    async def run(self, needs: Sequence[Keeper]) -> None:
        """Keep the service alive until it is stopped. `needs` are the keepers of what must be ready before it.

        Raises ServiceFailed.
        """
        for needed in needs:
            await needed.ready.wait()
        if self.spec.command is None:
            await self._wait_ready(None)
            self._become(State.READY)
            self._note("info", "answers (it runs elsewhere)")
            self.ready.set()
            await self._stopping.wait()
            return
        while not self._stopping.is_set():
            try:
                child = await self._start()
            except OSError as error:  # no memory or no process to be had
                await self._recover(0.0, f"cannot be started: {error}", was_ready=True)
                continue
            if child is not None:
                await self._live(child)

    async def stop(self, *, hurry: asyncio.Event) -> None:
        """Stop the service; return when its processes are gone."""
        self._stopping.set()
        async with self._starting:
            pass
        if self.child is not None and self.child.running:
            await self.child.stop(grace_s=self.spec.stop_grace_s, hurry=hurry)
            self._become(State.STOPPED)
            self._note("info", "stopped")
        self.stopped.set()

    async def _start(self) -> Child | None:
        async with self._starting:
            if self._stopping.is_set():
                return None
            self._last_lines.clear()
            child = self.child = await Child.start(self.spec, watchdog=self._watchdog, on_line=self._take_line)
        # Until a service that died is ready again, it is in trouble for as long as since its death.
        if self._state is not State.RESTARTING:
            self._become(State.STARTING)
        self._note("info", f"started, process {child.pid}" + (f", port {self.spec.port}" if self.spec.port else ""))
        return child

    async def _live(self, child: Child) -> None:
        """From the process's start to its end, and the pause before the next one."""
        end: str | None = None  # why it was killed
        readiness = asyncio.create_task(self._wait_ready(child))
        death = asyncio.create_task(child.wait())
        try:
            await asyncio.wait({readiness, death}, return_when=asyncio.FIRST_COMPLETED)
            if readiness.done():
                end = readiness.result()
                if end is None:
                    if self.spec.niceness:
                        await asyncio.to_thread(give_way, child.pid, self.spec.niceness)
                    self._become(State.READY)
                    self._note("info", f"ready after {child.lived_s:.1f} s")
                    self.ready.set()
                    end = await self._watch(child, death)
                if end is not None:
                    child.kill()
            status = await death
        finally:
            readiness.cancel()
            death.cancel()
        if not self._stopping.is_set():
            await self._recover(child.lived_s, end or _how_it_ended(status), was_ready=readiness.done())

    async def _recover(self, lived_s: float, how: str, *, was_ready: bool) -> None:
        """After a death: mend what can be mended, and wait before the next start. Raises ServiceFailed."""
        if not was_ready and await self._repaired():
            return
        if not self.ready.is_set():
            raise ServiceFailed(f"the {self.spec.name} could not start: {how}", service=self.spec.name)
        self._deaths += 1
        delay_s = self._policy.died(lived_s=lived_s)
        self._become(State.RESTARTING, reason=how)
        times = f", death {self._deaths}" if self._deaths > 1 else ""
        self._note("error", f"died ({how}){times}; starting it again in {delay_s:g} s")
        await _wait_at_most(self._stopping, delay_s)

    async def _repaired(self) -> bool:
        """Was something mended that kept the service from starting?"""
        if self.spec.repair is None or self._repairs >= _MAX_REPAIRS:
            return False
        try:
            done = await asyncio.to_thread(self.spec.repair, tuple(self._last_lines))
        except OSError as error:
            self._note("error", f"its data is damaged and cannot be mended: {error}")
            return False
        if done is None:
            return False
        self._repairs += 1
        self._note("error", done)
        return True

    async def _watch(self, child: Child, death: asyncio.Task[int]) -> str | None:
        """Until the process ends by itself, which gives None, or is to be killed, which gives the reason."""
        self._repairs = 0
        if self.spec.liveness is None:
            await asyncio.wait({death})
            return None
        liveness = Liveness(self.spec.liveness, pid=child.pid, hung_after_s=self.spec.hung_after_s)
        watching = asyncio.create_task(liveness.watch(on_silent=self._fell_silent, on_answer=self._answers_again))
        stopping = asyncio.create_task(self._stopping.wait())  # from then on silence is no fault
        try:
            await asyncio.wait({death, watching, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return watching.result() if watching.done() and not stopping.done() else None
        finally:
            watching.cancel()
            stopping.cancel()

    def _fell_silent(self, missing: str) -> None:
        self._become(State.SILENT, reason=missing)
        self._note("warning", f"does not answer: {missing}")

    def _answers_again(self) -> None:
        self._become(State.READY)
        self._note("info", "answers again")

    def _become(self, state: State, *, reason: str | None = None) -> None:
        if state is not self._state and not (state in _TROUBLES and self._state in _TROUBLES):
            self._since = _now()
        self._state = state
        self._reason = reason

    def _take_line(self, line: str) -> None:
        self._last_lines.append(line)
        self._on_line(line)

    async def _wait_ready(self, child: Child | None) -> str | None:
        """None once the service is ready. Where it does not become so in time: ServiceFailed at the very first start,
        later the reason."""
        deadline_s = time.monotonic() + self.spec.start_timeout_s
        while (missing := await self.spec.probe(child.pid if child else None)) is not None:
            if time.monotonic() >= deadline_s:
                late = f"not ready after {self.spec.start_timeout_s:.0f} s: {missing}"
                if self.ready.is_set():
                    return late
                raise ServiceFailed(f"the {self.spec.name} was {late}", service=self.spec.name)
            await asyncio.sleep(_PROBE_INTERVAL_S)
        return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _how_it_ended(status: int) -> str:
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
