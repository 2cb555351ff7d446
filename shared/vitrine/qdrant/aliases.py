"""Which release and collection answer for a model: the alias table, read by the search path.

The table is kept for a moment, so that a search costs no extra call. Whoever changes what serves, or what can be
filtered by, announces it over Redis, and every reader drops what it keeps. A reader that has not heard it yet acts on
the old table for at most that moment, and that is harmless: the old collection is kept, and its vectors are searched
with its own release.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

import redis
import redis.asyncio
from qdrant_client import AsyncQdrantClient

from vitrine.errors import ModelUnknown
from vitrine.jobs import keys
from vitrine.jobs.redis import broker_errors
from vitrine.qdrant.collections import Serving, servings, switch_operations

DEFAULT_TTL_S: Final = 1.0
# Pub/sub: the dataset whose aliases, collections or fields have changed.
CHANGES_CHANNEL: Final = f"{keys.PREFIX}serving:changed"


def announce_change(client: redis.Redis, dataset: str) -> None:
    """Tell every search process to forget what it keeps of aliases and collections. Raises BrokerUnavailable."""
    with broker_errors():
        client.publish(CHANGES_CHANNEL, dataset)


async def announce_change_async(client: redis.asyncio.Redis, dataset: str) -> None:
    """`announce_change`, awaited."""
    with broker_errors():
        await client.publish(CHANGES_CHANNEL, dataset)


class AliasDirectory:
    """The aliases of a Qdrant, read at most once in `ttl_s` seconds however many ask."""

    def __init__(self, client: AsyncQdrantClient, *, ttl_s: float = DEFAULT_TTL_S) -> None:
        self._client = client
        self._ttl_s = ttl_s
        self._table: list[Serving] = []
        self._read_at_s = float("-inf")
        self._forgotten = 0
        self._lock = asyncio.Lock()

    async def list(self, *, fresh: bool = False) -> list[Serving]:
        """Everything that serves, ordered by dataset and model. `fresh` reads the table anew."""
        if not fresh and self._is_current():
            return self._table
        async with self._lock:
            if fresh or not self._is_current():
                forgotten = self._forgotten
                self._table = servings((await self._client.get_aliases()).aliases)
                # What was asked for before the table was to be forgotten may be older than the change.
                self._read_at_s = time.monotonic() if forgotten == self._forgotten else float("-inf")
            return self._table

    def forget(self) -> None:
        """Read the table anew when it is next asked for."""
        self._forgotten += 1
        self._read_at_s = float("-inf")

    async def resolve(self, dataset: str, model: str | None) -> Serving:
        """What answers for `model` in `dataset`; without a model, the only one there is.

        Raises ModelUnknown, naming the choices. A miss is checked against a fresh table before it is told.
        """
        for fresh in (False, True):
            choices = [serving for serving in await self.list(fresh=fresh) if serving.dataset == dataset]
            matching = [serving for serving in choices if model is None or serving.model == model]
            if len(matching) == 1:
                return matching[0]
        raise ModelUnknown(_unknown_model(dataset, model, [serving.model for serving in choices]))

    async def activate(self, serving: Serving) -> str | None:
        """Make `serving` serve, in one request. Returns the collection that served before."""
        operations, previous = switch_operations((await self._client.get_aliases()).aliases, serving)
        if previous != serving.collection:
            await self._client.update_collection_aliases(change_aliases_operations=operations)
        await self.list(fresh=True)
        return previous

    def _is_current(self) -> bool:
        return time.monotonic() - self._read_at_s < self._ttl_s


def _unknown_model(dataset: str, model: str | None, choices: list[str]) -> str:
    if not choices:
        return f"no model serves the dataset {dataset!r}: index it first"
    listed = ", ".join(choices)
    if model is None:
        return f"several models serve the dataset {dataset!r}; name one of: {listed}"
    return f"the model {model[:80]!r} does not serve the dataset {dataset!r}; it has: {listed}"
