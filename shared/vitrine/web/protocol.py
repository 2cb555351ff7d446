"""HTTP/1.1 for both services: uvicorn's protocol, with limits on the size and the speed of what a client sends.

The head has a maximum size (431) and a time limit (408); the body and the client's reading of the answer have a minimum
rate. A connection that breaks a limit is closed. After an answer that comes before the whole body, the connection stays
open if little of the body is left, and otherwise closes when the client had time to read the answer.
"""

from __future__ import annotations

import asyncio
import urllib.parse
from typing import Any, Final

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from vitrine.errors import HeadersTooLarge, ParameterInvalid, RequestTooSlow, TooManyRequests, Unavailable, VitrineError
from vitrine.web.connections import HEALTH_PATHS, Connections, Place
from vitrine.web.exchange import ClosingTransport, EdgeCycle
from vitrine.web.problems import raw_answer

_PAUSED_STATUSES: Final = frozenset({429, 503})
_HEALTH_ONLY_TIMEOUT_S: Final = 2.0
# Bytes of a refused request's body that are still read, so that the client can read the answer.
_LINGER_BYTES: Final = 16_000_000
_LINGER_BROKEN_BYTES: Final = 1_000_000  # after a head or a body that breaks the rules
_LINGER_S: Final = 2.0
# Bytes of framing, such as chunk sizes, that are allowed for each byte of the body.
_FRAMING_PER_BYTE: Final = 8


