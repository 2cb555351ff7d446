"""Background health checks of the embedder, Qdrant and Redis.

Readiness reports the last results and makes no calls of its own. A dependency counts as unavailable after three failed
checks in a row, so that one lost answer does not take every replica out of a load balancer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import httpx
import redis.asyncio

from vitrine.node_addresses import Node
from vitrine.qdrant.nodes import Nodes
from vitrine.telemetry import get_logger

INTERVAL_S: Final = 1.5
ASK_TIMEOUT_S: Final = 4.0
_EMBEDDER_TIMEOUT_S: Final = 2.0
_NODE_TIMEOUT_S: Final = 3.0
_RECENTLY_S: Final = 5.0
FAILURES_TO_BE_AWAY: Final = 3

# None if it works, else the reason, without addresses: readiness is public.
Ask = Callable[[], Awaitable[str | None]]


class Dependency:
    """One dependency, checked periodically. `silent` is set while it is unavailable and does not answer at all."""

    def __init__(
        self, name: str, ask: Ask, *, silent: asyncio.Event | None = None, interval_s: float = INTERVAL_S,
        ask_timeout_s: float = ASK_TIMEOUT_S,
    ) -> None:  # fmt: skip
        self.name = name
        self.silent = silent or asyncio.Event()
        self._away = False
        self._ask = ask
        self._interval_s = interval_s
        self._ask_timeout_s = ask_timeout_s
        self._asked = False
        self._failures = 0
        self._since: str | None = None
        self._reason: str | None = None
        self._log = get_logger("dependencies")

    @property
    def up(self) -> bool:
        """Whether the last check succeeded. False before the first one."""
        return self._asked and not self._away

    def facts(self) -> dict[str, Any]:
        if self.up:
            return {"up": True}
        return {"up": False, "since": self._since, "reason": self._reason or "not checked yet"}

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await self.ask()
            await asyncio.sleep(self._interval_s)

    async def ask(self) -> None:
        """Ask once."""
        try:
            async with asyncio.timeout(self._ask_timeout_s):
                self._take(await self._ask(), answered=True)
        except TimeoutError:
            self._take(f"no answer within {self._ask_timeout_s:g} s", answered=False)
        except Exception as error:  # no error of a client may end the loop
            self._take(type(error).__name__, answered=False)

    def _take(self, missing: str | None, *, answered: bool) -> None:
        first, self._asked = not self._asked, True
        if missing is None:
            if self._away:
                self._log.info("dependency_back", dependency=self.name, since=self._since)
            self._failures = 0
            self._away = False
            self.silent.clear()
            return
        if self._failures == 0:
            self._since = datetime.now(UTC).isoformat(timespec="seconds")
        self._failures += 1
        self._reason = missing
        if not self._away and (first or self._failures >= FAILURES_TO_BE_AWAY):
            self._away = True
            self._log.warning("dependency_away", dependency=self.name, reason=missing, since=self._since)
        if answered or not self._away:
            self.silent.clear()
        else:
            self.silent.set()


class Dependencies:
    """The three dependencies. A search needs the embedder and Qdrant; without Redis only jobs and writes fail."""

    def __init__(self, *, embedder: Dependency, qdrant: Dependency, redis: Dependency) -> None:
        self._needed_to_search = (embedder, qdrant)
        self._all = (embedder, qdrant, redis)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(dependency.run()) for dependency in self._all]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def can_search(self) -> bool:
        return all(dependency.up for dependency in self._needed_to_search)

    def facts(self) -> Mapping[str, Any]:
        """`status` and `needs`, as readiness shows them."""
        status = "ready" if all(dependency.up for dependency in self._all) else "degraded"
        return {"status": status, "needs": {dependency.name: dependency.facts() for dependency in self._all}}


def ask_embedder(client: httpx.AsyncClient, url: str, answered_within: Callable[[float], bool] | None = None) -> Ask:
    """Check its readiness. An embedder with a full queue works, because it still answers. One that is late here but
    has just answered another call (`answered_within`) is busy, not hanging.
    """

    async def ask() -> str | None:
        try:
            answer = await client.get(f"{url.rstrip('/')}/readyz", timeout=_EMBEDDER_TIMEOUT_S)
        except httpx.HTTPError:
            if answered_within is not None and answered_within(_RECENTLY_S):
                return None
            raise
        if answer.status_code == httpx.codes.OK:
            return None
        facts = _object(answer)
        if facts.get("queue_full") and facts.get("alive") and not facts.get("last_failure"):
            return None
        return f"not ready, status {answer.status_code}"

    return ask


def ask_qdrant(client: httpx.AsyncClient, nodes: Nodes) -> Ask:
    """Check the readiness of every node; one is enough. The clients of `nodes` leave out the others, also one that
    accepts connections and does not answer. A refusal by a proxy in front of a node also shows that it is reachable.
    """

    async def ask_node(node: Node) -> str | None:
        try:
            answer = await client.get(f"{node.url}/readyz", timeout=_NODE_TIMEOUT_S)
        except httpx.HTTPError as error:
            reason: str | None = type(error).__name__
        else:
            reason = f"not ready, status {answer.status_code}" if answer.is_server_error else None
        if reason is None:
            nodes.answered(node)
        else:
            nodes.failed(node, reason)
        return reason

    async def ask() -> str | None:
        reasons = await asyncio.gather(*map(ask_node, nodes.all))
        return None if None in reasons else reasons[0]

    return ask


def ask_redis(connection: redis.asyncio.Redis) -> Ask:
    """Check with a ping."""

    async def ask() -> str | None:
        await connection.ping()
        return None

    return ask


def _object(answer: httpx.Response) -> Mapping[str, Any]:
    try:
        content = answer.json()
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
