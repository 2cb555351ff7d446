"""The local system: locks the data folder, starts the services in order, restarts what dies, and stops everything in
reverse order. No process is left behind, however it ends.
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
from typing import Final, Literal, Protocol

from rich.console import Console

from vitrine_local.data_folder import DataFolder, RunRecord
from vitrine_local.errors import ServiceFailed
from vitrine_local.supervisor.logs import SUPERVISOR, LogConsole, LogFile, LogLine, ServiceLog
from vitrine_local.supervisor.plan import Plan, make_plan
from vitrine_local.supervisor.reaper import Reaper
from vitrine_local.supervisor.service import Level, Service
from vitrine_local.supervisor.spec import ServiceSpec

OnReady = Callable[[str], Awaitable[None]]


class Planner(Protocol):
    """Makes the plan for a data folder, with the ports reserved."""

    def __call__(self, data: DataFolder, *, port: int, environment: Mapping[str, str]) -> Plan: ...


_RECORD_RETRY_S: Final = 2.0
_LOW_DISK_BYTES: Final = 64 * 2**20
_NOTE_LEVELS: Final = {"info": 20, "warning": 30, "error": 40}


@dataclass(frozen=True, slots=True)
class SystemOptions:
    """`port` is the search API's, 0 for any free one; `log_level` is the lowest level shown on the console."""

    data: DataFolder
    port: int = 8000
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class LocalSystem:
    """One run of the local system. Call `run` once."""

    def __init__(self, options: SystemOptions, *, console: Console, planner: Planner = make_plan) -> None:
        self._options = options
        self._data = options.data
        self._planner = planner
        self._console = LogConsole(console, min_level=options.log_level)
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._services: dict[str, Service] = {}
        self._logs: dict[str, ServiceLog] = {}
        self._started_at = ""
        self._unrecorded = False
        self._own_log: LogFile | None = None
        self._pending: set[asyncio.Task[None]] = set()

    async def run(self, on_ready: OnReady) -> None:
        """Run until a signal arrives or `on_ready` ends. `on_ready` receives the search API's URL.

        Raises DataFolderInUse, PortTaken, RedisMissing, ServiceFailed, and what `on_ready` raises.
        """
        self._data.create()
        with contextlib.ExitStack() as stack:
            descriptor = stack.enter_context(self._data.lock())
            plan = self._planner(self._data, port=self._options.port, environment=os.environ)
            stack.callback(plan.release_ports)
            reaper = stack.enter_context(Reaper(lock_descriptor=descriptor))
            stack.callback(self._close_logs)
            self._own_log = LogFile(self._data.logs / f"{SUPERVISOR}.log")
            stack.enter_context(self._signals())
            self._started_at = datetime.now(UTC).isoformat(timespec="seconds")
            self._make_services(plan, reaper)
            self._warn_if_disk_is_low()
            try:
                await self._supervise(plan, on_ready)
            finally:
                await self._stop_all()
                self._data.remove_run()

    def request_stop(self) -> None:
        """Graceful shutdown; the second call kills what still runs."""
        if self._stop.is_set():
            self._note(SUPERVISOR, "warning", "killing what still runs")
            self._hurry.set()
        else:
            self._note(SUPERVISOR, "info", "stopping (once more to hurry)")
            self._stop.set()

    def _warn_if_disk_is_low(self) -> None:
        """A start that fails on a full disk gives no clear error by itself: Redis just exits when it cannot write."""
        with contextlib.suppress(OSError):
            free_bytes = shutil.disk_usage(self._data.root).free
            if free_bytes < _LOW_DISK_BYTES:
                text = f"the disk of {self._data.root} has {free_bytes // 2**20} MiB left; soon nothing can be written"
                self._note(SUPERVISOR, "warning", text)

    def _make_services(self, plan: Plan, reaper: Reaper) -> None:
        self._console.name_services(tuple(spec.name for spec in plan.services))
        for spec in plan.services:
            log = self._logs[spec.name] = ServiceLog(spec.name, folder=self._data.logs, console=self._console)
            self._services[spec.name] = Service(
                spec, reaper=reaper, note=partial(self._note_and_record, spec, plan), on_line=log.add
            )

    async def _supervise(self, plan: Plan, on_ready: OnReady) -> None:
        running = {
            asyncio.create_task(service.run([self._services[name] for name in service.spec.after]))
            for service in self._services.values()
        }
        user = asyncio.create_task(self._serve_user(plan, on_ready))
        stop = asyncio.create_task(self._stop.wait())
        recording = asyncio.create_task(self._retry_recording(plan))
        try:
            done, _ = await asyncio.wait({*running, user, stop}, return_when=asyncio.FIRST_COMPLETED)
            # A failed service comes first: it is the cause of any other failure.
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
            self._pending = running

    async def _serve_user(self, plan: Plan, on_ready: OnReady) -> None:
        for service in self._services.values():
            await service.ready.wait()
        self._write_run(plan)
        await on_ready(plan.url)

    async def _stop_all(self) -> None:
        async def stop(service: Service) -> None:
            for other in self._services.values():
                if service.spec.name in other.spec.after:
                    await other.stopped.wait()
            await service.stop(hurry=self._hurry)

        await asyncio.gather(*(stop(service) for service in self._services.values()))
        for task in self._pending:
            task.cancel()
        await asyncio.gather(*self._pending, return_exceptions=True)

    def _show_failure(self, error: ServiceFailed) -> None:
        service = str(error.context["service"])
        log = self._data.logs / f"{service}.log"
        self._note(service, "error", f"{error.detail}. Its last lines (the full log is {log}):")
        self._logs[service].show_tail()

    def _note_and_record(
        self, spec: ServiceSpec, plan: Plan, level: Literal["info", "warning", "error"], text: str
    ) -> None:
        self._note(spec.name, level, text)
        self._write_run(plan)

    def _note(self, service: str, level: Level, text: str) -> None:
        now = datetime.now(UTC)
        self._console.show(service, LogLine(text, level=_NOTE_LEVELS[level], time=f"{now:%H:%M:%S}"))
        if self._own_log is not None:
            self._own_log.write(f"{now.isoformat(timespec='seconds')} {level} {service}: {text}")

    async def _retry_recording(self, plan: Plan) -> None:
        """Retry while run.json could not be written."""
        while True:
            await asyncio.sleep(_RECORD_RETRY_S)
            if self._unrecorded:
                self._write_run(plan)

    def _write_run(self, plan: Plan) -> None:
        services = self._services
        record = RunRecord(
            url=plan.url,
            ready=all(service.is_ready for service in services.values()) and not self._stop.is_set(),
            started_at=self._started_at,
            supervisor_pid=os.getpid(),
            ports=plan.ports,
            pids={name: service.process.pid for name, service in services.items() if service.process is not None},
            services={name: service.record for name, service in services.items()},
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
