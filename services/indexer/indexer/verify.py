"""Checks a collection before it serves: it has exactly the expected products, a sample of them finds itself first, and
approximate search finds what exact search finds.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from typing import Final

from qdrant_client import models

from indexer.vectors import Vectors
from vitrine.errors import VerificationFailed

TOP: Final = 10
# Products with the same picture have the same score, in any order.
_TIE: Final = 1e-6
_BATCH: Final = 50


def verify(vectors: Vectors, collection: str, expected: Collection[str], *, sample: int, min_recall: float) -> float:
    """Check that the collection's points are exactly `expected`. Returns recall@10 against exact search, on a sample.

    Raises VerificationFailed.
    """
    count = vectors.count(collection)
    if count != len(expected):
        raise VerificationFailed(f"the collection {collection!r} has {count} products and should have {len(expected)}")
    chosen = random.Random(0).sample(sorted(expected), min(sample, len(expected)))  # noqa: S311 - a sample, no secret
    hits = wanted = 0
    for start in range(0, len(chosen), _BATCH):
        part = chosen[start : start + _BATCH]
        stored = vectors.vectors(collection, part)
        missing = [point for point in part if point not in stored]
        if missing:
            raise VerificationFailed(
                f"the collection {collection!r} lacks {len(missing)} of {len(part)} sampled products"
            )
        queries = [stored[point] for point in part]
        found = vectors.neighbours(collection, queries, limit=TOP, exact=False)
        exact = vectors.neighbours(collection, queries, limit=TOP, exact=True)
        for point, approximate, truth in zip(part, found, exact, strict=True):
            if not _finds_itself(point, approximate):
                raise VerificationFailed(f"a product of {collection!r} does not find itself first: point {point}")
            hits += _hits(approximate, truth)
            wanted += len(truth)
    recall = hits / wanted if wanted else 1.0
    if recall < min_recall:
        raise VerificationFailed(
            f"recall@{TOP} of the collection {collection!r} against exact search is {recall:.4f}, "
            f"and must be at least {min_recall}"
        )
    return recall


def _finds_itself(point: str, found: Sequence[models.ScoredPoint]) -> bool:
    """Whether the point has or shares the first place. If all results share it, the point may come after them."""
    if not found:
        return False
    first = [str(hit.id) for hit in found if found[0].score - hit.score <= _TIE]
    return point in first or len(first) == TOP


def _hits(found: Sequence[models.ScoredPoint], exact: Sequence[models.ScoredPoint]) -> int:
    """How many results are in the exact answer, or as near as its last one."""
    if not exact:
        return 0
    truth = {str(point.id) for point in exact}
    last = exact[-1].score
    return sum(str(point.id) in truth or point.score >= last - _TIE for point in found)
