"""The ways to search a collection, and what each was measured to cost and to find there.

The indexer measures them on a new collection before it serves (`indexer.measure`), and they are kept in the
collection's metadata. Milliseconds are of one call; they are only compared with each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

# A way that found less of what exact search finds is taken only if no way finds as much.
TARGET_RECALL: Final = 0.99
# Up to so many matches a scan is the fastest and safest way on any machine.
ALWAYS_EXACT_MATCHES: Final = 1_000
# If no way through the graph finds enough, a scan may take this long.
_PATIENCE_MS: Final = 25.0
_MATCHES: Final = 1_000


class Plan(StrEnum):
    """How a search runs in Qdrant."""

    EXACT = "exact"
    ACORN = "acorn"
    GRAPH = "graph"


class Shape(StrEnum):
    """What a filter is for the search graph: `value` is one indexed value, which may have links of its own."""

    EVERYTHING = "everything"
    VALUE = "value"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class GraphSearch:
    """A way through the graph. `recall` is the least recall@10 over the measured filters, `ms` the mean of their
    medians.
    """

    plan: Plan
    ef: int
    recall: float
    ms: float


@dataclass(frozen=True, slots=True)
class MeasuredPlans:
    """The cost of a scan, as a function of the number of matches, and the best way through the graph by shape."""

    exact_ms: float
    exact_ms_per_1000: float
    graph: Mapping[Shape, GraphSearch]

    @classmethod
    def parse(cls, stored: Any) -> MeasuredPlans | None:
        """From a collection's metadata. None if nothing was measured, or if another version wrote it."""
        try:
            graph = {
                Shape(shape): GraphSearch(Plan(way["plan"]), int(way["ef"]), float(way["recall"]), float(way["ms"]))
                for shape, way in stored["graph"].items()
            }
            return cls(float(stored["exact_ms"]), float(stored["exact_ms_per_1000"]), graph)
        except (KeyError, TypeError, ValueError, AttributeError):
            return None

    def as_dict(self) -> dict[str, Any]:
        """What `parse` reads."""
        return {
            "exact_ms": round(self.exact_ms, 4),
            "exact_ms_per_1000": round(self.exact_ms_per_1000, 6),
            "graph": {
                str(shape): {
                    "plan": str(way.plan),
                    "ef": way.ef,
                    "recall": round(way.recall, 4),
                    "ms": round(way.ms, 3),
                }
                for shape, way in self.graph.items()
            },
        }

    def scan_ms(self, matches: int) -> float:
        """The expected time of an exact search among so many matches."""
        return self.exact_ms + self.exact_ms_per_1000 * matches / _MATCHES

    def choose(self, shape: Shape, matches: int) -> Plan | None:
        """The cheapest way that finds enough. None if this shape was not measured."""
        if matches <= ALWAYS_EXACT_MATCHES:
            return Plan.EXACT
        way = self.graph.get(shape)
        if way is None:
            return None
        limit_ms = way.ms if way.recall >= TARGET_RECALL else max(way.ms, _PATIENCE_MS)
        return Plan.EXACT if self.scan_ms(matches) <= limit_ms else way.plan
