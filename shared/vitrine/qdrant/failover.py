"""HTTP to a Qdrant cluster: a request that one node does not answer goes to the next.

A request may be sent again after a node has taken it, because every write of Vitrine can be repeated: points have ids
of their own, and aliases, indexes and collections are set to a state. All tries together take about the timeout of one
call at most: each has an equal share of what is left, so that a node that accepts connections and never answers does
not use it up.
"""

from __future__ import annotations

import time
from typing import Any, Final

import httpx

from vitrine.node_addresses import Node
from vitrine.qdrant.nodes import Attempt, Nodes

CHECK_TIMEOUT_S: Final = 1.0
_CONNECT_TIMEOUT_S: Final = 2.0
_DEFAULT_TIMEOUT_S: Final = 30.0
# The node did not answer, or did not answer in full. Other errors are the client's own.
_NODE_FAILURES: Final = (
    httpx.NetworkError,
    httpx.RemoteProtocolError,
    httpx.ConnectTimeout,
    httpx.ReadTimeout,
    httpx.WriteTimeout,
)
# Answers of a proxy whose node is away, and of a node that is starting or stopping.
_NODE_STATUSES: Final = frozenset({502, 503, 504})


class _Tries:
    """The tries of one request."""

    def __init__(self, nodes: Nodes, request: httpx.Request) -> None:
        self.nodes = nodes
        self._request = request
        given = request.extensions.get("timeout") or {}
        self._timeouts: dict[str, float | None] = dict(given)
        total = self._timeouts.get("read")
        self._end_s = time.monotonic() + (_DEFAULT_TIMEOUT_S if total is None else total)
        self._left = len(nodes.all)
        self.failure: Exception | None = None
        self.answer: httpx.Response | None = None

    def request_to(self, node: Node) -> httpx.Request:
        """The request for this node, with its share of the time that is left."""
        share_s = max(0.001, (self._end_s - time.monotonic()) / max(1, self._left))
        self._left -= 1
        timeouts = {name: share_s if limit is None else min(limit, share_s) for name, limit in self._timeouts.items()}
        timeouts["connect"] = min(timeouts.get("connect", share_s), _CONNECT_TIMEOUT_S)
        return _readdressed(self._request, self.nodes.first, node, timeouts)

    def skip(self) -> None:
        """Count a node that is not ready."""
        self._left -= 1

    def take(self, node: Node, answer: httpx.Response) -> bool:
        """Whether this answer is the request's. Otherwise it is kept in case no other node answers."""
        if answer.status_code in _NODE_STATUSES:
            self.nodes.failed(node, f"status {answer.status_code}")
            self.answer = answer
            return False
        self.nodes.answered(node)
        return True

    def note(self, node: Node, error: Exception) -> None:
        self.nodes.failed(node, type(error).__name__)
        self.failure = error

    def result(self) -> httpx.Response:
        """The answer if no node could do it: what a node said, or else the last error."""
        if self.answer is not None:
            return self.answer
        raise self.failure if self.failure is not None else httpx.ConnectError("no node of Qdrant is ready")


class FailoverTransport(httpx.BaseTransport):
    """Sends each request to the first node that answers."""

    def __init__(self, nodes: Nodes, *, limits: httpx.Limits) -> None:
        self._nodes = nodes
        self._inner = httpx.HTTPTransport(limits=limits)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        tries = _Tries(self._nodes, request)
        for attempt in self._nodes.attempts():
            if attempt.check_first and not self._is_ready(attempt):
                tries.skip()
                continue
            try:
                answer = self._inner.handle_request(tries.request_to(attempt.node))
                try:
                    # The whole answer, because a node may die in the middle of it.
                    whole = _whole(answer, b"".join(answer.iter_raw()))
                finally:
                    answer.close()
            except _NODE_FAILURES as error:
                tries.note(attempt.node, error)
                continue
            if tries.take(attempt.node, whole):
                return whole
        return tries.result()

    def _is_ready(self, attempt: Attempt) -> bool:
        try:
            answer = self._inner.handle_request(_readiness(attempt.node))
            answer.close()
        except httpx.TransportError as error:
            self._nodes.failed(attempt.node, type(error).__name__)
            return False
        return _checked(self._nodes, attempt.node, answer)

    def close(self) -> None:
        self._inner.close()


class AsyncFailoverTransport(httpx.AsyncBaseTransport):
    """`FailoverTransport` for asyncio."""

    def __init__(self, nodes: Nodes, *, limits: httpx.Limits) -> None:
        self._nodes = nodes
        self._inner = httpx.AsyncHTTPTransport(limits=limits)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        tries = _Tries(self._nodes, request)
        for attempt in self._nodes.attempts():
            if attempt.check_first and not await self._is_ready(attempt):
                tries.skip()
                continue
            try:
                answer = await self._inner.handle_async_request(tries.request_to(attempt.node))
                try:
                    whole = _whole(answer, b"".join([part async for part in answer.aiter_raw()]))
                finally:
                    await answer.aclose()
            except _NODE_FAILURES as error:
                tries.note(attempt.node, error)
                continue
            if tries.take(attempt.node, whole):
                return whole
        return tries.result()

    async def _is_ready(self, attempt: Attempt) -> bool:
        try:
            answer = await self._inner.handle_async_request(_readiness(attempt.node))
            await answer.aclose()
        except httpx.TransportError as error:
            self._nodes.failed(attempt.node, type(error).__name__)
            return False
        return _checked(self._nodes, attempt.node, answer)

    async def aclose(self) -> None:
        await self._inner.aclose()


def _readdressed(
    request: httpx.Request, written_for: Node, node: Node, timeouts: dict[str, float | None] | dict[str, float]
) -> httpx.Request:
    """The same request for another node. It was written for the first one, whose path it starts with."""
    own = written_for.parts.path.encode()
    target = httpx.URL(node.url)
    path = request.url.raw_path.removeprefix(own)
    url = target.copy_with(raw_path=target.raw_path.rstrip(b"/") + path)
    headers = request.headers.copy()
    headers["Host"] = url.netloc.decode()
    extensions: dict[str, Any] = {**request.extensions, "timeout": timeouts}
    return httpx.Request(request.method, url, headers=headers, stream=request.stream, extensions=extensions)


def _readiness(node: Node) -> httpx.Request:
    timeouts = dict.fromkeys(("connect", "read", "write", "pool"), CHECK_TIMEOUT_S)
    return httpx.Request("GET", f"{node.url}/readyz", extensions={"timeout": timeouts})


def _checked(nodes: Nodes, node: Node, answer: httpx.Response) -> bool:
    if answer.is_server_error:
        nodes.failed(node, f"not ready, status {answer.status_code}")
        return False
    return True


def _whole(answer: httpx.Response, body: bytes) -> httpx.Response:
    return httpx.Response(
        answer.status_code, headers=answer.headers, stream=httpx.ByteStream(body), extensions=answer.extensions
    )
