"""Searches: from the client's query models to the engine's, with point ids replaced by the vectors they stand for.

A point that is given as an example is left out of the answer, as on the server.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import qdrant_edge as edge
from qdrant_client.http import models

from vitrine_local.qdrant.collection import Collection
from vitrine_local.qdrant.errors import NotFound, Unsupported, ValidationFailed, WrongInput, engine_errors
from vitrine_local.qdrant.filters import engine_filter, excluding
from vitrine_local.qdrant.updates import checked_vector

DEFAULT_LIMIT: Final = 10
_DEFAULT_DIVERSITY: Final = 0.5
_DIRECTIONS: Final = {models.Direction.ASC: edge.Direction.Asc, models.Direction.DESC: edge.Direction.Desc}
Scored = list[edge.ScoredPoint]


@dataclass(frozen=True, slots=True)
class Resolved:
    """A query with every id looked up. `query` is None for a plain walk over the points; `examples` are left out."""

    query: Any
    examples: tuple[models.ExtendedPointId, ...] = ()


def search(collection: Collection, request: models.QueryRequest) -> Scored:
    """Run one query. Raises what the checks and the engine refuse."""
    limit = checked_limit(request.limit)
    offset = request.offset or 0
    if offset < 0:
        raise ValidationFailed(f"[offset: value {offset} invalid, must be 0 or larger]")
    collection.strict_mode.check_limit(limit)
    condition = prepare(collection, request)
    resolved = resolve(collection, request.query, limit=limit + offset)
    with engine_errors():
        return collection.shard.query(
            edge.QueryRequest(
                limit=limit,
                offset=offset,
                query=resolved.query,
                with_vector=vector_selector(request.with_vector),
                with_payload=payload_selector(request.with_payload, default=False),
                filter=excluding(condition, resolved.examples),
                score_threshold=request.score_threshold,
                params=search_params(request.params),
            )
        )


def prepare(collection: Collection, request: models.QueryRequest | models.QueryGroupsRequest) -> edge.Filter | None:
    """Refuse what is not supported or against strict mode, and translate the filter."""
    for option in ("prefetch", "lookup_from", "shard_key"):
        if getattr(request, option):
            raise Unsupported(option)
    if request.using:
        raise WrongInput(f"Not existing vector name error: {request.using}")
    strict = collection.strict_mode
    strict.check_read(request.filter)
    strict.check_params(request.params)
    return engine_filter(request.filter)


def resolve(collection: Collection, query: models.QueryInterface | None, *, limit: int) -> Resolved:
    """The engine's query for the client's."""
    match query:
        case None:
            return Resolved(None)
        case models.NearestQuery(nearest=nearest, mmr=mmr):
            return _nearest(collection, nearest, mmr, limit=limit)
        case models.RecommendQuery(recommend=recommend):
            return _recommend(collection, recommend)
        case models.DiscoverQuery(discover=discover):
            examples = _Examples(collection)
            target, pairs = examples.vector(discover.target), examples.pairs(discover.context)
            return examples.resolved(edge.Query.Discover(edge.DiscoverQuery(cast(Any, target), pairs)))
        case models.ContextQuery(context=context):
            examples = _Examples(collection)
            return examples.resolved(edge.Query.Context(edge.ContextQuery(examples.pairs(context))))
        case models.OrderByQuery(order_by=order_by):
            return Resolved(engine_order(order_by))
        case models.SampleQuery():
            return Resolved(edge.Sample.Random)
        case (
            models.FusionQuery()
            | models.RrfQuery()
            | models.FormulaQuery()
            | models.RelevanceFeedbackQuery()
            | models.TextQuery()
        ):
            raise Unsupported(type(query).__name__)
        case _:
            return _nearest(collection, query, None, limit=limit)


def engine_order(order_by: str | models.OrderBy) -> edge.OrderBy:
    """An order by a payload field in the engine's type."""
    if isinstance(order_by, str):
        return edge.OrderBy(order_by)
    if order_by.start_from is not None and not isinstance(order_by.start_from, int | float):
        raise Unsupported("order_by from a date")
    direction = _DIRECTIONS[order_by.direction] if order_by.direction is not None else None
    return edge.OrderBy(order_by.key, direction, order_by.start_from)


def checked_limit(limit: int | None, *, name: str = "limit") -> int:
    """A limit of at least 1, Qdrant's default where none is given."""
    if limit is None:
        return DEFAULT_LIMIT
    if limit < 1:
        raise ValidationFailed(f"[{name}: value {limit} invalid, must be 1 or larger]")
    return limit