class EdgeProtocol(HttpToolsProtocol):
    """One connection. The server calls `check` at regular intervals, so no request needs a timer of its own."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        connections: Connections,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._connections = connections
        self._limits = connections.limits
        self._place = Place.REFUSED
        self.address = ""
        self.closing = False
        self._closing_since_s = 0.0
        self._lingering = False
        self._drained_bytes = 0
        self._ignoring = False  # whatever else the client sends is dropped
        # The head that is being read: its bytes so far, and its deadline.
        self._in_head = True
        self._head_fed_bytes = 0
        self._head_bytes = 0
        self._head_due_s: float | None = None
        # The body that is being read.
        self._body_began_s = 0.0
        self._body_fed_bytes = 0
        self._body_bytes = 0
        self._unwritten_bytes = 0
        self._unwritten_since_s = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._real_transport = transport
        super().connection_made(ClosingTransport(transport, self))  # type: ignore[arg-type]
        self.address = self.client[0] if self.client else ""
        # A proxy's connections carry the requests of many clients.
        self._refusal_pause_s = 0.0 if self._connections.is_proxy(self.address) else self._limits.refusal_pause_s
        self._place = self._connections.add(self)
        now_s = self.loop.time()
        if self._place is Place.FULL:
            self._head_due_s = now_s + self._limits.header_timeout_s
        elif self._place is Place.HEALTH_ONLY:
            self._head_due_s = now_s + min(_HEALTH_ONLY_TIMEOUT_S, self._limits.header_timeout_s)
        else:
            self._refuse(TooManyRequests("this address has too many connections open: close some", retry_after_s=5.0))

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.remove(self, self._place)
        self._place = Place.REFUSED
        self.closing = True
        super().connection_lost(exc)

    def make_room(self) -> None:
        """Close at once, because a newer connection takes this one's reserved place."""
        self._connections.remove(self, self._place)
        self._place = Place.REFUSED
        self._real_transport.abort()

    def close(self) -> None:
        """Close when everything written has been sent and the client has had time to read it."""
        if self.closing:
            return
        self.closing = True
        self._closing_since_s = self.loop.time()
        if self._request_unfinished() and self._real_transport.can_write_eof():
            # Closing with unread data resets the connection, and the client may lose the answer.
            self._lingering = True
            self._real_transport.write_eof()
            self.flow.resume_reading()
        else:
            self._real_transport.close()

    def check(self, now_s: float) -> None:
        """Close the connection if a time limit has passed."""
        if self.closing:
            if now_s - self._closing_since_s > (_LINGER_S if self._lingering else self._limits.write_timeout_s):
                self._real_transport.abort()
            return
        if self._stalled(now_s):
            self._real_transport.abort()
        elif self._answering():
            # The next request's head may have arrived in part. Its time limit starts when this answer ends.
            if self._in_head and self._head_due_s is not None:
                self._head_due_s = now_s + self._limits.header_timeout_s
            elif not self._in_head and now_s > self._body_due_s() + self._limits.body_grace_s:
                self._real_transport.abort()  # the application answers 408 before that, unless it does not read
        elif self._in_head:
            if self._head_due_s is not None and now_s > self._head_due_s:
                self._end_slow_head()
        elif now_s > self._body_due_s():
            self.close()  # the rest of the body of a request that is already answered

    def data_received(self, data: bytes) -> None:
        if self._lingering or self._ignoring:
            self._drained_bytes += len(data)
            if self._drained_bytes > (_LINGER_BROKEN_BYTES if self._ignoring else _LINGER_BYTES):
                self._real_transport.abort()
            return
        if self._in_head:
            self._head_fed_bytes += len(data)
            if self._head_due_s is None:
                self._head_due_s = self.loop.time() + self._limits.header_timeout_s
        else:
            self._body_fed_bytes += len(data)
        super().data_received(data)
        if self._ignoring or self.closing:
            return
        if self._in_head:
            if self._head_fed_bytes > self._limits.max_header_bytes:
                self._refuse(self._headers_too_large())
        elif self._body_fed_bytes > self._limits.max_header_bytes + (1 + _FRAMING_PER_BYTE) * self._body_bytes:
            self._refuse(ParameterInvalid("the body's chunks or trailers are larger than the body"))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._head_bytes += len(url)
        if self._head_bytes <= self._limits.max_header_bytes:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # a trailer, which nothing reads
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes <= self._limits.max_header_bytes and len(self.headers) <= self._limits.max_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Like uvicorn's, without upgrades and with limits."""
        self._in_head = False
        self._head_due_s = None
        self._body_began_s = self.loop.time()
        self._body_bytes = self._body_fed_bytes = 0
        if self._ignoring or self.closing:
            return
        if self._head_bytes > self._limits.max_header_bytes or len(self.headers) > self._limits.max_headers:
            self._refuse(self._headers_too_large())
            return
        http_version = self.parser.get_http_version()
        url = httptools.parse_url(self.url)
        raw_path = url.path or b""
        path = raw_path.decode("ascii")
        self.scope |= {
            "method": self.parser.get_method().decode("ascii"),
            "http_version": http_version,
            "path": self.root_path + (urllib.parse.unquote(path) if "%" in path else path),
            "raw_path": self.root_path.encode("ascii") + raw_path,
            "query_string": url.query or b"",
        }
        health_only = self._place is Place.HEALTH_ONLY
        if health_only and path not in HEALTH_PATHS:
            self._connections.count_refusal("full")
            self._refuse(
                Unavailable("this service is at its limit of connections: try again in a moment", retry_after_s=1.0)
            )
            return
        before = self.cycle
        self.cycle = EdgeCycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=(
                http_version != "1.0"
                and self.parser.should_keep_alive()
                and not self.parser.should_upgrade()  # after an upgrade the parser reads no further request
                and not health_only
            ),
            on_response=self.on_response_complete,
        )
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if not self._ignoring and self.cycle is not None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_head = True
        self._head_fed_bytes = 0
        if not self._ignoring and self.cycle is not None:
            # Also if the answer is complete already: the rest of the body has been read.
            self.cycle.more_body = False
            super().on_message_complete()

    def on_response_complete(self) -> None:
        answered = self.cycle
        super().on_response_complete()
        refused = isinstance(answered, EdgeCycle) and answered.status in _PAUSED_STATUSES
        if refused and not answered.more_body and not self.closing and self._refusal_pause_s:
            # A client that ignores Retry-After and asks again at once is not read for a while, so it costs little.
            self.flow.pause_reading()
            self.loop.call_later(self._refusal_pause_s, self._end_pause)

    def send_400_response(self, msg: str) -> None:
        self._refuse(ParameterInvalid(msg))

    def _end_pause(self) -> None:
        if not self.transport.is_closing() and not self._answering():
            self.flow.resume_reading()

    def _refuse(self, error: VitrineError) -> None:
        """Answer without the application and close. Whatever else the client sends is dropped."""
        if self._ignoring:
            return
        self._ignoring = True
        if self.pipeline or (self._answering() and self.cycle.response_started):
            # An answer has begun and cannot be replaced. It is the last one on this connection.
            self.cycle.keep_alive = False
            return
        if self._answering():  # the application waits for a body that will not come
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._unset_keepalive_if_required()
        self.transport.write(raw_answer(error))
        self.transport.close()

    def _end_slow_head(self) -> None:
        if self._head_fed_bytes == 0:
            self.close()  # no request has begun, so there is nothing to answer
        else:
            self._connections.count_refusal("slow")
            self._refuse(RequestTooSlow(f"the request's headers took longer than {self._limits.header_timeout_s:g} s"))

    def _headers_too_large(self) -> HeadersTooLarge:
        self._connections.count_refusal("headers")
        return HeadersTooLarge(
            f"the request line and headers are larger than {self._limits.max_header_bytes} bytes "
            f"or more than {self._limits.max_headers}; send fewer or shorter ones"
        )

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _request_unfinished(self) -> bool:
        return not self._in_head or self._head_fed_bytes > 0

    def _body_due_s(self) -> float:
        limits = self._limits
        allowed_s = limits.body_grace_s + self._body_bytes / limits.body_min_bytes_per_s
        return self._body_began_s + min(allowed_s, limits.body_timeout_s)

    def _stalled(self, now_s: float) -> bool:
        """Whether the client has read none of its answer for too long."""
        unwritten_bytes = self._real_transport.get_write_buffer_size() if self.flow.write_paused else 0
        if not self._unwritten_bytes or unwritten_bytes < self._unwritten_bytes:
            self._unwritten_since_s = now_s
        self._unwritten_bytes = unwritten_bytes
        return unwritten_bytes > 0 and now_s - self._unwritten_since_s > self._limits.write_timeout_s
