"""The outermost middleware: the request id, one log line and one metric for each request."""

from __future__ import annotations

import time
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vitrine.errors import VitrineError
from vitrine.telemetry import REQUEST_ID_HEADER, HttpMetrics, get_logger, request_id_from
from vitrine.web.connections import HEALTH_PATHS
from vitrine.web.problems import send_problem

# The client disconnected before there was an answer. This status appears only in logs and metrics.
_CLIENT_GONE: Final = 499


class RequestContext:
    """ASGI middleware. Accepts a well-formed `X-Request-ID`, generates one otherwise, and always returns it.

    The id is bound to the log. An unexpected exception is logged and answered 500.
    """

    def __init__(self, app: ASGIApp, *, metrics: HttpMetrics) -> None:
        self._app = app
        self._metrics = metrics
        self._log = get_logger("http")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name = REQUEST_ID_HEADER.encode()
        header = next((value.decode("latin-1") for key, value in scope["headers"] if key == name), None)
        request_id = request_id_from(header)
        status = 0
        started_s = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", []), (name, request_id.encode())]}
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_with_id)
            except Exception as defect:
                self._log.error("request_defect", exc_info=defect)
                if status == 0:
                    await send_problem(send_with_id, VitrineError("An unexpected error happened; it has been logged."))
            finally:
                status = status or _CLIENT_GONE
                self._record(scope, status, time.perf_counter() - started_s)

    def _record(self, scope: Scope, status: int, took_s: float) -> None:
        route = scope.get("route")
        template = getattr(route, "path", None) or "unmatched"
        self._metrics.observe(method=scope["method"], route=template, status=status, took_s=took_s)
        if scope["path"] not in HEALTH_PATHS:
            self._log.info(
                "request", method=scope["method"], route=template, status=status, took_ms=round(took_s * 1e3, 2)
            )
