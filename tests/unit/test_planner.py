"""The plan of a filtered search."""

from __future__ import annotations

import pytest

from vitrine.products import AttributeKind
from vitrine.qdrant.filters import FilterSpec, Plan, Planner, parse_filters

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
