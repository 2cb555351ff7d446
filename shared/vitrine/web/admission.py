"""What one request may take: how many are at work at once, how long one may take, and how large its body is. Beyond the
first a caller is told to come back, beyond the second the work is dropped.

Bodies are read whole before their work begins, so that a client that sends slowly holds a connection and nothing else,
and what the bodies of all requests hold together is bounded. A place at work is taken when the body is there, and a
request for which there is none is refused before its body is read. Event streams and health calls are outside of all
this. A request whose caller has gone is stopped: nobody wants its answer, and its work would delay others.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vitrine.errors import (
    BodyTooLarge,
    DeadlineExpired,
    ParameterInvalid,
    RequestTooSlow,
    Unavailable,
    VitrineError,
)
from vitrine.settings import HttpSettings
from vitrine.telemetry import get_logger
from vitrine.web.access import caller_name
from vitrine.web.problems import send_problem
from vitrine.web.sites import address_of

_RETRY_AFTER_S: Final = 1.0
_NO_MEMORY_RETRY_AFTER_S: Final = 2.0

# The seconds a call may take, by the request's scope; None where it is neither counted nor timed.
TimeoutOf = Callable[[Scope], float | None]
# Whether a call, by method and path, is stopped: one that changes nothing.
Wanted = Callable[[str, str], bool]


class ClientGone(Exception):
    """The client closed the connection before its body was complete, so no answer is sent."""


class Body:
    """One request's body: what has arrived of it, and its caller."""

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
        """A `receive` that gives the whole body as one message, and then what `rest` gives."""
        body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks = []
        given = False

        async def receive() -> Message:
            nonlocal given, body
            if given:
                return await rest()
            given = True
            message = {"type": "http.request", "body": body, "more_body": False}
            body = b""  # from here on the application's alone
            return message

        return receive


class Bodies:
    """The bodies of one process: those being read and those of requests at work."""

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
        """As the settings say; at least one body of the largest size has room."""
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
        """The whole body; to be given to `release` when its request is done.

        Raises RequestTooSlow, Unavailable where memory for bodies has run out, and ClientGone. A body that is larger
        than one may be is refused by `BodyLimit`, which lies around this.
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
                f"the body arrives too slowly: after {self._grace_s:g} s at least {self._min_bytes_per_s} bytes a "
                f"second are wanted, and all of it within {self._timeout_s:g} s"
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
                    await asyncio.sleep(self._timeout_s)  # until the limit, which has been moved to now, ends it
            if not message.get("more_body", False):
                return
            allowed_s = min(self._grace_s + body.size_bytes / self._min_bytes_per_s, self._timeout_s)
            limit.reschedule(began_s + allowed_s)

    def _evict_one(self) -> bool:
        """End the reading of the largest body of the caller that holds most; False where none is being read."""
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


class Admission:
    """ASGI middleware. Answers 503 with Retry-After when full and 504 when a request takes too long."""

    def __init__(self, app: ASGIApp, *, max_concurrent: int, timeout_of: TimeoutOf, bodies: Bodies) -> None:
        self._app = app
        self._max_concurrent = max_concurrent
        self._timeout_of = timeout_of
        self._bodies = bodies
        self._at_work = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        timeout_s = self._timeout_of(scope) if scope["type"] == "http" else None
        if timeout_s is None:
            await self._app(scope, receive, send)
            return
        if self._full:
            await send_problem(send, self._no_room())
            return
        try:
            body = await self._bodies.read(scope, receive) if has_body(scope) else None
        except VitrineError as error:
            await send_problem(send, error)
            return
        except ClientGone:
            return
        try:
            if self._full:  # the places were taken while the body arrived
                await send_problem(send, self._no_room())
                return
            self._at_work += 1
            try:
                await self._timed(scope, body.receiver(receive) if body else receive, send, timeout_s)
            finally:
                self._at_work -= 1
        finally:
            if body:
                self._bodies.release(body)

    @property
    def _full(self) -> bool:
        return self._at_work >= self._max_concurrent

    def _no_room(self) -> Unavailable:
        return Unavailable(
            "this service is at its limit of concurrent requests: try again in a moment", retry_after_s=_RETRY_AFTER_S
        )

    async def _timed(self, scope: Scope, receive: Receive, send: Send, timeout_s: float) -> None:
        started = False

        async def noting_send(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            async with asyncio.timeout(timeout_s) as limit:
                await self._app(scope, receive, noting_send)
        except TimeoutError:
            if started or not limit.expired():
                raise
            await send_problem(send, DeadlineExpired(f"the request took longer than {timeout_s:g} s"))


class StopWhenGone:
    """ASGI middleware. Cancels the application below when the client closes its connection after its body was read.

    A disconnect in the middle of the body reaches the application as always.
    """

    def __init__(self, app: ASGIApp, *, wanted: Wanted) -> None:
        self._app = app
        self._wanted = wanted
        self._log = get_logger("http")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._wanted(scope["method"], scope["path"]):
            await self._app(scope, receive, send)
            return
        watch: asyncio.Task[Message] | None = None
        work: asyncio.Task[None]

        def gone(_watch: asyncio.Task[Message]) -> None:
            work.cancel()

        async def watched_receive() -> Message:
            nonlocal watch
            if watch is not None:
                return await asyncio.shield(watch)
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body", False):
                watch = asyncio.ensure_future(receive())
                watch.add_done_callback(gone)
            return message

        work = asyncio.ensure_future(self._app(scope, watched_receive, send))
        try:
            await work
        except asyncio.CancelledError:
            if watch is None or not watch.done() or not work.cancelled():
                work.cancel()
                raise
            self._log.info("caller_gone", path=scope["path"])
        finally:
            if watch is not None:
                watch.remove_done_callback(gone)
                watch.cancel()
