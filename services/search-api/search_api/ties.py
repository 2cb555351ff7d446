"""Found products of the same score are ordered by their ids, so that an answer is a part of every longer one.

Qdrant leaves their order open, and with it which of them are cut off at the end. So one more than wanted is asked for,
and more again only where the last wanted one has the score of the one behind it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from qdrant_client import models

from vitrine.products import public_id

T = TypeVar("T")

_GROWTH: Final = 4


async def with_ties(
    ask: Callable[[int], Awaitable[list[T]]], limit: int, *, score: Callable[[T], float], most: int
) -> list[T]:
    """The first `limit` of what `ask` finds, best first, and all that share the last one's score.

    `ask` is called with how many to find, at most `most`: of more ties than that, those beyond stay unknown.
    """
    asked = min(limit + 1, most)
    while True:
        found = await ask(asked)
        whole = len(found) < asked or score(found[-1]) < score(found[limit - 1])
        if whole or asked >= most:
            break
        asked = min(asked * _GROWTH, most)
    if len(found) <= limit:
        return found
    last = score(found[limit - 1])
    return [one for one in found if score(one) >= last]


def by_score_and_id(point: models.ScoredPoint) -> tuple[float, bool, int | str]:
    """The key of the order: the best score first, then the numbers among the ids, then the others."""
    payload = point.payload or {}
    name = public_id(str(payload.get("product_id", point.id)))
    return -point.score, isinstance(name, str), name
