"""The nodes of a Qdrant cluster, and which of them answer.

Clients prefer the first node that works, in the configured order. A node that failed is left out for a second, then for
twice as long each time, up to 15 seconds; after that one request asks it whether it is ready, and uses it again if so.
One process shares a `Nodes` among its clients and its health check. All methods are thread-safe.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from vitrine.node_addresses import Node, parse_nodes
from vitrine.telemetry import get_logger

FIRST_RETRY_S: Final = 1.0
MAX_RETRY_S: Final = 15.0


@dataclass(slots=True)
class _State:
    reason: str | None = None  # why the node is left out; None if it works
    retry_at_s: float = 0.0
    pause_s: float = FIRST_RETRY_S


@dataclass(frozen=True, slots=True)
class Attempt:
    """A node to try. `check_first`: it failed before and may be back, so ask for its readiness before using it."""

    node: Node
    check_first: bool = False


class Nodes:
    """The nodes of one cluster, in order of preference."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.all = parse_nodes(url)
        self._states = {node: _State() for node in self.all}
        self._clock = clock
        self._lock = threading.Lock()

    @property
    def first(self) -> Node:
        return self.all[0]

    @property
    def are_several(self) -> bool:
        return len(self.all) > 1

    def attempts(self) -> Iterator[Attempt]:
        """The nodes to try for one request: those that work or may be back, in order, then the others."""
        now_s = self._clock()
        others: list[Node] = []
        for node in self.all:
            with self._lock:
                state = self._states[node]
                away, due = state.reason is not None, now_s >= state.retry_at_s
                if away and due:
                    # Only this request checks the node; others skip it meanwhile.
                    state.retry_at_s = now_s + state.pause_s
            if away and not due:
                others.append(node)
            else:
                yield Attempt(node, check_first=away)
        yield from map(Attempt, others)

    def failed(self, node: Node, reason: str) -> None:
        """Leave the node out for a while."""
        with self._lock:
            state = self._states[node]
            was_up = state.reason is None
            state.pause_s = FIRST_RETRY_S if was_up else min(2 * state.pause_s, MAX_RETRY_S)
            state.reason, state.retry_at_s = reason, self._clock() + state.pause_s
        if was_up and self.are_several:
            get_logger("qdrant").warning("qdrant_node_away", node=node.url, reason=reason)

    def answered(self, node: Node) -> None:
        """Use the node again."""
        state = self._states[node]
        if state.reason is None:  # without the lock: this runs after every request
            return
        with self._lock:
            self._states[node] = _State()
        if self.are_several:
            get_logger("qdrant").info("qdrant_node_back", node=node.url)

    def facts(self) -> list[dict[str, Any]]:
        """Each node's address, and whether it works or why not."""
        return [
            {"url": node.url, "up": True} if state.reason is None else
            {"url": node.url, "up": False, "reason": state.reason}
            for node, state in self._states.items()
        ]  # fmt: skip