def search_params(params: models.SearchParams | None) -> edge.SearchParams | None:
    """How to search, in the engine's type."""
    if params is None:
        return None
    if params.idf is not None:
        raise Unsupported("params.idf")
    quantization, acorn = params.quantization, params.acorn
    with engine_errors():
        return edge.SearchParams(
            hnsw_ef=params.hnsw_ef,
            exact=bool(params.exact),
            quantization=edge.QuantizationSearchParams(
                bool(quantization.ignore), quantization.rescore, quantization.oversampling
            )
            if quantization
            else None,
            indexed_only=bool(params.indexed_only),
            acorn=edge.AcornSearchParams(bool(acorn.enable), acorn.max_selectivity) if acorn else None,
        )


def payload_selector(wanted: models.WithPayloadInterface | None, *, default: bool) -> Any:
    """Which payload keys to send."""
    match wanted:
        case None:
            return default
        case models.PayloadSelectorInclude(include=keys):
            return edge.PayloadSelector.Include(keys)
        case models.PayloadSelectorExclude(exclude=keys):
            return edge.PayloadSelector.Exclude(keys)
        case _:
            return wanted


def vector_selector(wanted: models.WithVector | None) -> bool:
    """Whether to send vectors: there is only the unnamed one."""
    if isinstance(wanted, list) and any(name for name in wanted):
        raise WrongInput(f"Not existing vector name error: {next(name for name in wanted if name)}")
    return bool(wanted)


class _Examples:
    """Looks up the vectors of points and remembers which points were named."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._named: list[models.ExtendedPointId] = []

    def vector(self, example: Any) -> list[float]:
        """The vector of a point id, or a vector that was given."""
        if isinstance(example, list):
            return checked_vector(example, dim=self._collection.record.dim)
        if isinstance(example, models.SparseVector | models.Document | models.Image | models.InferenceObject):
            raise Unsupported(f"queries by {type(example).__name__}")
        with engine_errors():
            found = self._collection.shard.retrieve([example], False, True)
        if not found:
            raise NotFound(f"No point with id {example} found")
        self._named.append(example)
        return cast(list[float], found[0].vector)

    def vectors(self, examples: Iterable[Any] | None) -> list[list[float]]:
        return [self.vector(example) for example in examples or ()]

    def pairs(self, context: models.ContextPair | Sequence[models.ContextPair]) -> list[edge.ContextPair]:
        listed = [context] if isinstance(context, models.ContextPair) else context
        return [
            edge.ContextPair(cast(Any, self.vector(pair.positive)), cast(Any, self.vector(pair.negative)))
            for pair in listed
        ]

    def resolved(self, query: Any) -> Resolved:
        return Resolved(query, tuple(self._named))


def _nearest(collection: Collection, nearest: Any, mmr: models.Mmr | None, *, limit: int) -> Resolved:
    examples = _Examples(collection)
    vector = examples.vector(nearest)
    if mmr is None:
        return examples.resolved(edge.Query.Nearest(cast(Any, vector)))
    diversity = _DEFAULT_DIVERSITY if mmr.diversity is None else mmr.diversity
    if not 0.0 <= diversity <= 1.0:
        raise ValidationFailed(f"[mmr.diversity: value {diversity} invalid, must be from 0.0 to 1.0]")
    return examples.resolved(edge.Mmr(cast(Any, vector), 1.0 - diversity, mmr.candidates_limit or limit))


def _recommend(collection: Collection, recommend: models.RecommendInput) -> Resolved:
    examples = _Examples(collection)
    positive, negative = examples.vectors(recommend.positive), examples.vectors(recommend.negative)
    strategy = recommend.strategy or models.RecommendStrategy.AVERAGE_VECTOR
    if strategy == models.RecommendStrategy.AVERAGE_VECTOR:
        if not positive:
            raise WrongInput("At least one positive vector ID required with this strategy")
        return examples.resolved(edge.Query.Nearest(cast(Any, _average(positive, negative))))
    if not positive and not negative:
        raise WrongInput("At least one positive or negative vector ID required with this strategy")
    query = edge.RecommendQuery(cast(Any, positive), cast(Any, negative))
    if strategy == models.RecommendStrategy.BEST_SCORE:
        return examples.resolved(edge.Query.RecommendBestScore(query))
    return examples.resolved(edge.Query.RecommendSumScores(query))


def _average(positive: list[list[float]], negative: list[list[float]]) -> list[float]:
    """Towards the positives' mean, and as far again from the negatives' mean."""
    toward = [sum(column) / len(positive) for column in zip(*positive, strict=True)]
    if not negative:
        return toward
    away = [sum(column) / len(negative) for column in zip(*negative, strict=True)]
    return [2 * wanted - unwanted for wanted, unwanted in zip(toward, away, strict=True)]
