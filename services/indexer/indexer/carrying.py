"""Taking over what a part of a catalogue does not mention: where a limit was given and a further generation is built,
the products beside the asked ones come from the collection of the same release that served before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from indexer.parts import Parts
from indexer.plans import Planned
from indexer.target import Target
from vitrine.products import PAYLOAD_NAMES
from vitrine.qdrant.fields import fitted

_AT_ONCE = 256


def carry_over(parts: Parts, target: Target, planned: Iterable[Planned]) -> None:
    """Copy the source's other products, their values in the types of the new fields. Doing it again changes nothing."""
    if target.limit is None or target.source is None or not parts.vectors.exists(target.source):
        return
    facts = parts.vectors.describe(target.collection)
    fields = {} if facts is None else facts.fields
    left = set(parts.vectors.ids(target.source)) - set(parts.vectors.ids(target.collection))
    left -= {one.product.point_id for one in planned}
    ids = sorted(left)
    for start in range(0, len(ids), _AT_ONCE):
        points = parts.vectors.points(target.source, ids[start : start + _AT_ONCE])
        parts.vectors.upsert(
            target.collection,
            [
                replace(point, payload={**point.payload, **fitted(_attributes(point.payload), fields)[0]})
                for point in points
            ],
        )


def _attributes(payload: dict[str, object]) -> dict[str, str | int | float]:
    return {
        name: value
        for name, value in payload.items()
        if name not in PAYLOAD_NAMES and isinstance(value, str | int | float)
    }
