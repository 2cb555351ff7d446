"""What an indexing measures on its collection before it serves."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from harness.processes import LocalQdrant
from indexer.measure import Case, Sample, best_way, choose_cases, fit_line, measure_plans
from indexer.vectors import Point, Vectors
from vitrine.products import COMPOSITE_FIELD, AttributeKind, composite_value, point_id
from vitrine.qdrant.client import open_qdrant
from vitrine.qdrant.filters import FilterSpec
from vitrine.qdrant.planner import shape_of
from vitrine.qdrant.plans import GraphSearch, Plan, Shape
from vitrine.qdrant.profiles import Layout, Profile
from vitrine.qdrant.schema import CollectionInfo, CollectionMetadata

POINTS = 21_000
KINDS = dict.fromkeys(("gender", "articleType", "season", "usage"), AttributeKind.KEYWORD)
CASE = Case(FilterSpec(), 1)


def payload(number: int) -> dict[str, str]:
    values = {
        "gender": ("Men", "Women")[number % 2],
        "articleType": ("Shirts", "Shoes")[number % 3 == 0],
        "season": ("Summer", "Winter")[number // 2 % 2],
        "usage": ("Casual", "NA", "NA")[number % 3],
    }
    return {
        "product_id": str(number),
        COMPOSITE_FIELD: composite_value(values["gender"], values["articleType"]),
        **values,
    }


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vectors]:
    server = LocalQdrant(tmp_path_factory.mktemp("qdrant"))
    store = Vectors(open_qdrant(server.url))
    yield store
    store.close()
    server.kill()


@pytest.fixture(scope="module")
def info(vectors: Vectors) -> CollectionInfo:
    """A collection that is just large enough to be measured."""
    metadata = CollectionMetadata("shop", "net", "net-0123456789", "folder", "/shop", "building")
    name = "shop--net-0123456789"
    vectors.create(metadata, collection=name, dim=4, kinds=KINDS, layout=Layout(Profile.MEMORY))
    rows = np.random.default_rng(1).normal(size=(POINTS, 1, 4)).astype(np.float32)
    points = [Point(point_id("shop", str(number)), rows[number], payload(number)) for number in range(POINTS)]
    for start in range(0, POINTS, 3_000):
        vectors.upsert(name, points[start : start + 3_000], several_pictures=False)
    described = vectors.describe(name)
    assert described is not None
    return described


def test_each_shape_of_filter_is_measured_with_frequent_values(vectors: Vectors, info: CollectionInfo) -> None:
    cases = list(choose_cases(vectors, info, POINTS))
    shapes = [shape_of(case.spec) for case in cases]
    assert shapes[:3] == [Shape.EVERYTHING, Shape.VALUE, Shape.OTHER]
    assert shapes.count(Shape.OTHER) > 0
    for case in cases:
        assert vectors.count(info.name, case.spec.compile()) == case.matches
        assert case.matches >= 5_000
    assert "NA" not in {value for case in cases for one in case.spec.fields.values() for value in one.any_of}
    assert {"gender", "articleType"} in [case.spec.fields.keys() for case in cases], "the pair that is indexed"


def test_the_measurements_are_kept_with_the_collection(vectors: Vectors, info: CollectionInfo) -> None:
    queries = [point_id("shop", str(number)) for number in range(4)]
    measured = measure_plans(vectors, info, queries)
    assert measured is not None
    assert measured.graph.keys() == set(Shape)
    assert all(way.recall == 1.0 for way in measured.graph.values()), "so few and short vectors have no graph"
    assert measured.scan_ms(POINTS) > 0
    ready = CollectionMetadata(
        "shop", "net", "net-0123456789", "folder", "/shop", "building", plans=measured.as_dict(), profile="memory"
    )
    vectors.mark_ready(ready, collection=info.name, expected=POINTS)
    stored = vectors.describe(info.name)
    assert stored is not None
    assert stored.measured is not None
    assert stored.measured.as_dict() == measured.as_dict()
    assert stored.layout == info.layout


def test_a_small_collection_is_not_measured(vectors: Vectors) -> None:
    metadata = CollectionMetadata("small", "net", "net-0123456789", "folder", "/shop", "building")
    vectors.create(metadata, collection="small--net-0123456789", dim=4, kinds=KINDS)
    small = vectors.describe("small--net-0123456789")
    assert small is not None
    assert measure_plans(vectors, small, []) is None


def test_the_cheapest_way_with_enough_recall_in_every_case_is_best() -> None:
    samples = [
        Sample(Plan.GRAPH, 128, CASE, recall=0.995, ms=2.0),
        Sample(Plan.GRAPH, 128, CASE, recall=0.90, ms=2.0),
        Sample(Plan.GRAPH, 512, CASE, recall=0.992, ms=5.0),
        Sample(Plan.GRAPH, 512, CASE, recall=0.999, ms=3.0),
        Sample(Plan.ACORN, 128, CASE, recall=1.0, ms=9.0),
        Sample(Plan.ACORN, 128, CASE, recall=1.0, ms=9.0),
    ]
    assert best_way(samples) == GraphSearch(Plan.GRAPH, 512, recall=0.992, ms=4.0)
    assert best_way(samples[:2]) == GraphSearch(Plan.GRAPH, 128, recall=0.90, ms=2.0), "none finds enough"


def test_the_cost_of_a_scan_is_a_line_that_does_not_fall() -> None:
    assert fit_line([100.0, 400.0, 1_000.0], [12.0, 42.0, 102.0]) == pytest.approx((2.0, 0.1))
    assert fit_line([1_000.0], [100.0]) == (0.0, 0.1)
    assert fit_line([10.0, 20.0], [4.0, 2.0]) == (3.0, 0.0)
    assert fit_line([10.0, 20.0], [1.0, 3.0]) == pytest.approx((0.0, 0.2))
