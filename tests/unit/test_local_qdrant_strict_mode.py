"""Strict mode: accepted and refused filters, and the error messages."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from qdrant_client import models

from vitrine_local.qdrant.errors import BadRequest
from vitrine_local.qdrant.strict_mode import StrictMode

SCHEMA = {"colour": "keyword", "year": "integer", "price": "float", "sale": "bool", "parts[].size": "integer"}
UNINDEXED_REFUSED = models.StrictModeConfig(
    enabled=True, unindexed_filtering_retrieve=False, unindexed_filtering_update=False
)


def mode(**limits: object) -> StrictMode:
    return StrictMode(models.StrictModeConfig(enabled=True, **limits), SCHEMA)


def only(key: str, **condition: object) -> models.Filter:
    return models.Filter(must=[models.FieldCondition(key=key, **condition)])


def nested(key: str, inner: models.Filter) -> models.Filter:
    return models.Filter(must=[models.NestedCondition(nested=models.Nested(key=key, filter=inner))])


@pytest.mark.parametrize(
    "condition",
    [
        only("colour", match=models.MatchValue(value="red")),
        only("colour", match=models.MatchAny(any=["red", "blue"])),
        only("year", match=models.MatchValue(value=2020)),
        only("year", range=models.Range(gte=2020)),
        only("price", range=models.Range(gte=1.5)),
        only("sale", match=models.MatchValue(value=True)),
        nested("parts", only("size", match=models.MatchValue(value=3))),
        models.Filter(must_not=[models.IsEmptyCondition(is_empty=models.PayloadField(key="colour"))]),
        models.Filter(must=[models.IsNullCondition(is_null=models.PayloadField(key="year"))]),
        only("price", is_empty=False),
        models.Filter(must=[models.HasIdCondition(has_id=[1])]),
    ],
)
def test_a_filter_on_an_index_of_the_right_type_passes(condition: models.Filter) -> None:
    strict = StrictMode(UNINDEXED_REFUSED, SCHEMA)
    strict.check_read(condition)
    strict.check_write(condition)


@pytest.mark.parametrize(
    ("condition", "key", "types"),
    [
        (only("secret", match=models.MatchValue(value="x")), "secret", "keyword"),
        (only("colour", match=models.MatchValue(value=3)), "colour", "integer"),
        (only("year", match=models.MatchValue(value="2020")), "year", "keyword"),
        (only("colour", range=models.Range(gt=1)), "colour", "float, integer"),
        (only("colour", match=models.MatchText(text="red")), "colour", "text"),
        (nested("parts", only("weight", match=models.MatchValue(value=3))), "parts[].weight", "integer"),
        (
            models.Filter(should=[models.Filter(must_not=[only("deep", match=models.MatchAny(any=[1]))])]),
            "deep",
            "integer",
        ),
        (
            models.Filter(
                min_should=models.MinShould(
                    conditions=[models.FieldCondition(key="few", match=models.MatchValue(value=True))], min_count=1
                )
            ),
            "few",
            "bool",
        ),
    ],
)
def test_a_filter_without_the_index_is_refused_by_its_key(condition: models.Filter, key: str, types: str) -> None:
    strict = StrictMode(UNINDEXED_REFUSED, SCHEMA)
    for check in (strict.check_read, strict.check_write):
        with pytest.raises(BadRequest) as refusal:
            check(condition)
        assert f'not found for "{key}" of one of the following types: [{types}]' in refusal.value.message


def test_a_disabled_strict_mode_refuses_nothing() -> None:
    off = StrictMode(models.StrictModeConfig(enabled=False, max_query_limit=1, unindexed_filtering_retrieve=False), {})
    off.check_limit(10_000)
    off.check_read(only("secret", match=models.MatchValue(value="x")))
    StrictMode(None, {}).check_limit(10_000)


def test_each_limit_is_enforced_and_the_limit_itself_is_allowed() -> None:
    mode(max_query_limit=10).check_limit(10)
    mode(search_max_hnsw_ef=64).check_params(models.SearchParams(hnsw_ef=64))
    mode(condition_max_size=2).check_read(only("colour", match=models.MatchAny(any=["a", "b"])))
    mode(upsert_max_batchsize=3, max_points_count=9).check_upsert(3, points_after=9)
    refused: list[Callable[[], None]] = [
        lambda: mode(max_query_limit=10).check_limit(11),
        lambda: mode(search_max_hnsw_ef=64).check_params(models.SearchParams(hnsw_ef=65)),
        lambda: mode(search_allow_exact=False).check_params(models.SearchParams(exact=True)),
        lambda: mode(condition_max_size=2).check_read(only("colour", match=models.MatchAny(any=["a", "b", "c"]))),
        lambda: mode(upsert_max_batchsize=3).check_upsert(4, points_after=4),
        lambda: mode(max_points_count=9).check_upsert(1, points_after=10),
        lambda: mode(search_max_batchsize=2).check_batch(3),
        lambda: mode(max_payload_index_count=2).check_index_count(3),
        lambda: mode(filter_max_conditions=1).check_read(
            models.Filter(must=[only("a", is_null=True), only("b", is_null=True)])
        ),
    ]
    for check in refused:
        with pytest.raises(BadRequest):
            check()
