"""Request bodies: read whole before work begins, with limits on size, speed and the memory of all bodies together."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vitrine.errors import BodyTooLarge, ParameterInvalid, RequestTooSlow, Unavailable
from vitrine.settings import HttpSettings
from vitrine.web.api_keys import caller_name
from vitrine.web.problems import send_problem
from vitrine.web.sites import address_of

_NO_MEMORY_RETRY_AFTER_S: Final = 2.0


class ClientGone(Exception):
    """The client closed the connection before its body was complete, so no answer is sent."""


class Body:
    """The body of one request, as far as it has arrived, and its caller."""

    def __init__(self, caller: str) -> None:
        self.caller = caller
        self.size_bytes = 0
        self.evicted = False
        self.limit: asyncio.Timeout | None = None
        self._chunks: list[bytes] = []

    def add(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self.size_bytes += len(chunk)

    def receiver(self, rest: Receive) -> Receive:
        """A `receive` that returns the whole body as one message, and after it what `rest` returns."""
        body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks = []
        given = False

        async def receive() -> Message:
            nonlocal given, body
            if given:
                return await rest()
            given = True
            message = {"type": "http.request", "body": body, "more_body": False}
            body = b""  # only the application holds it from here on
            return message

        return receive


class Bodies:
    """The bodies of one process: those being read, and those of requests that are being answered."""

    def __init__(
        self, *, max_held_bytes: int, grace_s: float = 10.0, min_bytes_per_s: int = 4_096, timeout_s: float = 120.0
    ) -> None:
        self._max_held_bytes = max_held_bytes
        self._grace_s = grace_s
        self._min_bytes_per_s = min_bytes_per_s
        self._timeout_s = timeout_s
        self._held_bytes = 0
        self._reading: set[Body] = set()

    @classmethod
    def of(cls, settings: HttpSettings, *, max_body_bytes: int) -> Bodies:
        """With the limits of `settings`, and room for at least one body of the largest size."""
        return cls(
            max_held_bytes=max(settings.max_held_body_bytes, max_body_bytes),
            grace_s=settings.body_grace_s,
            min_bytes_per_s=settings.body_min_bytes_per_s,
            timeout_s=settings.body_timeout_s,
        )

    @property
    def held_bytes(self) -> int:
        return self._held_bytes

    async def read(self, scope: Scope, receive: Receive) -> Body:
        """Read the whole body. Pass it to `release` when its request is done.

        Raises RequestTooSlow, ClientGone, and Unavailable if there is no memory left for bodies. `BodyLimit`, which
        wraps this middleware, refuses a body that is too large.
        """
        body = Body(_caller(scope))
        self._reading.add(body)
        try:
            async with asyncio.timeout(self._grace_s) as body.limit:
                await self._read(body, receive, body.limit)
        except TimeoutError:
            self.release(body)
            if body.evicted:
                raise Unavailable(
                    "this service has no memory left for request bodies: send a smaller one, or try again later",
                    retry_after_s=_NO_MEMORY_RETRY_AFTER_S,
                ) from None
            raise RequestTooSlow(
                f"the body arrives too slowly: after {self._grace_s:g} s it must arrive at {self._min_bytes_per_s} "
                f"bytes a second or faster, and all of it within {self._timeout_s:g} s"
            ) from None
        except BaseException:
            self.release(body)
            raise
        finally:
            self._reading.discard(body)
        return body

    def release(self, body: Body) -> None:
        self._held_bytes -= body.size_bytes
        body.size_bytes = 0

    async def _read(self, body: Body, receive: Receive, limit: asyncio.Timeout) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise ClientGone
            chunk: bytes = message.get("body", b"")
            body.add(chunk)
            self._held_bytes += len(chunk)
            while self._held_bytes > self._max_held_bytes and self._evict_one():
                if body.evicted:
                    await asyncio.sleep(self._timeout_s)  # until the timeout, which was moved to now, ends it
            if not message.get("more_body", False):
                return
            allowed_s = min(self._grace_s + body.size_bytes / self._min_bytes_per_s, self._timeout_s)
            limit.reschedule(began_s + allowed_s)

    def _evict_one(self) -> bool:
        """Stop reading the largest body of the caller that holds the most; False if no body is being read."""
        reading = [body for body in self._reading if not body.evicted]
        if not reading:
            return False
        by_caller: Counter[str] = Counter()
        for body in reading:
            by_caller[body.caller] += body.size_bytes
        [(caller, _)] = by_caller.most_common(1)
        largest = max((body for body in reading if body.caller == caller), key=lambda body: body.size_bytes)
        largest.evicted = True
        self.release(largest)
        if largest.limit is not None:
            largest.limit.reschedule(asyncio.get_running_loop().time())
        return True


def has_body(scope: Scope) -> bool:
    """Whether the request announces a body."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )


def _caller(scope: Scope) -> str:
    return caller_name(scope) or address_of(scope)


class BodyLimit:
    """ASGI middleware. Answers 413 if the body is longer than `max_body_bytes`."""

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
            # The framework turns this exception into an answer of its own, which must not be sent.
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
