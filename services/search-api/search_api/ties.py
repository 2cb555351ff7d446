"""A stable order for products of equal score.

Qdrant returns points of equal score in any order, so a limit may cut any of them off. Ties are ordered by product id,
so that a short answer is always the beginning of a longer one. One result more than wanted is requested, and more only
while the last wanted result ties with the next.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from qdrant_client import models

from vitrine.products import public_id

T = TypeVar("T")
_GROWTH: Final = 4  # factor of the next, larger request


async def with_ties(
    ask: Callable[[int], Awaitable[list[T]]], limit: int, *, score: Callable[[T], float], most: int
) -> list[T]:
    """The first `limit` results of `ask`, best first, and all others with the score of the last one.

    `ask` takes the number of results, which never exceeds `most`; ties beyond that number are cut off.
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
    """A sort key: best score first, then numeric product ids, then the other ids."""
    payload = point.payload or {}
    name = public_id(str(payload.get("product_id", point.id)))
    return -point.score, isinstance(name, str), name
