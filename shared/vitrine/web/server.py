"""The HTTP server. On SIGTERM it becomes unready, waits for the load balancer to notice, stops listening, and finishes
the running requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any, Final, cast

import uvicorn
from starlette.types import ASGIApp

from vitrine.settings import HttpSettings
from vitrine.telemetry import get_logger
from vitrine.web.connections import ConnectionLimits, Connections, allow_open_files
from vitrine.web.forwarded import TrustedProxies
from vitrine.web.protocol import EdgeProtocol

_SWEEP_INTERVAL_S: Final = 0.25


class DrainingServer(uvicorn.Server):
    """uvicorn, except that the first signal drains and the second one stops at once.

    `on_drain` is called in the event loop. It makes the service unready and closes streams that would not end.
    """

    def __init__(
        self, config: uvicorn.Config, *, connections: Connections, on_drain: Callable[[], None], drain_delay_s: float
    ) -> None:
        super().__init__(config)
        self._connections = connections
        self._on_drain = on_drain
        self._drain_delay_s = drain_delay_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._signalled = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._sweeping = asyncio.create_task(self._sweep())
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().shutdown(sockets)
        finally:
            self._sweeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeping

    async def _sweep(self) -> None:
        assert self._loop is not None
        open_connections: Any = self.server_state.connections
        while True:
            self._connections.sweep(open_connections, self._loop.time())
            await asyncio.sleep(_SWEEP_INTERVAL_S)

    def handle_exit(self, sig: int, _frame: FrameType | None) -> None:
        if self._signalled:
            self.force_exit = True
            self.should_exit = True
            return
        self._signalled = True
        if self._loop is None:
            self.should_exit = True
            return
        self._loop.call_soon_threadsafe(self._drain, signal.Signals(sig).name)

    def _drain(self, signal_name: str) -> None:
        assert self._loop is not None
        get_logger("server").info("drain", signal=signal_name, delay_s=self._drain_delay_s)
        self._on_drain()
        self._loop.call_later(self._drain_delay_s, self._stop)

    def _stop(self) -> None:
        self.should_exit = True


def build_server(
    app: ASGIApp, *, host: str, port: int, settings: HttpSettings, on_drain: Callable[[], None]
) -> DrainingServer:
    """The server for `app`, not started yet."""
    return build_limited_server(
        app,
        host=host,
        port=port,
        limits=connection_limits(settings),
        proxies=settings.trusted_proxies,
        keep_alive_s=settings.keep_alive_s,
        shutdown_grace_s=settings.shutdown_grace_s,
        drain_delay_s=settings.drain_delay_s,
        on_drain=on_drain,
    )


def build_limited_server(
    app: ASGIApp,
    *,
    host: str,
    port: int,
    limits: ConnectionLimits,
    proxies: tuple[str, ...] = (),
    keep_alive_s: int,
    shutdown_grace_s: int,
    drain_delay_s: float = 0.0,
    on_drain: Callable[[], None] = lambda: None,
) -> DrainingServer:
    """`build_server` for a program without `HttpSettings`. Forwarded headers are accepted from `proxies`."""
    allow_open_files(limits)
    connections = Connections(limits, proxies=proxies)
    config = uvicorn.Config(
        TrustedProxies(app, proxies=proxies) if proxies else app,
        host=host,
        port=port,
        loop="uvloop",
        http=cast(type[asyncio.Protocol], partial(EdgeProtocol, connections=connections)),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # TrustedProxies reads them
        timeout_keep_alive=keep_alive_s,
        timeout_graceful_shutdown=shutdown_grace_s,
    )
    return DrainingServer(config, connections=connections, on_drain=on_drain, drain_delay_s=drain_delay_s)


def connection_limits(settings: HttpSettings) -> ConnectionLimits:
    return ConnectionLimits(
        max_connections=settings.max_connections,
        max_connections_per_address=settings.max_connections_per_address,
        reserved_connections=settings.reserved_connections,
        max_header_bytes=settings.max_header_bytes,
        max_headers=settings.max_headers,
        header_timeout_s=settings.header_timeout_s,
        body_grace_s=settings.body_grace_s,
        body_min_bytes_per_s=settings.body_min_bytes_per_s,
        body_timeout_s=settings.body_timeout_s,
        write_timeout_s=settings.write_timeout_s,
        refusal_pause_s=settings.refusal_pause_s,
    )
