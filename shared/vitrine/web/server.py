"""The HTTP server and its end. Told to stop, it says so in its readiness, lets the balancer see it for a moment, stops
listening, and gives the requests under way their time.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from vitrine.telemetry import get_logger

_KEEP_ALIVE_S = 75  # longer than balancers keep idle connections, so that they are the ones to close


class DrainingServer(uvicorn.Server):
    """uvicorn, with a first signal that drains and a second one that ends at once.

    `on_drain` is called in the event loop: it makes the service unready and ends what would never end by itself.
    """

    def __init__(self, config: uvicorn.Config, *, on_drain: Callable[[], None], drain_delay_s: float) -> None:
        super().__init__(config)
        self._on_drain = on_drain
        self._drain_delay_s = drain_delay_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._told = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, _frame: FrameType | None) -> None:
        if self._told:
            self.force_exit = True
            self.should_exit = True
            return
        self._told = True
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
    app: FastAPI, *, host: str, port: int, on_drain: Callable[[], None], drain_delay_s: float, grace_s: int
) -> DrainingServer:
    """The server for `app`, not started yet."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=grace_s,
    )
    return DrainingServer(config, on_drain=on_drain, drain_delay_s=drain_delay_s)
