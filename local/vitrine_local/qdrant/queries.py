"""Translates the client's queries into the engine's, with point ids replaced by their vectors.

A point that is given as an example is left out of the answer, as on the server.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, cast

import qdrant_edge as edge
from qdrant_client.http import models

from vitrine_local.qdrant.collection import Collection
from vitrine_local.qdrant.engine import engine_errors
from vitrine_local.qdrant.errors import NotFound, Unsupported, ValidationFailed, WrongInput
from vitrine_local.qdrant.filters import engine_filter, excluding, instant
from vitrine_local.qdrant.updates import Vector, checked_vectors

DEFAULT_LIMIT: Final = 10
_DIRECTIONS: Final = {models.Direction.ASC: edge.Direction.Asc, models.Direction.DESC: edge.Direction.Desc}
Scored = list[edge.ScoredPoint]


@dataclass(frozen=True, slots=True)
class EngineQuery:
    """`query` is None for a plain scroll over the points; `examples` are left out of the answer."""

    query: Any
    examples: tuple[models.ExtendedPointId, ...] = ()


def search(collection: Collection, request: models.QueryRequest) -> Scored:
    """Run one query. Raises QdrantError."""
    limit = checked_limit(request.limit)
    offset = request.offset or 0
    if offset < 0:
        raise ValidationFailed(f"[offset: value {offset} invalid, must be 0 or larger]")
    collection.strict_mode.check_limit(limit)
    condition = checked_filter(collection, request)
    query = engine_query(collection, request.query)
    with engine_errors():
        return collection.shard.query(
            edge.QueryRequest(
                limit=limit,
                offset=offset,
                query=query.query,
                with_vector=vector_selector(request.with_vector),
                with_payload=payload_selector(request.with_payload, default=False),
                filter=excluding(condition, query.examples),
                score_threshold=request.score_threshold,
                params=search_params(request.params),
            )
        )


def checked_filter(
    collection: Collection, request: models.QueryRequest | models.QueryGroupsRequest
) -> edge.Filter | None:
    """The engine's filter. Raises QdrantError if the request uses an unsupported option or exceeds strict mode."""
    for option in ("prefetch", "lookup_from", "shard_key"):
        if getattr(request, option):
            raise Unsupported(option)
    if request.using:
        raise WrongInput(f"Not existing vector name error: {request.using}")
    strict = collection.strict_mode
    strict.check_read(request.filter)
    strict.check_params(request.params)
    return engine_filter(request.filter)


def engine_query(collection: Collection, query: models.QueryInterface | None) -> EngineQuery:
    """The engine's query: nearest to a vector or point, or to the average of examples.

    Raises Unsupported for other queries, NotFound for an unknown point id, WrongInput for a vector of another size.
    """
    match query:
        case None:
            return EngineQuery(None)
        case models.NearestQuery(nearest=nearest, mmr=None):
            return _nearest(collection, nearest)
        case models.RecommendQuery(recommend=recommend):
            return _recommend(collection, recommend)
        case (
            models.NearestQuery()
            | models.DiscoverQuery()
            | models.ContextQuery()
            | models.OrderByQuery()
            | models.FusionQuery()
            | models.RrfQuery()
            | models.FormulaQuery()
            | models.SampleQuery()
            | models.RelevanceFeedbackQuery()
            | models.TextQuery()
        ):
            raise Unsupported("mmr" if isinstance(query, models.NearestQuery) else type(query).__name__)
        case _:
            return _nearest(collection, query)


def engine_order(order_by: str | models.OrderBy) -> edge.OrderBy:
    """The engine's order by a payload field."""
    if isinstance(order_by, str):
        return edge.OrderBy(order_by)
    direction = _DIRECTIONS[order_by.direction] if order_by.direction is not None else None
    start = order_by.start_from
    return edge.OrderBy(order_by.key, direction, start if isinstance(start, int | float | None) else instant(start))


