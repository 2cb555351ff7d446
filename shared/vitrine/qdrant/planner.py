"""Chooses how a filtered search runs.

Qdrant searches a graph of neighbours. A filter without links of its own in the graph splits it, and recall falls: to
0.14 for the conjunction of a common and a mid-sized value, on 200,000 vectors; to 0.87 even if half of the products
match, when they are close together. The remedies are an exact scan, which is cheap for few matches, a wider beam, and
ACORN, which also visits neighbours of neighbours that do not match. What these cost and find differs between
collections and machines, so it is measured (`plans`). The fixed numbers are for collections without measurements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from qdrant_client import models

from vitrine.products import AttributeKind
from vitrine.qdrant.filters import FilterSpec
from vitrine.qdrant.plans import MeasuredPlans, Plan, Shape
from vitrine.qdrant.profiles import OVERSAMPLING
from vitrine.qdrant.schema import CollectionInfo

# Scoring this many 128-d vectors takes about five milliseconds on one core; below it ACORN saves little.
DEFAULT_EXACT_MAX_MATCHES: Final = 50_000
DEFAULT_EF: Final = 128
DEFAULT_ACORN_EF: Final = 256
# The graph of products with several pictures is built by another measure than it is searched by: a wider beam finds
# as much.
SEVERAL_PICTURES_EF_FACTOR: Final = 4
# Without a filter the graph finds nearly everything, so it is used from the size at which Qdrant builds one.
UNFILTERED_EXACT_MAX_POINTS: Final = 20_000
_LINKED_KINDS: Final = (AttributeKind.KEYWORD, AttributeKind.KEYWORDS, AttributeKind.PATH)
_NO_FILTER: Final = FilterSpec()


@dataclass(frozen=True, slots=True)
class Planner:
    """Chooses a plan by the expected number of matches."""

    exact_max_matches: int = DEFAULT_EXACT_MAX_MATCHES
    hnsw_ef: int = DEFAULT_EF
    acorn_ef: int = DEFAULT_ACORN_EF

    def choose(
        self, spec: FilterSpec, *, expected_matches: int, points: int, measured: MeasuredPlans | None = None
    ) -> Plan:
        """The plan for `spec` in a collection of `points` points, about `expected_matches` of which match."""
        if measured is not None:
            plan = measured.choose(shape_of(spec), expected_matches)
            if plan is not None:
                return plan
        if not spec:
            return Plan.EXACT if points <= UNFILTERED_EXACT_MAX_POINTS else Plan.GRAPH
        return Plan.EXACT if expected_matches <= self.exact_max_matches else Plan.ACORN

    def params(
        self, plan: Plan, *, top_k: int, info: CollectionInfo | None = None, spec: FilterSpec = _NO_FILTER
    ) -> models.SearchParams:
        """Qdrant's search parameters for a plan and filter in the collection `info`, by default one of full precision
        with one picture a product. The beam is at least twice as wide as the answer.
        """
        ef = self.acorn_ef if plan is Plan.ACORN else self.hnsw_ef
        if plan is Plan.GRAPH and info is not None and info.several_pictures:
            ef *= SEVERAL_PICTURES_EF_FACTOR
        measured = None if info is None or info.measured is None else info.measured.graph.get(shape_of(spec))
        if measured is not None and measured.plan is plan:
            ef = measured.ef
        return search_params(plan, max(ef, 2 * top_k), quantized=info is not None and info.quantized)


def search_params(plan: Plan, ef: int, *, quantized: bool) -> models.SearchParams:
    """Qdrant's search parameters for a plan with a beam of `ef`."""
    if plan is Plan.EXACT:
        return models.SearchParams(exact=True)  # by the originals
    rescored = models.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING) if quantized else None
    # 1 makes Qdrant always use ACORN: the planner has decided already.
    acorn = models.AcornSearchParams(enable=True, max_selectivity=1.0) if plan is Plan.ACORN else None
    return models.SearchParams(hnsw_ef=ef, acorn=acorn, quantization=rescored)


def shape_of(spec: FilterSpec) -> Shape:
    """What a filter is for the search graph."""
    if not spec:
        return Shape.EVERYTHING
    if spec.uses_composite and len(spec.fields) == 2:
        return Shape.VALUE
    if len(spec.fields) > 1:
        return Shape.OTHER
    [one] = spec.fields.values()
    single = len(one.any_of) == 1 and not (one.none_of or one.has_range or one.absent)
    return Shape.VALUE if single and one.kind in _LINKED_KINDS else Shape.OTHER
