"""Measures how a collection is searched best, before it serves: a few filters, each searched exactly and in several
ways through the graph.

The filters are made of the collection's own frequent values: single values, which may have links of their own in the
graph, and pairs of values, which have none. What the exact search finds is the truth. The result is kept with the
collection, and the planner of the search API follows it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

from indexer.vectors import Vectors
from vitrine.kinds import UNKNOWN_WORDS
from vitrine.products import COMPOSITE_FIELD, AttributeKind
from vitrine.qdrant.filters import FilterSpec, parse_filters
from vitrine.qdrant.planner import UNFILTERED_EXACT_MAX_POINTS, search_params, shape_of
from vitrine.qdrant.plans import TARGET_RECALL, GraphSearch, MeasuredPlans, Plan, Shape
from vitrine.qdrant.schema import CollectionInfo

QUERIES: Final = 24
TOP: Final = 10
WAYS: Final = ((Plan.GRAPH, 128), (Plan.GRAPH, 512), (Plan.GRAPH, 1_024), (Plan.ACORN, 128), (Plan.ACORN, 512))
# A filter with fewer matches is searched exactly in any case.
_LEAST_MATCHES: Final = 5_000
_LEAST_SHARE: Final = 0.02
_MOST_FIELDS: Final = 12
_VALUES_PER_FIELD: Final = 4
_PAIRS_COUNTED: Final = 12
_CASES_PER_SHAPE: Final = 3
_MAX_DURATION_S: Final = 120.0
_TIE: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Case:
    """A filter to measure with, and how many points match it."""

    spec: FilterSpec
    matches: int


@dataclass(frozen=True, slots=True)
class Sample:
    """What one way cost and found with one filter. `ms` is the median of its searches."""

    plan: Plan
    ef: int
    case: Case
    recall: float
    ms: float


def measure_plans(vectors: Vectors, info: CollectionInfo, point_ids: Sequence[str]) -> MeasuredPlans | None:
    """Measure with the vectors of these points as queries. None for a collection so small that each search is exact.

    It takes a few seconds, two minutes at most: what is not measured by then is left to the planner's defaults.
    """
    points = vectors.count(info.name)
    if points <= UNFILTERED_EXACT_MAX_POINTS:
        return None
    stored = vectors.vectors(info.name, point_ids[:QUERIES])
    queries = [rows[0].tolist() for rows in stored.values()]
    end_s = time.monotonic() + _MAX_DURATION_S
    scans: list[Sample] = []
    samples: dict[Shape, list[Sample]] = {}
    for case in choose_cases(vectors, info, points):
        if time.monotonic() > end_s:
            break
        scan, *found = _measure(vectors, info, case, queries)
        scans.append(scan)
        samples.setdefault(shape_of(case.spec), []).extend(found)
    base_ms, slope_ms = fit_line([scan.case.matches / 1_000 for scan in scans], [scan.ms for scan in scans])
    return MeasuredPlans(base_ms, slope_ms, {shape: best_way(found) for shape, found in samples.items()})


def choose_cases(vectors: Vectors, info: CollectionInfo, points: int) -> Iterator[Case]:
    """No filter, then the filters of each shape in turn, so that a measurement that runs out of time knows each."""
    yield Case(FilterSpec(), points)
    least = max(_LEAST_MATCHES, int(points * _LEAST_SHARE))
    values = [(name, value, count) for name, value, count in _frequent_values(vectors, info) if count >= least]
    singles = [Case(_spec(info, (name, value)), count) for name, value, count in values]
    singles = _spread([case for case in singles if case.matches < points])
    composite = _composite(vectors, info, least)
    if composite is not None:
        singles.insert(0, composite)
    pairs = _spread(list(_pairs(vectors, info, values, least)))
    for position in range(max(len(singles), len(pairs))):
        yield from singles[position : position + 1]
        yield from pairs[position : position + 1]


def best_way(samples: Sequence[Sample]) -> GraphSearch:
    """The cheapest way whose least recall is enough; without one, the way that found most."""
    ways: list[GraphSearch] = []
    for plan, ef in dict.fromkeys((sample.plan, sample.ef) for sample in samples):
        own = [sample for sample in samples if (sample.plan, sample.ef) == (plan, ef)]
        recall, ms = min(sample.recall for sample in own), statistics.fmean(sample.ms for sample in own)
        ways.append(GraphSearch(plan, ef, recall, ms))
    enough = [way for way in ways if way.recall >= TARGET_RECALL]
    if enough:
        return min(enough, key=lambda way: way.ms)
    return max(ways, key=lambda way: (way.recall, -way.ms))


def fit_line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """(value at 0, slope) of the least-squares line, neither of them negative."""
    if len(set(x)) < 2:
        return 0.0, float(np.mean(y) / x[0])
    slope, start = np.polyfit(x, y, 1)
    if slope < 0:
        return float(np.mean(y)), 0.0
    return max(0.0, float(start)), float(slope)


def _measure(vectors: Vectors, info: CollectionInfo, case: Case, queries: Sequence[list[float]]) -> Iterator[Sample]:
    """The exact search first, then each way through the graph. Without a filter ACORN is no other way."""
    condition = case.spec.compile()
    truth: list[list[tuple[str, float]]] = []
    for plan, ef in ((Plan.EXACT, 0), *WAYS):
        if plan is Plan.ACORN and not case.spec:
            continue
        params = search_params(plan, ef, quantized=info.quantized)
        hits = wanted = 0
        took_ms: list[float] = []
        for number, query in enumerate(queries):
            started_s = time.perf_counter()
            found = vectors.search(info.name, query, limit=TOP, params=params, condition=condition)
            took_ms.append((time.perf_counter() - started_s) * 1e3)
            if plan is Plan.EXACT:
                truth.append(found)
            wanted += len(truth[number])
            hits += _hits(found, truth[number])
        yield Sample(plan, ef, case, hits / wanted if wanted else 1.0, statistics.median(took_ms))


def _hits(found: Sequence[tuple[str, float]], exact: Sequence[tuple[str, float]]) -> int:
    """How many are among the exact answer's, or as near as its last."""
    if not exact:
        return 0
    ids, last = {point_id for point_id, _ in exact}, exact[-1][1]
    return sum(point_id in ids or score >= last - _TIE for point_id, score in found)


