"""Strict mode: the limits of a collection, checked before a request reaches the engine, as on the server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from uuid import UUID

from qdrant_client.http import models

from vitrine_local.qdrant.errors import BadRequest
from vitrine_local.qdrant.filters import conditions_of

_NO_LIMITS = models.StrictModeConfig(enabled=False)
# An index of any type knows whether a field has a value.
_ANY_INDEX: tuple[str, ...] = ("keyword", "integer", "float", "bool", "uuid", "text", "datetime", "geo")


class StrictMode:
    """The limits of one collection. `schema` maps each indexed field to its index type (`keyword`, `integer`...).

    Every check raises BadRequest.
    """

    def __init__(self, config: models.StrictModeConfig | None, schema: Mapping[str, str]) -> None:
        self._config = config if config is not None and config.enabled else _NO_LIMITS
        self._schema = schema

    def check_limit(self, limit: int, *, name: str = "limit") -> None:
        self._at_most(self._config.max_query_limit, limit, name)

    def check_upsert(self, count: int, *, points_after: int) -> None:
        self._at_most(self._config.upsert_max_batchsize, count, "upsert limit")
        self._at_most(self._config.max_points_count, points_after, "points count")

    def check_batch(self, count: int) -> None:
        self._at_most(self._config.search_max_batchsize, count, "search batch size")

    def check_index_count(self, count: int) -> None:
        self._at_most(self._config.max_payload_index_count, count, "payload index count")

    def check_params(self, params: models.SearchParams | None) -> None:
        if params is None:
            return
        if params.exact and self._config.search_allow_exact is False:
            raise BadRequest("Exact search is disabled!. Help: Set exact to false or adjust the strict mode config.")
        if params.hnsw_ef is not None:
            self._at_most(self._config.search_max_hnsw_ef, params.hnsw_ef, "hnsw_ef")

    def check_read(self, condition: models.Filter | None) -> None:
        self._check_filter(condition, unindexed_allowed=self._config.unindexed_filtering_retrieve)

    def check_write(self, condition: models.Filter | None) -> None:
        self._check_filter(condition, unindexed_allowed=self._config.unindexed_filtering_update)

    def _check_filter(self, condition: models.Filter | None, *, unindexed_allowed: bool | None) -> None:
        if condition is None or self._config is _NO_LIMITS:
            return
        fields = list(_fields(condition, prefix=""))
        self._at_most(self._config.filter_max_conditions, _size(condition), "filter conditions")
        for key, field in fields:
            if field is None:
                wanted = _ANY_INDEX
            else:
                self._at_most(self._config.condition_max_size, _values(field), "condition size")
                wanted = _index_types(field)
            if unindexed_allowed is False and wanted and self._schema.get(key) not in wanted:
                raise BadRequest(
                    f'Index required but not found for "{key}" of one of the following types: [{", ".join(wanted)}]. '
                    "Help: Create an index for this key or use a different filter."
                )

    def _at_most(self, maximum: int | None, value: int, name: str) -> None:
        if maximum is not None and value > maximum:
            raise BadRequest(
                f'Limit exceeded {value} > {maximum} for "{name}". Help: Reduce the "{name}" parameter to or below '
                f"{maximum}."
            )


def _fields(condition: models.Filter, *, prefix: str) -> Iterator[tuple[str, models.FieldCondition | None]]:
    """The fields in a filter, each with its condition; None if the condition is only whether the field has a value."""
    for inner in conditions_of(condition):
        if isinstance(inner, models.FieldCondition):
            yield f"{prefix}{inner.key}", inner
        elif isinstance(inner, models.IsEmptyCondition):
            yield f"{prefix}{inner.is_empty.key}", None
        elif isinstance(inner, models.IsNullCondition):
            yield f"{prefix}{inner.is_null.key}", None
        elif isinstance(inner, models.Filter):
            yield from _fields(inner, prefix=prefix)
        elif isinstance(inner, models.NestedCondition):
            key = inner.nested.key if inner.nested.key.endswith("[]") else f"{inner.nested.key}[]"
            yield from _fields(inner.nested.filter, prefix=f"{prefix}{key}.")


def _size(condition: models.Filter) -> int:
    """Number of conditions in a filter, including nested ones."""
    total = 0
    for inner in conditions_of(condition):
        if isinstance(inner, models.Filter):
            total += _size(inner)
        elif isinstance(inner, models.NestedCondition):
            total += _size(inner.nested.filter)
        else:
            total += 1
    return total


def _values(field: models.FieldCondition) -> int:
    if isinstance(field.match, models.MatchAny):
        return len(field.match.any)
    if isinstance(field.match, models.MatchExcept):
        return len(field.match.except_)
    return 1


def _index_types(field: models.FieldCondition) -> tuple[str, ...]:
    """The index types that can serve a condition; empty if none is required."""
    if field.is_empty is not None or field.is_null is not None or field.values_count is not None:
        return _ANY_INDEX
    if field.range is not None:
        return ("float", "integer") if isinstance(field.range, models.Range) else ("datetime",)
    match field.match:
        case None:
            return ()
        case models.MatchText():
            return ("text",)
        case models.MatchValue(value=value):
            sample: object = value
        case models.MatchAny(any=values) | models.MatchExcept(except_=values):
            sample = values[0] if values else ""
        case _:
            return ("text",)
    if isinstance(sample, bool):
        return ("bool",)
    if isinstance(sample, int):
        return ("integer",)
    return ("uuid", "keyword") if _is_uuid(sample) else ("keyword",)


def _is_uuid(value: object) -> bool:
    try:
        UUID(str(value))
    except ValueError:
        return False
    return True
