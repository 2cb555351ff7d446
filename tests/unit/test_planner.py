"""The plan of a filtered search."""

from __future__ import annotations

import pytest

from vitrine.products import AttributeKind
from vitrine.qdrant.filters import FilterSpec, parse_filters
from vitrine.qdrant.planner import DEFAULT_EF, Planner, shape_of
from vitrine.qdrant.plans import GraphSearch, MeasuredPlans, Plan, Shape
from vitrine.qdrant.profiles import OVERSAMPLING
from vitrine.qdrant.schema import CollectionInfo, CollectionMetadata

SCHEMA = {"gender": AttributeKind.KEYWORD}
WOMEN = parse_filters([("gender", "Women")], SCHEMA)


@pytest.mark.parametrize(
    ("spec", "expected_matches", "points", "plan"),
    [
        (FilterSpec(), 1_000_000, 1_000_000, Plan.GRAPH),
        (FilterSpec(), 5_000, 5_000, Plan.EXACT),
        (WOMEN, 18_632, 44_441, Plan.EXACT),
        (WOMEN, 150_000, 1_000_000, Plan.ACORN),
        (WOMEN, 990_000, 1_000_000, Plan.ACORN),
        (WOMEN, 0, 1_000_000, Plan.EXACT),
    ],
)
def test_few_matches_are_scanned_and_many_use_acorn(
    spec: FilterSpec, expected_matches: int, points: int, plan: Plan
) -> None:
    assert Planner().choose(spec, expected_matches=expected_matches, points=points) is plan


def test_the_beam_is_at_least_twice_the_number_of_results() -> None:
    planner = Planner(hnsw_ef=64)
    assert planner.params(Plan.GRAPH, top_k=200).hnsw_ef == 400
    assert planner.params(Plan.GRAPH, top_k=10).hnsw_ef == 64
    assert planner.params(Plan.EXACT, top_k=10).exact is True
    assert planner.params(Plan.ACORN, top_k=200).hnsw_ef == 400
    acorn = planner.params(Plan.ACORN, top_k=10).acorn
    assert acorn is not None
    assert acorn.enable


KINDS = {
    **SCHEMA,
    "articleType": AttributeKind.KEYWORD,
    "season": AttributeKind.KEYWORD,
    "year": AttributeKind.INTEGER,
    "category": AttributeKind.PATH,
}
# A scan of a million takes 100.5 ms.
MEASURED = MeasuredPlans(
    exact_ms=0.5,
    exact_ms_per_1000=0.1,
    graph={
        Shape.EVERYTHING: GraphSearch(Plan.GRAPH, 128, recall=0.995, ms=3.0),
        Shape.VALUE: GraphSearch(Plan.GRAPH, 512, recall=0.997, ms=4.5),
        Shape.OTHER: GraphSearch(Plan.ACORN, 512, recall=0.97, ms=20.0),
    },
)


def described(measured: MeasuredPlans | None, *, quantized: bool = False) -> CollectionInfo:
    metadata = CollectionMetadata("shop", "net", "net-0123456789", "folder", "/shop", "ready")
    return CollectionInfo("c", 128, 1_000_000, {}, metadata, quantized=quantized, measured=measured)


@pytest.mark.parametrize(
    ("filters", "shape"),
    [
        ([], Shape.EVERYTHING),
        ([("gender", "Women")], Shape.VALUE),
        ([("category", "Apparel > Tops")], Shape.VALUE),
        ([("gender", "Women"), ("articleType", "Tshirts")], Shape.VALUE),
        ([("gender", "Women"), ("season", "Summer")], Shape.OTHER),
        ([("gender", "Women"), ("articleType", "Tshirts"), ("season", "Summer")], Shape.OTHER),
        ([("gender", "Women"), ("gender", "Men")], Shape.OTHER),
        ([("!gender", "Women")], Shape.OTHER),
        ([("gender", "")], Shape.OTHER),
        ([("year", "2012")], Shape.OTHER),
        ([("yearMin", "2012")], Shape.OTHER),
    ],
)
def test_one_indexed_value_is_told_from_filters_without_links(filters: list[tuple[str, str]], shape: Shape) -> None:
    assert shape_of(parse_filters(filters, KINDS)) is shape


@pytest.mark.parametrize(
    ("filters", "matches", "plan"),
    [
        ([], 1_000_000, Plan.GRAPH),
        ([("gender", "Women")], 420_000, Plan.GRAPH),
        ([("gender", "Women")], 30_000, Plan.EXACT),  # 3.5 ms
        ([("season", "Summer"), ("gender", "Men")], 300_000, Plan.ACORN),
        # The graph finds less than enough, so a scan may take 25 ms where ACORN takes 20.
        ([("season", "Summer"), ("gender", "Men")], 240_000, Plan.EXACT),
        ([("season", "Summer")], 500, Plan.EXACT),
    ],
)
def test_the_cheapest_way_that_finds_enough_on_the_collection_is_taken(
    filters: list[tuple[str, str]], matches: int, plan: Plan
) -> None:
    spec = parse_filters(filters, KINDS)
    chosen = Planner().choose(spec, expected_matches=matches, points=1_000_000, measured=MEASURED)
    assert chosen is plan


def test_the_measured_beam_is_searched_with() -> None:
    info = described(MEASURED)
    summer = parse_filters([("season", "Summer"), ("gender", "Men")], KINDS)
    assert Planner().params(Plan.GRAPH, top_k=10, info=info).hnsw_ef == 128
    assert Planner().params(Plan.GRAPH, top_k=10, info=info, spec=WOMEN).hnsw_ef == 512
    assert Planner().params(Plan.ACORN, top_k=10, info=info, spec=summer).hnsw_ef == 512
    assert Planner().params(Plan.GRAPH, top_k=400, info=info, spec=WOMEN).hnsw_ef == 800
    assert Planner().params(Plan.GRAPH, top_k=10, info=described(None), spec=WOMEN).hnsw_ef == DEFAULT_EF


def test_quantized_vectors_are_rescored_unless_the_search_is_exact() -> None:
    info = described(None, quantized=True)
    for plan in (Plan.GRAPH, Plan.ACORN):
        quantization = Planner().params(plan, top_k=10, info=info).quantization
        assert quantization is not None
        assert (quantization.rescore, quantization.oversampling) == (True, OVERSAMPLING)
    assert Planner().params(Plan.EXACT, top_k=10, info=info).quantization is None
    assert Planner().params(Plan.GRAPH, top_k=10, info=described(None)).quantization is None


def test_a_shape_that_was_not_measured_is_searched_by_the_defaults() -> None:
    only_all = MeasuredPlans(0.5, 0.1, {Shape.EVERYTHING: MEASURED.graph[Shape.EVERYTHING]})
    chosen = Planner().choose(WOMEN, expected_matches=420_000, points=1_000_000, measured=only_all)
    assert chosen is Plan.ACORN


def test_measurements_survive_the_metadata_and_others_are_ignored() -> None:
    assert MeasuredPlans.parse(MEASURED.as_dict()) == MEASURED
    way = {"plan": "teleport", "ef": 1, "recall": 1, "ms": 1}
    unknown = {"exact_ms": 1, "exact_ms_per_1000": 1, "graph": {"value": way}}
    others: list[object] = [None, {}, {"graph": []}, unknown]
    assert [MeasuredPlans.parse(other) for other in others] == [None] * len(others)