def checked_limit(limit: int | None, *, name: str = "limit") -> int:
    """`limit`, or Qdrant's default of 10 for None. Raises ValidationFailed if it is below 1."""
    if limit is None:
        return DEFAULT_LIMIT
    if limit < 1:
        raise ValidationFailed(f"[{name}: value {limit} invalid, must be 1 or larger]")
    return limit


def search_params(params: models.SearchParams | None) -> edge.SearchParams | None:
    """The engine's search parameters."""
    if params is None:
        return None
    if params.idf is not None:
        raise Unsupported("params.idf")
    acorn, quantization = params.acorn, params.quantization
    with engine_errors():
        return edge.SearchParams(
            hnsw_ef=params.hnsw_ef,
            exact=bool(params.exact),
            indexed_only=bool(params.indexed_only),
            quantization=edge.QuantizationSearchParams(
                bool(quantization.ignore), quantization.rescore, quantization.oversampling
            )
            if quantization
            else None,
            acorn=edge.AcornSearchParams(bool(acorn.enable), acorn.max_selectivity) if acorn else None,
        )


def payload_selector(requested: models.WithPayloadInterface | None, *, default: bool) -> Any:
    """Which payload keys to return."""
    match requested:
        case None:
            return default
        case models.PayloadSelectorInclude(include=keys):
            return edge.PayloadSelector.Include(keys)
        case models.PayloadSelectorExclude(exclude=keys):
            return edge.PayloadSelector.Exclude(keys)
        case _:
            return requested


def vector_selector(requested: models.WithVector | None) -> bool:
    """Whether to return vectors. Raises WrongInput for a named vector: there is only the unnamed one."""
    if isinstance(requested, list) and any(name for name in requested):
        raise WrongInput(f"Not existing vector name error: {next(name for name in requested if name)}")
    return bool(requested)


class _Examples:
    """Looks up the vectors of points and remembers the ids."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._ids: list[models.ExtendedPointId] = []

    def vector(self, example: Any) -> Vector:
        """The vector of a point id, or the given vector; a list of them where points have lists."""
        record = self._collection.record
        if isinstance(example, list):
            return checked_vectors(example, dim=record.dim, several=record.has_vector_lists)
        if isinstance(example, models.SparseVector | models.Document | models.Image | models.InferenceObject):
            raise Unsupported(f"queries by {type(example).__name__}")
        with engine_errors():
            found = self._collection.shard.retrieve([example], False, True)
        if not found:
            raise NotFound(f"No point with id {example} found")
        self._ids.append(example)
        return cast(Vector, found[0].vector)

    def vectors(self, examples: Iterable[Any] | None) -> list[list[float]]:
        """Vectors to average, which lists of vectors cannot be."""
        if self._collection.record.has_vector_lists:
            raise Unsupported("recommend with lists of vectors")
        return [cast(list[float], self.vector(example)) for example in examples or ()]

    def nearest(self, vector: Vector) -> EngineQuery:
        return EngineQuery(edge.Query.Nearest(cast(Any, vector)), tuple(self._ids))


def _nearest(collection: Collection, nearest: Any) -> EngineQuery:
    examples = _Examples(collection)
    return examples.nearest(examples.vector(nearest))


def _recommend(collection: Collection, recommend: models.RecommendInput) -> EngineQuery:
    if recommend.strategy not in (None, models.RecommendStrategy.AVERAGE_VECTOR):
        raise Unsupported(f"the recommend strategy {recommend.strategy.value}")
    examples = _Examples(collection)
    positive, negative = examples.vectors(recommend.positive), examples.vectors(recommend.negative)
    if not positive:
        raise WrongInput("At least one positive vector ID required with this strategy")
    return examples.nearest(_average(positive, negative))


def _average(positive: list[list[float]], negative: list[list[float]]) -> list[float]:
    """mean(positive) + (mean(positive) - mean(negative)), as the server computes it."""
    toward = [sum(column) / len(positive) for column in zip(*positive, strict=True)]
    if not negative:
        return toward
    away = [sum(column) / len(negative) for column in zip(*negative, strict=True)]
    return [2 * wanted - unwanted for wanted, unwanted in zip(toward, away, strict=True)]
