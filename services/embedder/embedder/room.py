"""Refuse a call for which there is no room before its body is read: that costs next to nothing."""

from __future__ import annotations

from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from embedder.call import Sender, Work
from vitrine.embedding.wire import CALLER_HEADER, WORK_HEADER
from vitrine.errors import VitrineError
from vitrine.web import send_problem


class Room:
    """ASGI middleware for the calls that `wanted` names by method and path: `check` raises what a call of this sender
    would be refused with.
    """

    def __init__(self, app: ASGIApp, *, wanted: Callable[[str, str], bool], check: Callable[[Sender], None]) -> None:
        self._app = app
        self._wanted = wanted
        self._check = check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._wanted(scope["method"], scope["path"]):
            headers = Headers(scope=scope)
            work: Work = "batch" if headers.get(WORK_HEADER) == "batch" else "interactive"
            try:
                self._check(Sender(headers.get(CALLER_HEADER, ""), work))
            except VitrineError as refused:
                await send_problem(send, refused)
                return
        await self._app(scope, receive, send)
