"""How many products a filter matches, which is what the planner decides by. Counted exactly, once a minute a filter."""

from __future__ import annotations

from typing import Final

from search_api.cache import ExpiringCache
from search_api.vector_store import VectorStore
from vitrine.filters import FilterSpec

_MAX_FILTERS_KEPT: Final = 10_000


class MatchCounts:
    """Counts of matches by collection and filter."""

    def __init__(self, store: VectorStore, *, ttl_s: float) -> None:
        self._store = store
        self._counts: ExpiringCache[tuple[str, str], int] = ExpiringCache(ttl_s=ttl_s, max_entries=_MAX_FILTERS_KEPT)

    async def of(self, collection: str, spec: FilterSpec) -> int:
        """How many points of the collection match `spec`, as it was at most `ttl_s` seconds ago."""
        return await self._counts.get((collection, spec.key), lambda: self._store.count(collection, spec.compile()))
