"""Refuse a body that is too large: by its declared length before anything is read, and by counting where the length is
absent or a lie. The application below never sees the excess.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vitrine.errors import BodyTooLarge, ParameterInvalid
from vitrine.web.problems import send_problem


class BodyLimit:
    """ASGI middleware. Answers 413 when a request body is longer than `max_body_bytes`."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), None)
        if declared is not None:
            if not declared.isdigit():
                await send_problem(send, ParameterInvalid("Content-Length is not a number"))
                return
            if int(declared) > self._max_body_bytes:
                await send_problem(send, self._too_large())
                return
        await self._counted(scope, receive, send)

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        received_bytes = 0
        passed = started = False

        async def counting_receive() -> Message:
            nonlocal received_bytes, passed
            message = await receive()
            if message["type"] == "http.request":
                received_bytes += len(message.get("body", b""))
                if received_bytes > self._max_body_bytes:
                    passed = True
                    raise self._too_large()
            return message

        async def guarded_send(message: Message) -> None:
            nonlocal started
            # A framework turns our exception into an answer of its own; that answer is not the one to send.
            if passed and not started:
                return
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, counting_receive, guarded_send)
        except Exception:
            if not passed or started:
                raise
        if passed and not started:
            await send_problem(send, self._too_large())

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(
            f"the body is larger than {self._max_body_bytes} bytes; send a smaller picture",
            max_body_bytes=self._max_body_bytes,
        )