def _frequent_values(vectors: Vectors, info: CollectionInfo) -> Iterator[tuple[str, str, int]]:
    names = sorted(name for name, kind in info.kinds.items() if kind is AttributeKind.KEYWORD)
    for name in names[:_MOST_FIELDS]:
        for value, count in vectors.frequent_values(info.name, name, limit=_VALUES_PER_FIELD):
            if value not in UNKNOWN_WORDS:
                yield name, value, count


def _composite(vectors: Vectors, info: CollectionInfo, least: int) -> Case | None:
    """The most frequent gender with an article type, which has an index of its own."""
    if not {"gender", "articleType"} <= info.kinds.keys():
        return None
    for value, count in vectors.frequent_values(info.name, COMPOSITE_FIELD, limit=1):
        gender, _, article_type = value.partition("|")
        spec = _spec(info, ("gender", gender), ("articleType", article_type))
        if count >= least and shape_of(spec) is Shape.VALUE:
            return Case(spec, count)
    return None


def _pairs(
    vectors: Vectors, info: CollectionInfo, values: Sequence[tuple[str, str, int]], least: int
) -> Iterator[Case]:
    """Pairs of frequent values of two fields, if neither value implies the other."""
    both = [(one, two) for one, two in combinations(values, 2) if one[0] != two[0]]
    both.sort(key=lambda pair: -pair[0][2] * pair[1][2])
    for one, two in both[:_PAIRS_COUNTED]:
        spec = _spec(info, one[:2], two[:2])
        matches = vectors.count(info.name, spec.compile())
        if shape_of(spec) is Shape.OTHER and least <= matches < 0.9 * min(one[2], two[2]):
            yield Case(spec, matches)


def _spec(info: CollectionInfo, *pairs: tuple[str, str]) -> FilterSpec:
    return parse_filters(pairs, info.filters)


def _spread(cases: Sequence[Case]) -> list[Case]:
    """A few cases, from the one with most matches to the one with least."""
    ordered = sorted(cases, key=lambda case: -case.matches)
    if len(ordered) <= _CASES_PER_SHAPE:
        return ordered
    return [ordered[position * (len(ordered) - 1) // (_CASES_PER_SHAPE - 1)] for position in range(_CASES_PER_SHAPE)]
