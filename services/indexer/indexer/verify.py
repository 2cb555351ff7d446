"""The checks a collection passes before it serves: every product is there and no other, a sample finds itself first,
and what the search graph finds is what exact search finds.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from typing import Final

from qdrant_client import models

from indexer.vectors import Vectors
from vitrine.errors import VerificationFailed

TOP: Final = 10
# Products with one picture have one score; which of them comes first is chance.
_TIE: Final = 1e-6
_AT_ONCE: Final = 50


def verify(vectors: Vectors, collection: str, expected: Collection[str], *, sample: int, least_recall: float) -> float:
    """Check a collection whose points must be exactly `expected`. Returns recall@10 against exact search.

    Raises VerificationFailed, saying which check and by how much.
    """
    count = vectors.count(collection)
    if count != len(expected):
        raise VerificationFailed(f"the collection {collection!r} has {count} products and should have {len(expected)}")
    chosen = random.Random(0).sample(sorted(expected), min(sample, len(expected)))  # noqa: S311 - a sample, no secret
    hits = wanted = 0
    for start in range(0, len(chosen), _AT_ONCE):
        part = chosen[start : start + _AT_ONCE]
        stored = vectors.vectors(collection, part)
        missing = [point for point in part if point not in stored]
        if missing:
            raise VerificationFailed(
                f"the collection {collection!r} lacks {len(missing)} of {len(part)} sampled products"
            )
        queries = [stored[point] for point in part]
        found = vectors.neighbours(collection, queries, limit=TOP, exact=False)
        exact = vectors.neighbours(collection, queries, limit=TOP, exact=True)
        for point, ours, truth in zip(part, found, exact, strict=True):
            if not _finds_itself(point, ours):
                raise VerificationFailed(f"a product of {collection!r} does not find itself first: point {point}")
            hits += _hits(ours, truth)
            wanted += len(truth)
    recall = hits / wanted if wanted else 1.0
    if recall < least_recall:
        raise VerificationFailed(
            f"recall@{TOP} of the collection {collection!r} against exact search is {recall:.4f}, "
            f"and {least_recall} is the least allowed"
        )
    return recall


def _finds_itself(point: str, found: Sequence[models.ScoredPoint]) -> bool:
    """Whether the point has or shares the first place. Where all that was found shares it, the point may lie beyond."""
    if not found:
        return False
    first = [str(hit.id) for hit in found if found[0].score - hit.score <= _TIE]
    return point in first or len(first) == TOP


def _hits(found: Sequence[models.ScoredPoint], exact: Sequence[models.ScoredPoint]) -> int:
    """How many of the found belong into the exact answer; one as near as its last belongs there too."""
    if not exact:
        return 0
    truth = {str(point.id) for point in exact}
    last = exact[-1].score
    return sum(str(point.id) in truth or point.score >= last - _TIE for point in found)
