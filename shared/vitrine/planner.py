"""How to run a filtered search so that it finds what an exact one would.

Qdrant walks a graph of neighbours. A filter that the graph has no links for cuts it into pieces, and recall falls (to
0.14 for the conjunction of a common and a mid-sized value, on 200,000 vectors; to 0.87 even where half of the products
match, if what matches lies together). The remedies are an exact scan of the matches, cheap while they are few, and
ACORN with a wide beam, which also walks through neighbours of neighbours that do not match.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from qdrant_client import models

from vitrine.filters import FilterSpec

# Scoring this many 128-d vectors takes about five milliseconds on one core: up to here ACORN saves little.
DEFAULT_EXACT_MAX_MATCHES: Final = 50_000
DEFAULT_EF: Final = 128
DEFAULT_ACORN_EF: Final = 256
# Without a filter the graph finds nearly all, so that it pays from the size at which Qdrant builds one.
_UNFILTERED_EXACT_MAX_POINTS: Final = 20_000


class Plan(StrEnum):
    """The three ways to run a search."""

    EXACT = "exact"
    ACORN = "acorn"
    GRAPH = "graph"


@dataclass(frozen=True, slots=True)
class Planner:
    """Chooses a plan from the expected number of matches. Immutable, shared by all requests."""

    exact_max_matches: int = DEFAULT_EXACT_MAX_MATCHES
    hnsw_ef: int = DEFAULT_EF
    acorn_ef: int = DEFAULT_ACORN_EF

    def choose(self, spec: FilterSpec, *, expected_matches: int, points: int) -> Plan:
        """The plan for `spec` in a collection of `points`, of which about `expected_matches` match."""
        if not spec:
            return Plan.EXACT if points <= _UNFILTERED_EXACT_MAX_POINTS else Plan.GRAPH
        return Plan.EXACT if expected_matches <= self.exact_max_matches else Plan.ACORN

    def params(self, plan: Plan, *, top_k: int) -> models.SearchParams:
        """Qdrant's search parameters for a plan. The beam is never narrower than twice the answer."""
        if plan is Plan.EXACT:
            return models.SearchParams(exact=True)
        if plan is Plan.ACORN:
            # A selectivity of 1 leaves the choice to us: it was made above.
            acorn = models.AcornSearchParams(enable=True, max_selectivity=1.0)
            return models.SearchParams(hnsw_ef=max(self.acorn_ef, 2 * top_k), acorn=acorn)
        return models.SearchParams(hnsw_ef=max(self.hnsw_ef, 2 * top_k))
