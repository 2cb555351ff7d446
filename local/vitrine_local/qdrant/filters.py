"""Translates the client's filters into the engine's. Conditions that the engine lacks are refused by name."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import Any, cast

import numpy as np
import qdrant_edge as edge
from qdrant_client.http import models

from vitrine_local.qdrant.engine import engine_errors
from vitrine_local.qdrant.errors import Unsupported


def engine_filter(condition: models.Filter | None) -> edge.Filter | None:
    """The engine's filter. Raises Unsupported, and FormatInvalid for a path or value that the engine rejects."""
    if condition is None:
        return None
    with engine_errors():
        return _filter(condition)


def excluding(condition: edge.Filter | None, ids: Sequence[models.ExtendedPointId]) -> edge.Filter | None:
    """The filter that also excludes these points."""
    if not ids:
        return condition
    with engine_errors():
        return edge.Filter(
            must=[condition] if condition is not None else None,
            must_not=[edge.HasIdCondition(cast(Any, set(ids)))],
        )


def conditions_of(condition: models.Filter) -> list[models.Condition]:
    """The conditions of all clauses of a filter, without nested ones."""
    minimum = condition.min_should.conditions if condition.min_should else []
    return [*listed(condition.must), *listed(condition.should), *listed(condition.must_not), *minimum]


def listed(clause: Any) -> list[models.Condition]:
    """A clause as a list: Qdrant also accepts a single condition."""
    if clause is None:
        return []
    return clause if isinstance(clause, list) else [clause]


def _filter(condition: models.Filter) -> edge.Filter:
    minimum = condition.min_should
    return edge.Filter(
        must=_clause(condition.must),
        should=_clause(condition.should),
        must_not=_clause(condition.must_not),
        min_should=edge.MinShould(_conditions(minimum.conditions), minimum.min_count) if minimum else None,
    )


def _clause(clause: Any) -> list[Any] | None:
    return None if clause is None else _conditions(listed(clause))


def _conditions(conditions: Sequence[models.Condition]) -> list[Any]:
    return [_condition(condition) for condition in conditions]


def _condition(condition: models.Condition) -> Any:
    match condition:
        case models.FieldCondition():
            return _field(condition)
        case models.HasIdCondition():
            return edge.HasIdCondition(cast(Any, set(condition.has_id)))
        case models.IsEmptyCondition():
            return edge.IsEmptyCondition(condition.is_empty.key)
        case models.IsNullCondition():
            return edge.IsNullCondition(condition.is_null.key)
        case models.NestedCondition():
            return edge.NestedCondition(condition.nested.key, _filter(condition.nested.filter))
        case models.Filter():
            return _filter(condition)
        case _:
            raise Unsupported(f"the filter condition {type(condition).__name__}")


def _field(condition: models.FieldCondition) -> edge.FieldCondition:
    for name in ("geo_bounding_box", "geo_radius", "geo_polygon"):
        if getattr(condition, name) is not None:
            raise Unsupported(f"the filter condition {name}")
    count = condition.values_count
    return edge.FieldCondition(
        condition.key,
        match=_match(condition.match),
        range=_range(condition.range),
        values_count=edge.ValuesCount(lt=count.lt, gt=count.gt, lte=count.lte, gte=count.gte) if count else None,
        is_empty=condition.is_empty,
        is_null=condition.is_null,
    )


def _match(match: models.Match | None) -> Any:
    if match is None:
        return None
    if isinstance(match, models.MatchValue):
        # The engine treats Python's bool as an integer, but not numpy's.
        value = np.bool_(match.value) if isinstance(match.value, bool) else match.value
        return edge.MatchValue(cast(Any, value))
    if isinstance(match, models.MatchAny):
        return edge.MatchAny(cast(Any, match.any))
    if isinstance(match, models.MatchExcept):
        return edge.MatchExcept(cast(Any, match.except_))
    if isinstance(match, models.MatchText):
        return edge.MatchText(match.text)
    raise Unsupported(f"the filter condition {type(match).__name__}")


def _range(wanted: models.RangeInterface | None) -> edge.RangeFloat | edge.RangeDateTime | None:
    if wanted is None:
        return None
    if isinstance(wanted, models.Range):
        return edge.RangeFloat(gte=wanted.gte, gt=wanted.gt, lte=wanted.lte, lt=wanted.lt)
    return edge.RangeDateTime(
        gte=instant(wanted.gte), gt=instant(wanted.gt), lte=instant(wanted.lte), lt=instant(wanted.lt)
    )


def instant(moment: datetime | date | None) -> str | None:
    """A moment as the engine reads it. Without a zone it is UTC, and a date is its first moment, as on the server."""
    if moment is None:
        return None
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()
