"""The search API's access to Qdrant. Descriptions of collections and counts of matches are cached for a few seconds, so
that a search is one call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from qdrant_client import AsyncQdrantClient, models

from search_api.cache import ExpiringCache
from search_api.qdrant_server import QdrantServer
from search_api.ties import by_score_and_id, with_ties
from vitrine.errors import CollectionNotFound
from vitrine.products import VARIANT_FIELD, AttributeValue
from vitrine.qdrant.aliases import AliasDirectory
from vitrine.qdrant.client import MAX_PRODUCTS_COUNTED, MAX_QUERY_LIMIT, payloads_of, vectors_of
from vitrine.qdrant.errors import qdrant_errors
from vitrine.qdrant.filters import FilterSpec
from vitrine.qdrant.naming import Serving, parse_collection_name
from vitrine.qdrant.schema import CollectionInfo
from vitrine.types import Vectors

Query = list[float] | str | models.RecommendQuery
_MAX_COLLECTIONS_KEPT: Final = 1_000
_MAX_FILTERS_KEPT: Final = 10_000
_MAX_LIMIT: Final = MAX_QUERY_LIMIT
_PRODUCTS_TTL_S: Final = 60.0
_TIED: Final = 2  # two hits show whether the best of a group is tied


@dataclass(frozen=True, slots=True)
class FacetCount:
    """How many products have a value."""

    value: AttributeValue
    count: int


class VectorStore:
    """Reads of collections, points and aliases."""

    def __init__(
        self, client: AsyncQdrantClient, *, alias_ttl_s: float, collection_ttl_s: float, match_count_ttl_s: float
    ) -> None:
        self._client = client
        self._directory = AliasDirectory(client, ttl_s=alias_ttl_s)
        self.server = QdrantServer(client)
        self._collections: ExpiringCache[str, CollectionInfo] = ExpiringCache(
            ttl_s=collection_ttl_s, max_entries=_MAX_COLLECTIONS_KEPT
        )
        self._matches: ExpiringCache[tuple[str, str], int] = ExpiringCache(
            ttl_s=match_count_ttl_s, max_entries=_MAX_FILTERS_KEPT
        )
        self._products: ExpiringCache[tuple[str, str, int], int] = ExpiringCache(
            ttl_s=_PRODUCTS_TTL_S, max_entries=_MAX_FILTERS_KEPT
        )

    async def close(self) -> None:
        await self._client.close()

    async def servings(self, *, fresh: bool = False) -> list[Serving]:
        """All collections that serve a model of a dataset."""
        with qdrant_errors():
            return await self._directory.list(fresh=fresh)

    async def resolve(self, dataset: str, model: str | None) -> Serving:
        """The collection that serves a model of a dataset. Raises ModelUnknown."""
        with qdrant_errors():
            return await self._directory.resolve(dataset, model)

    def forget(self) -> None:
        """Clear the caches of aliases, collections and counts."""
        self._directory.forget()
        self._collections.clear()
        self._matches.clear()
        self._products.clear()

    async def activate(self, serving: Serving) -> str | None:
        """Move the alias in one request; returns the collection that served before."""
        with qdrant_errors():
            return await self._directory.activate(serving)

    async def drop(self, collections: Sequence[str]) -> None:
        """Remove collections. Their aliases go first, in one request, so that no half-removed collection serves."""
        with qdrant_errors():
            aliases = (await self._client.get_aliases()).aliases
            operations = [
                models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias.alias_name))
                for alias in aliases
                if alias.collection_name in collections
            ]
            if operations:
                await self._client.update_collection_aliases(change_aliases_operations=operations)
            self.forget()
            for name in collections:
                await self._client.delete_collection(name)

    async def collection(self, name: str, *, fresh: bool = False) -> CollectionInfo:
        """The description of a collection. Raises CollectionNotFound."""
        if fresh:
            self._collections.drop(name)
        return await self._collections.get(name, lambda: self._describe(name))

    async def collections(self, *, fresh: bool = False) -> list[CollectionInfo]:
        """All collections made by Vitrine, sorted by name."""
        with qdrant_errors():
            listed = (await self._client.get_collections()).collections
        names = sorted(item.name for item in listed if parse_collection_name(item.name))
        described = await asyncio.gather(
            *(self.collection(name, fresh=fresh) for name in names), return_exceptions=True
        )
        found = []
        for info in described:
            if isinstance(info, CollectionNotFound):  # dropped between the two calls, or not made by Vitrine
                continue
            if isinstance(info, BaseException):
                raise info
            found.append(info)
        return found

    async def count(self, collection: str, condition: models.Filter | None) -> int:
        """How many points match, exactly."""
        with qdrant_errors(collection):
            return (await self._client.count(collection, count_filter=condition, exact=True)).count

    async def matches(self, collection: str, spec: FilterSpec) -> int:
        """How many points match, possibly a few seconds old. The planner uses this."""
        return await self._matches.get((collection, spec.key), lambda: self.count(collection, spec.compile()))

    async def products(self, collection: str, spec: FilterSpec, *, matches: int) -> int:
        """How many products have a variant that matches, if `matches` variants do. Counted again when these change, or
        after a minute. Beyond 100,000 products it is an estimate.
        """

        async def count() -> int:
            hits = await self.facet(collection, VARIANT_FIELD, condition=spec.compile(), limit=MAX_PRODUCTS_COUNTED)
            if len(hits) < MAX_PRODUCTS_COUNTED:
                return len(hits)
            # The products with most matching variants come first; the others have at most as many as the last.
            left = max(0, matches - sum(hit.count for hit in hits))
            return len(hits) + -(-left // hits[-1].count)

        return await self._products.get((collection, spec.key, matches), count)

    async def nearest(
        self,
        collection: str,
        query: Query,
        *,
        condition: models.Filter | None,
        params: models.SearchParams,
        limit: int,
        min_score: float | None = None,
        with_vectors: bool = False,
    ) -> list[models.ScoredPoint]:
        """The nearest points, best first; ties are ordered by product id. A query by point id or by examples excludes
        those points. A product's score is that of its best picture.
        """

        async def ask(count: int) -> list[models.ScoredPoint]:
            return await self._query(
                collection,
                query,
                condition=condition,
                params=params,
                limit=count,
                min_score=min_score,
                with_vectors=with_vectors,
            )

        found = await with_ties(ask, limit, score=lambda point: point.score, most=_MAX_LIMIT)
        return sorted(found, key=by_score_and_id)[:limit]

    async def nearest_payloads(
        self,
        collection: str,
        query: Query,
        *,
        fields: Sequence[str],
        condition: models.Filter | None,
        params: models.SearchParams,
        limit: int,
        min_score: float | None,
    ) -> list[dict[str, Any]]:
        """These fields of the nearest points, without an order among ties."""
        points = await self._query(
            collection,
            query,
            condition=condition,
            params=params,
            limit=limit,
            min_score=min_score,
            payload=list(fields),
        )
        return [point.payload or {} for point in points]

    async def nearest_by_group(
        self,
        collection: str,
        query: Query,
        *,
        field: str,
        condition: models.Filter | None,
        params: models.SearchParams,
        limit: int,
        min_score: float | None = None,
    ) -> list[models.ScoredPoint]:
        """The nearest point of each value of `field`, best first; ties are ordered by product id."""

        async def ask(count: int) -> list[models.PointGroup]:
            with qdrant_errors(collection, filtered=condition is not None):
                answer = await self._client.query_points_groups(
                    collection,
                    field,
                    query=query,
                    query_filter=condition,
                    search_params=params,
                    limit=count,
                    group_size=_TIED,
                    score_threshold=min_score,
                    with_payload=True,
                )
            return sorted((group for group in answer.groups if group.hits), key=lambda group: -group.hits[0].score)

        async def best(group: models.PointGroup) -> models.ScoredPoint:
            first, *others = group.hits
            if not others or others[0].score < first.score:
                return first
            value = models.FieldCondition(key=field, match=models.MatchValue(value=group.id))
            within = models.Filter(must=[value, *([condition] if condition is not None else [])])
            found = await self.nearest(collection, query, condition=within, params=params, limit=1)
            return found[0] if found else first

        groups = await with_ties(ask, limit, score=lambda group: group.hits[0].score, most=_MAX_LIMIT // _TIED)
        found = await asyncio.gather(*map(best, groups))
        return sorted(found, key=by_score_and_id)[:limit]

    async def scroll(
        self,
        collection: str,
        *,
        condition: models.Filter | None,
        limit: int,
        offset: str | None = None,
        order_by: models.OrderBy | None = None,
    ) -> tuple[list[models.Record], str | None]:
        """(points with payloads, in the order of their ids from `offset` or of a field; the next id)."""
        with qdrant_errors(collection, filtered=condition is not None):
            records, following = await self._client.scroll(
                collection, scroll_filter=condition, limit=limit, offset=offset, order_by=order_by, with_payload=True
            )
        return records, None if following is None else str(following)

    async def retrieve(self, collection: str, point_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The payloads of the points that exist, by point id."""
        with qdrant_errors(collection):
            records = await self._client.retrieve(collection, ids=list(point_ids), with_payload=True)
        return payloads_of(records)

    async def vectors(self, collection: str, point_ids: Sequence[str]) -> dict[str, Vectors]:
        """The vectors of the points that exist, by point id: (pictures, dim) each."""
        with qdrant_errors(collection):
            records = await self._client.retrieve(
                collection, ids=list(point_ids), with_payload=False, with_vectors=True
            )
        return vectors_of(records)

    async def facet(
        self, collection: str, field: str, *, condition: models.Filter | None, limit: int
    ) -> list[FacetCount]:
        """The most frequent values of a field among the matching points, with exact counts."""
        with qdrant_errors(collection, filtered=condition is not None):
            answer = await self._client.facet(collection, field, facet_filter=condition, limit=limit, exact=True)
        # A value that no point has any more may still be listed.
        return [FacetCount(hit.value, hit.count) for hit in answer.hits if hit.count]

    async def _query(
        self,
        collection: str,
        query: Query,
        *,
        condition: models.Filter | None,
        params: models.SearchParams,
        limit: int,
        min_score: float | None,
        payload: bool | list[str] = True,
        with_vectors: bool = False,
    ) -> list[models.ScoredPoint]:
        with qdrant_errors(collection, filtered=condition is not None):
            answer = await self._client.query_points(
                collection,
                query=query,
                query_filter=condition,
                search_params=params,
                limit=limit,
                score_threshold=min_score,
                with_payload=payload,
                with_vectors=with_vectors,
            )
        return answer.points

    async def _describe(self, name: str) -> CollectionInfo:
        with qdrant_errors(name):
            info = CollectionInfo.parse(name, await self._client.get_collection(name))
        if info is None or not info.dim:
            raise CollectionNotFound(f"the collection {name!r} was not made by Vitrine")
        return info
