"""gRPC to the nodes of a Qdrant cluster: a call that one node does not answer goes to the next.

The same rules as for HTTP (`failover`): calls may be repeated, and all tries together take at most the timeout of one
call. The client makes its stubs from these channels instead of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import grpc
from qdrant_client import AsyncQdrantClient, QdrantClient
from qdrant_client.connection import get_async_channel, get_channel
from qdrant_client.qdrant_remote import QdrantRemote

from vitrine.node_addresses import Node
from vitrine.qdrant.failover import CHECK_TIMEOUT_S
from vitrine.qdrant.nodes import Nodes

_NODE_FAILURES: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
_DEFAULT_TIMEOUT_S: Final = 30.0
_HEALTH_METHOD: Final = "/qdrant.Qdrant/HealthCheck"
# A channel whose node is away fails at once until it connects again. The library's own limit is two minutes.
_OPTIONS: Final = {"grpc.initial_reconnect_backoff_ms": 200, "grpc.max_reconnect_backoff_ms": 1_000}


def use_failover(client: QdrantClient, nodes: Nodes, *, port: int, api_key: str | None) -> None:
    """Make the client's gRPC calls go to the first node that answers."""
    _replace_channels(client, lambda: _Channel(nodes, port=port, api_key=api_key))


def use_async_failover(client: AsyncQdrantClient, nodes: Nodes, *, port: int, api_key: str | None) -> None:
    """`use_failover` for asyncio."""
    _replace_channels(client, lambda: _AsyncChannel(nodes, port=port, api_key=api_key))


def _replace_channels(client: Any, new_channel: Callable[[], _Channels]) -> None:
    # The client makes its own only if the pool is empty.
    client._client._grpc_channel_pool = [new_channel() for _ in range(QdrantRemote.DEFAULT_GRPC_POOL_SIZE)]


class _Channels:
    """A channel to each node, opened at the first call because an asyncio channel belongs to the loop that runs."""

    def __init__(self, nodes: Nodes, *, port: int, api_key: str | None) -> None:
        self._nodes = nodes
        self._port = port
        self._metadata = [("api-key", api_key)] if api_key else []
        self._opened: dict[Node, Any] = {}

    def _open(self, open_channel: Callable[..., Any], node: Node) -> Any:
        if node not in self._opened:
            self._opened[node] = open_channel(
                host=node.host, port=self._port, ssl=node.is_https, metadata=self._metadata, options=_OPTIONS
            )
        return self._opened[node]

    def _take(self, node: Node, error: grpc.RpcError) -> bool:
        """Whether another node may answer instead."""
        code = error.code()
        if code not in _NODE_FAILURES:
            return False
        self._nodes.failed(node, code.name)
        return True


class _Channel(_Channels):
    """The part of `grpc.Channel` that Qdrant's client uses."""

    def unary_unary(self, method: str, **codecs: Any) -> Callable[..., Any]:
        calls = {node: self._open(get_channel, node).unary_unary(method, **codecs) for node in self._nodes.all}

        def call(request: Any, timeout: float | None = None, **options: Any) -> Any:
            clock = _Shares(timeout, len(calls))
            for attempt in self._nodes.attempts():
                share_s = clock.next_s()
                try:
                    if attempt.check_first:
                        self._health(attempt.node)(b"", timeout=min(CHECK_TIMEOUT_S, share_s))
                    answer = calls[attempt.node](request, timeout=share_s, **options)
                except grpc.RpcError as error:
                    if not self._take(attempt.node, error):
                        raise
                    clock.failure = error
                    continue
                self._nodes.answered(attempt.node)
                return answer
            raise clock.failure

        return call

    def _health(self, node: Node) -> Callable[..., bytes]:
        check: Callable[..., bytes] = self._open(get_channel, node).unary_unary(_HEALTH_METHOD)
        return check

    def close(self) -> None:
        for channel in self._opened.values():
            channel.close()


class _AsyncChannel(_Channels):
    """The part of `grpc.aio.Channel` that Qdrant's client uses."""

    def unary_unary(self, method: str, **codecs: Any) -> Callable[..., Any]:
        calls = {node: self._open(get_async_channel, node).unary_unary(method, **codecs) for node in self._nodes.all}

        async def call(request: Any, timeout: float | None = None, **options: Any) -> Any:  # noqa: ASYNC109 - a stub's
            clock = _Shares(timeout, len(calls))
            for attempt in self._nodes.attempts():
                share_s = clock.next_s()
                try:
                    if attempt.check_first:
                        health = self._open(get_async_channel, attempt.node).unary_unary(_HEALTH_METHOD)
                        await health(b"", timeout=min(CHECK_TIMEOUT_S, share_s))
                    answer = await calls[attempt.node](request, timeout=share_s, **options)
                except grpc.RpcError as error:
                    if not self._take(attempt.node, error):
                        raise
                    clock.failure = error
                    continue
                self._nodes.answered(attempt.node)
                return answer
            raise clock.failure

        return call

    async def close(self, grace: float | None = None) -> None:
        for channel in self._opened.values():
            await channel.close(grace)


class _Shares:
    """Divides the time of a call among its tries. `failure` is the last try's."""

    def __init__(self, timeout_s: float | None, tries: int) -> None:
        self._end_s = time.monotonic() + (_DEFAULT_TIMEOUT_S if timeout_s is None else timeout_s)
        self._left = tries
        self.failure: grpc.RpcError = grpc.RpcError("no node of Qdrant is ready")

    def next_s(self) -> float:
        share_s = (self._end_s - time.monotonic()) / max(1, self._left)
        self._left -= 1
        return max(0.001, share_s)
