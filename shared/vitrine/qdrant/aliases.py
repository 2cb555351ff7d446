"""Aliases: which release and collection serve a dataset and model.

An alias moves in one request, so that a reader sees the old collection or the new one. The search path caches the alias
table for a moment, so that a search needs no extra call. A program that changes aliases, collections or fields
announces it over Redis, and every reader clears its cache. A reader that misses the announcement uses the old table for
at most that moment, which is harmless: the old collection still exists and is searched with its own release.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Final

import redis
import redis.asyncio
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from vitrine.errors import ModelUnknown
from vitrine.jobs import keys
from vitrine.jobs.redis import broker_errors
from vitrine.qdrant.naming import Serving, alias_name, serving_of

DEFAULT_TTL_S: Final = 1.0
# Pub/sub channel. A message is the dataset whose aliases, collections or fields have changed.
CHANGES_CHANNEL: Final = f"{keys.PREFIX}serving:changed"


def announce_change(client: redis.Redis, dataset: str) -> None:
    """Make every search process clear its caches of aliases and collections. Raises BrokerUnavailable."""
    with broker_errors():
        client.publish(CHANGES_CHANNEL, dataset)


async def announce_change_async(client: redis.asyncio.Redis, dataset: str) -> None:
    """`announce_change` for asyncio."""
    with broker_errors():
        await client.publish(CHANGES_CHANNEL, dataset)


class AliasDirectory:
    """The alias table of a Qdrant, read at most once in `ttl_s` seconds."""

    def __init__(self, client: AsyncQdrantClient, *, ttl_s: float = DEFAULT_TTL_S) -> None:
        self._client = client
        self._ttl_s = ttl_s
        self._table: list[Serving] = []
        self._read_at_s = float("-inf")
        self._epoch = 0
        self._lock = asyncio.Lock()

    async def list(self, *, fresh: bool = False) -> list[Serving]:
        """Every serving dataset and model, in that order. `fresh` reads the table again."""
        if not fresh and self._is_current():
            return self._table
        async with self._lock:
            if fresh or not self._is_current():
                epoch = self._epoch
                self._table = servings((await self._client.get_aliases()).aliases)
                # A read that began before `forget` may be older than the change.
                self._read_at_s = time.monotonic() if epoch == self._epoch else float("-inf")
            return self._table

    def forget(self) -> None:
        """Read the table again on the next call."""
        self._epoch += 1
        self._read_at_s = float("-inf")

    async def resolve(self, dataset: str, model: str | None) -> Serving:
        """What serves `model` in `dataset`; without a model, the only one that serves.

        Raises ModelUnknown, naming the choices. A miss is checked against a fresh table first.
        """
        try:
            return choose_serving(await self.list(), dataset, model)
        except ModelUnknown:
            return choose_serving(await self.list(fresh=True), dataset, model)

    async def activate(self, serving: Serving) -> str | None:
        """`switch_alias`, and read the table again."""
        operations, previous = switch_operations((await self._client.get_aliases()).aliases, serving)
        if previous != serving.collection:
            await self._client.update_collection_aliases(change_aliases_operations=operations)
        await self.list(fresh=True)
        return previous

    def _is_current(self) -> bool:
        return time.monotonic() - self._read_at_s < self._ttl_s


def servings(aliases: Iterable[models.AliasDescription]) -> list[Serving]:
    """Every serving dataset and model, in that order."""
    found = (serving_of(alias.alias_name, alias.collection_name) for alias in aliases)
    return sorted((serving for serving in found if serving), key=lambda serving: (serving.dataset, serving.model))


def choose_serving(table: Iterable[Serving], dataset: str, model: str | None) -> Serving:
    """What serves `model` in `dataset`; without a model, the only one that serves. Raises ModelUnknown, naming the
    choices.
    """
    choices = [serving for serving in table if serving.dataset == dataset]
    matching = [serving for serving in choices if model is None or serving.model == model]
    if len(matching) != 1:
        raise ModelUnknown(_unknown_model(dataset, model, [serving.model for serving in choices]))
    return matching[0]


def switch_operations(
    aliases: Iterable[models.AliasDescription], serving: Serving
) -> tuple[list[models.CreateAliasOperation | models.DeleteAliasOperation], str | None]:
    """The operations, for one request, that make `serving` serve; and the collection that serves now, if any."""
    alias = alias_name(serving.dataset, serving.model)
    previous = next((known.collection_name for known in aliases if known.alias_name == alias), None)
    operations: list[models.CreateAliasOperation | models.DeleteAliasOperation] = []
    if previous is not None:
        operations.append(models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias)))
    create = models.CreateAlias(collection_name=serving.collection, alias_name=alias)
    operations.append(models.CreateAliasOperation(create_alias=create))
    return operations, previous


def switch_alias(client: QdrantClient, serving: Serving) -> str | None:
    """Make `serving` serve, in one request. Returns the collection that served before, which is kept for rollback."""
    operations, previous = switch_operations(client.get_aliases().aliases, serving)
    if previous != serving.collection:
        client.update_collection_aliases(change_aliases_operations=operations)
    return previous


def _unknown_model(dataset: str, model: str | None, choices: list[str]) -> str:
    if not choices:
        return f"no model serves the dataset {dataset!r}: index it first"
    listed = ", ".join(choices)
    if model is None:
        return f"several models serve the dataset {dataset!r}; name one of: {listed}"
    return f"the model {model[:80]!r} does not serve the dataset {dataset!r}; it has: {listed}"
