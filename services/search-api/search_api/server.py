"""The HTTP server and its end. Told to stop, it says so in its readiness, lets the balancer see it for a moment, stops
listening, ends the event streams and gives the requests under way their time.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI

from search_api.context import Context
from search_api.settings import Settings
from vitrine.telemetry import get_logger

_KEEP_ALIVE_S = 75  # longer than balancers keep idle connections, so that they are the ones to close


class DrainingServer(uvicorn.Server):
    """uvicorn, with a first signal that drains and a second one that ends at once."""

    def __init__(self, config: uvicorn.Config, *, context: Context, drain_delay_s: float) -> None:
        super().__init__(config)
        self._context = context
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
        get_logger("search-api").info("drain", signal=signal_name, delay_s=self._drain_delay_s)
        self._context.lifecycle.draining.set()
        self._loop.call_later(self._drain_delay_s, self._stop)

    def _stop(self) -> None:
        self.should_exit = True


def build_server(app: FastAPI, settings: Settings) -> DrainingServer:
    """The server for `app`, not started yet."""
    config = uvicorn.Config(
        app,
        host=settings.api_host,
        port=settings.api_port,
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=settings.shutdown_grace_s,
    )
    return DrainingServer(config, context=app.state.context, drain_delay_s=settings.drain_delay_s)
