"""The indexer's view of Qdrant: writes that are done when they return, and the reads that its checks need. Writes carry
ids that follow from the product, so repeating one changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from qdrant_client import QdrantClient, models

from vitrine.errors import CollectionNotFound, VectorStoreUnavailable
from vitrine.products import AttributeKind
from vitrine.qdrant.aliases import servings, switch_alias
from vitrine.qdrant.client import (
    add_attributes,
    create_collection,
    mark_ready,
    payloads_of,
    picture_vectors,
    read_metadata,
    vectors_of,
)
from vitrine.qdrant.errors import qdrant_errors
from vitrine.qdrant.naming import Serving, parse_collection_name
from vitrine.qdrant.planner import Planner
from vitrine.qdrant.plans import Plan
from vitrine.qdrant.profiles import DEFAULT_LAYOUT, Layout
from vitrine.qdrant.schema import CollectionInfo, CollectionMetadata, json_path

_PAGE: Final = 1_000
_DELETED_AT_ONCE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Point:
    """A product as it is stored: `vectors` is (pictures, dim) float32, each row of length 1."""

    id: str
    vectors: npt.NDArray[np.float32]
    payload: dict[str, Any]


class Vectors:
    """Every call may raise VectorStoreUnavailable, and every write VectorStoreFull."""

    def __init__(self, client: QdrantClient) -> None:
        self._client = client

    def close(self) -> None:
        self._client.close()

    def server_version(self) -> str:
        with qdrant_errors():
            return self._client.info().version

    def create(
        self,
        metadata: CollectionMetadata,
        *,
        collection: str,
        dim: int,
        kinds: Mapping[str, AttributeKind],
        several_pictures: bool = False,
        variants: bool = False,
        layout: Layout = DEFAULT_LAYOUT,
    ) -> str:
        with qdrant_errors():
            return create_collection(
                self._client,
                metadata,
                dim=dim,
                kinds=kinds,
                collection=collection,
                several_pictures=several_pictures,
                variants=variants,
                layout=layout,
            )

    def add_attributes(self, collection: str, kinds: Mapping[str, AttributeKind]) -> None:
        """Make those attributes filterable that are not yet."""
        with qdrant_errors(collection):
            add_attributes(self._client, collection, kinds)

    def describe(self, collection: str) -> CollectionInfo | None:
        """A collection's description; None if Vitrine did not make it. Raises CollectionNotFound."""
        with qdrant_errors(collection):
            return CollectionInfo.parse(collection, self._client.get_collection(collection))

    def described(self) -> dict[str, CollectionInfo]:
        """Every collection of Vitrine, by name."""
        with qdrant_errors():
            names = [item.name for item in self._client.get_collections().collections]
        found = {}
        for name in filter(parse_collection_name, names):
            try:
                facts = self.describe(name)
            except CollectionNotFound:  # dropped meanwhile
                continue
            if facts is not None:
                found[name] = facts
        return found

    def metadata(self, collection: str) -> CollectionMetadata | None:
        with qdrant_errors(collection):
            return read_metadata(self._client, collection)

    def mark_ready(self, metadata: CollectionMetadata, *, collection: str, expected: int) -> None:
        with qdrant_errors():
            mark_ready(self._client, metadata, expected=expected, collection=collection)

    def servings(self) -> list[Serving]:
        with qdrant_errors():
            return servings(self._client.get_aliases().aliases)

    def aliased(self) -> set[str]:
        """Every collection that an alias names, also one that somebody else gave it."""
        with qdrant_errors():
            return {alias.collection_name for alias in self._client.get_aliases().aliases}

    def switch(self, serving: Serving) -> str | None:
        with qdrant_errors():
            return switch_alias(self._client, serving)

    def exists(self, collection: str) -> bool:
        with qdrant_errors():
            return bool(self._client.collection_exists(collection))

    def drop(self, collection: str) -> None:
        with qdrant_errors():
            self._client.delete_collection(collection)

    def upsert(self, collection: str, points: Sequence[Point], *, several_pictures: bool) -> None:
        """Store points; when this returns they are on the disk and can be found.

        Without `several_pictures`, which is of the collection, only the first picture's vector is stored.
        """
        batch = models.Batch(
            ids=[point.id for point in points],
            vectors=[point.vectors.tolist() if several_pictures else point.vectors[0].tolist() for point in points],
            payloads=[point.payload for point in points],
        )
        with qdrant_errors(collection):
            _done(self._client.upsert(collection, batch, wait=True))

    def replace_payload(self, collection: str, point_id: str, payload: dict[str, Any]) -> None:
        with qdrant_errors(collection):
            _done(self._client.overwrite_payload(collection, payload=payload, points=[point_id], wait=True))

    def delete(self, collection: str, point_ids: Iterable[str]) -> None:
        ids: list[models.ExtendedPointId] = list(point_ids)
        with qdrant_errors(collection):
            for start in range(0, len(ids), _DELETED_AT_ONCE):
                selector = models.PointIdsList(points=ids[start : start + _DELETED_AT_ONCE])
                _done(self._client.delete(collection, points_selector=selector, wait=True))

    def payloads(self, collection: str, point_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The payloads of those points that are there."""
        with qdrant_errors(collection):
            records = self._client.retrieve(collection, ids=list(point_ids), with_payload=True, with_vectors=False)
        return payloads_of(records)

    def all_payloads(self, collection: str) -> Iterator[dict[str, Any]]:
        """The payload of every point."""
        offset: Any = None
        while True:
            with qdrant_errors(collection):
                records, offset = self._client.scroll(
                    collection, limit=_PAGE, offset=offset, with_payload=True, with_vectors=False
                )
            yield from (record.payload or {} for record in records)
            if offset is None:
                return

    def points(self, collection: str, point_ids: Sequence[str]) -> list[Point]:
        """Those points that are there, with vectors and payloads."""
        with qdrant_errors(collection):
            records = self._client.retrieve(collection, ids=list(point_ids), with_payload=True, with_vectors=True)
        return [Point(str(record.id), picture_vectors(record.vector), record.payload or {}) for record in records]

    def ids(self, collection: str) -> Iterator[str]:
        """The id of every point."""
        offset: Any = None
        while True:
            with qdrant_errors(collection):
                records, offset = self._client.scroll(
                    collection, limit=_PAGE, offset=offset, with_payload=False, with_vectors=False
                )
            yield from (str(record.id) for record in records)
            if offset is None:
                return

    def count(self, collection: str, condition: models.Filter | None = None) -> int:
        """How many points match, exactly."""
        with qdrant_errors(collection):
            return self._client.count(collection, condition, exact=True).count

    def frequent_values(self, collection: str, field: str, *, limit: int) -> list[tuple[str, int]]:
        """The most frequent values of a keyword field, and how many points have each."""
        with qdrant_errors(collection):
            hits = self._client.facet(collection, json_path(field), limit=limit, exact=True).hits
        return [(str(hit.value), hit.count) for hit in hits]

    def search(
        self,
        collection: str,
        vector: list[float],
        *,
        limit: int,
        params: models.SearchParams,
        condition: models.Filter | None,
    ) -> list[tuple[str, float]]:
        """The ids and scores of the nearest points, best first."""
        with qdrant_errors(collection):
            answer = self._client.query_points(
                collection,
                query=vector,
                query_filter=condition,
                search_params=params,
                limit=limit,
                with_payload=False,
            )
        return [(str(point.id), point.score) for point in answer.points]

    def is_green(self, collection: str) -> bool:
        """Whether Qdrant has finished optimising the collection."""
        with qdrant_errors(collection):
            return self._client.get_collection(collection).status == models.CollectionStatus.GREEN

    def vectors(self, collection: str, point_ids: Sequence[str]) -> dict[str, npt.NDArray[np.float32]]:
        """The vectors of those points that are there, (pictures, dim) each."""
        with qdrant_errors(collection):
            records = self._client.retrieve(collection, ids=list(point_ids), with_payload=False, with_vectors=True)
        return vectors_of(records)

    def neighbours(
        self,
        collection: str,
        vectors: Sequence[list[float]],
        *,
        limit: int,
        exact: bool,
        info: CollectionInfo | None = None,
        with_vectors: bool = False,
    ) -> list[list[models.ScoredPoint]]:
        """The nearest points of each vector, best first, by their best picture, found as a search finds them.

        `info` describes the collection.
        """
        plan = Plan.EXACT if exact else Plan.GRAPH
        params = Planner().params(plan, top_k=limit, info=info)
        requests = [
            models.QueryRequest(query=vector, limit=limit, params=params, with_vector=with_vectors)
            for vector in vectors
        ]
        with qdrant_errors(collection):
            return [answer.points for answer in self._client.query_batch_points(collection, requests)]


def _done(result: models.UpdateResult) -> None:
    if result.status != models.UpdateStatus.COMPLETED:
        raise VectorStoreUnavailable(f"Qdrant has not finished a write in time: its status is {result.status}")
