"""The local system as a whole: lock the data folder, start the services in order, say when all are ready, restart what
dies, and stop everything in reverse order. Nothing that was started is left behind, whichever way this ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Literal, Protocol

from rich.console import Console

from vitrine_local.data_folder import DataFolder, RunRecord
from vitrine_local.errors import ServiceFailed
from vitrine_local.supervisor.keeper import Keeper
from vitrine_local.supervisor.logs import SUPERVISOR, LogFile, LogLine, LogScreen, ServiceLog
from vitrine_local.supervisor.plan import Plan, make_plan
from vitrine_local.supervisor.spec import ServiceSpec
from vitrine_local.supervisor.watchdog import Watchdog

OnReady = Callable[[str], Awaitable[None]]


class Planner(Protocol):
    """Describes the services of a data folder, with their ports reserved."""

    def __call__(self, data: DataFolder, *, port: int, environment: Mapping[str, str]) -> Plan: ...


_RECORD_AGAIN_S = 2.0
_LITTLE_ROOM_BYTES = 64 * 2**20
_NOTE_LEVELS = {"info": 20, "warning": 30, "error": 40}


@dataclass(frozen=True, slots=True)
class SystemOptions:
    """What the user may choose. `port` 0 takes any free one; `log_level` is the least level shown on the screen."""

    data: DataFolder
    port: int = 8000
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class LocalSystem:
    """One run of the local system. Make one, `run` it once."""

    def __init__(self, options: SystemOptions, *, console: Console, planner: Planner = make_plan) -> None:
        self._options = options
        self._data = options.data
        self._planner = planner
        self._screen = LogScreen(console, min_level=options.log_level)
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._keepers: dict[str, Keeper] = {}
        self._logs: dict[str, ServiceLog] = {}
        self._started_at = ""
        self._unrecorded = False
        self._own_log: LogFile | None = None
        self._pending: set[asyncio.Task[None]] = set()

    async def run(self, on_ready: OnReady) -> None:
        """Run until a signal, or until `on_ready` returns or raises. `on_ready` gets the search API's address.

        Raises DataFolderInUse, PortTaken, RedisMissing, ServiceFailed, and whatever `on_ready` raises.
        """
        self._data.create()
        with contextlib.ExitStack() as stack:
            descriptor = stack.enter_context(self._data.lock())
            plan = self._planner(self._data, port=self._options.port, environment=os.environ)
            stack.callback(plan.release_ports)
            watchdog = stack.enter_context(Watchdog(lock_descriptor=descriptor))
            stack.callback(self._close_logs)
            self._own_log = LogFile(self._data.logs / f"{SUPERVISOR}.log")
            stack.enter_context(self._signals())
            self._started_at = datetime.now(UTC).isoformat(timespec="seconds")
            self._make_keepers(plan, watchdog)
            self._warn_of_little_room()
            try:
                await self._supervise(plan, on_ready)
            finally:
                await self._stop_all()
                self._data.remove_run()

    def request_stop(self) -> None:
        """Stop in order; called again, at once."""
        if self._stop.is_set():
            self._note(SUPERVISOR, "warning", "killing what still runs")
            self._hurry.set()
        else:
            self._note(SUPERVISOR, "info", "stopping (once more to hurry)")
            self._stop.set()

    def _warn_of_little_room(self) -> None:
        """A start that fails for want of room says so at most indirectly: Redis ends when it cannot write."""
        with contextlib.suppress(OSError):
            free_bytes = shutil.disk_usage(self._data.root).free
            if free_bytes < _LITTLE_ROOM_BYTES:
                text = f"the disk of {self._data.root} has {free_bytes // 2**20} MiB left; nothing can be written soon"
                self._note(SUPERVISOR, "warning", text)

    def _make_keepers(self, plan: Plan, watchdog: Watchdog) -> None:
        self._screen.name_services(tuple(spec.name for spec in plan.services))
        for spec in plan.services:
            log = self._logs[spec.name] = ServiceLog(spec.name, folder=self._data.logs, screen=self._screen)
            self._keepers[spec.name] = Keeper(
                spec, watchdog=watchdog, note=partial(self._note_of, spec, plan), on_line=log.add
            )

    async def _supervise(self, plan: Plan, on_ready: OnReady) -> None:
        keeping = {
            asyncio.create_task(keeper.run([self._keepers[name] for name in keeper.spec.after]))
            for keeper in self._keepers.values()
        }
        user = asyncio.create_task(self._serve_user(plan, on_ready))
        stop = asyncio.create_task(self._stop.wait())
        recording = asyncio.create_task(self._keep_recording(plan))
        try:
            done, _ = await asyncio.wait({*keeping, user, stop}, return_when=asyncio.FIRST_COMPLETED)
            # A failed service is the cause of whatever else failed.
            for task in sorted(done, key=lambda task: task is user):
                task.result()
        except ServiceFailed as error:
            self._show_failure(error)
            raise
        finally:
            self._stop.set()
            for task in (user, stop, recording):
                task.cancel()
            await asyncio.gather(user, stop, recording, return_exceptions=True)
            self._pending = keeping

    async def _serve_user(self, plan: Plan, on_ready: OnReady) -> None:
        for keeper in self._keepers.values():
            await keeper.ready.wait()
        self._write_run(plan)
        await on_ready(plan.url)

    async def _stop_all(self) -> None:
        async def stop(keeper: Keeper) -> None:
            for other in self._keepers.values():
                if keeper.spec.name in other.spec.after:
                    await other.stopped.wait()
            await keeper.stop(hurry=self._hurry)

        await asyncio.gather(*(stop(keeper) for keeper in self._keepers.values()))
        for task in self._pending:
            task.cancel()
        await asyncio.gather(*self._pending, return_exceptions=True)

    def _show_failure(self, error: ServiceFailed) -> None:
        service = str(error.context["service"])
        self._note(service, "error", f"{error.detail}. Its last lines, all of them in {self._data.logs / service}.log:")
        self._logs[service].show_tail()

    def _note_of(self, spec: ServiceSpec, plan: Plan, level: Literal["info", "warning", "error"], text: str) -> None:
        self._note(spec.name, level, text)
        self._write_run(plan)

    def _note(self, service: str, level: Literal["info", "warning", "error"], text: str) -> None:
        now = datetime.now(UTC)
        self._screen.show(service, LogLine(text, level=_NOTE_LEVELS[level], time=f"{now:%H:%M:%S}"))
        if self._own_log is not None:
            self._own_log.write(f"{now.isoformat(timespec='seconds')} {level} {service}: {text}")

    async def _keep_recording(self, plan: Plan) -> None:
        """Write run.json again for as long as it could not be written."""
        while True:
            await asyncio.sleep(_RECORD_AGAIN_S)
            if self._unrecorded:
                self._write_run(plan)

    def _write_run(self, plan: Plan) -> None:
        keepers = self._keepers
        record = RunRecord(
            url=plan.url,
            ready=all(keeper.is_ready for keeper in keepers.values()) and not self._stop.is_set(),
            started_at=self._started_at,
            supervisor_pid=os.getpid(),
            ports=plan.ports,
            pids={name: keeper.child.pid for name, keeper in keepers.items() if keeper.child is not None},
            services={name: keeper.record for name, keeper in keepers.items()},
        )
        try:
            self._data.write_run(record)
        except OSError as error:
            if not self._unrecorded:
                self._note(SUPERVISOR, "warning", f"{self._data.run_file} cannot be written: {error.strerror or error}")
            self._unrecorded = True
        else:
            self._unrecorded = False

    def _close_logs(self) -> None:
        for log in self._logs.values():
            log.close()
        if self._own_log is not None:
            self._own_log.close()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in numbers:
            loop.add_signal_handler(number, self.request_stop)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)
