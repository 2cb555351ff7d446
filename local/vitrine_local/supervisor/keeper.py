"""Keeps one service alive: starts it when what it needs is ready, waits until it is ready itself, and starts it again
whenever it dies. A service that dies before it was ever ready, or again and again, ends the keeper with ServiceFailed.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from typing import Literal

from vitrine_local.errors import ServiceFailed
from vitrine_local.supervisor.child import Child
from vitrine_local.supervisor.spec import RestartPolicy, ServiceSpec
from vitrine_local.supervisor.watchdog import Watchdog

_PROBE_INTERVAL_S = 0.1

Note = Callable[[Literal["info", "warning", "error"], str], None]


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
        self.ready = asyncio.Event()
        self.stopped = asyncio.Event()
        self.child: Child | None = None
        self._stopping = asyncio.Event()
        self._starting = asyncio.Lock()  # a stop never falls between the decision to start and the started process
        self._watchdog = watchdog
        self._note = note
        self._on_line = on_line
        self._policy = policy or RestartPolicy()

    async def run(self, needs: Sequence[Keeper]) -> None:
        """Keep the service alive until it is stopped. `needs` are the keepers of what must be ready before it.

        Raises ServiceFailed.
        """
        for needed in needs:
            await needed.ready.wait()
        if self.spec.command is None:
            await self._wait_ready(None)
            self._note("info", "answers (it runs elsewhere)")
            self.ready.set()
            await self._stopping.wait()
            return
        while (child := await self._start()) is not None:
            await self._live(child)

    async def stop(self, *, hurry: asyncio.Event) -> None:
        """Stop the service; return when its processes are gone."""
        self._stopping.set()
        async with self._starting:
            pass
        if self.child is not None and self.child.running:
            await self.child.stop(grace_s=self.spec.stop_grace_s, hurry=hurry)
            self._note("info", "stopped")
        self.stopped.set()

    async def _start(self) -> Child | None:
        async with self._starting:
            if self._stopping.is_set():
                return None
            child = self.child = await Child.start(self.spec, watchdog=self._watchdog, on_line=self._on_line)
        self._note("info", f"started, process {child.pid}" + (f", port {self.spec.port}" if self.spec.port else ""))
        return child

    async def _live(self, child: Child) -> None:
        """From the process's start to its end, and the pause before the next one."""
        readiness = asyncio.create_task(self._wait_ready(child))
        death = asyncio.create_task(child.wait())
        try:
            await asyncio.wait({readiness, death}, return_when=asyncio.FIRST_COMPLETED)
            if readiness.done():
                readiness.result()
                self._note("info", f"ready after {child.lived_s:.1f} s")
                self.ready.set()
            status = await death
        finally:
            readiness.cancel()
            death.cancel()
        if self._stopping.is_set():
            return
        how = _how_it_ended(status)
        if not self.ready.is_set():
            raise ServiceFailed(f"the {self.spec.name} could not start: {how}", service=self.spec.name)
        delay_s = self._policy.died(lived_s=child.lived_s)
        if delay_s is None:
            raise ServiceFailed(f"the {self.spec.name} keeps dying ({how}); gave up", service=self.spec.name)
        self._note("error", f"died ({how}); starting it again in {delay_s:g} s")
        await _wait_at_most(self._stopping, delay_s)

    async def _wait_ready(self, child: Child | None) -> None:
        deadline_s = time.monotonic() + self.spec.start_timeout_s
        while (missing := await self.spec.probe(child.pid if child else None)) is not None:
            if time.monotonic() >= deadline_s and not self.ready.is_set():
                raise ServiceFailed(
                    f"the {self.spec.name} was not ready after {self.spec.start_timeout_s:.0f} s: {missing}",
                    service=self.spec.name,
                )
            await asyncio.sleep(_PROBE_INTERVAL_S)


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
