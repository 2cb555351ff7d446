"""When each product was first stored, as its payload says: found in any collection of the dataset, so that an indexing
with another release keeps it. A product that was stored before such times were kept has none, and gets none.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from indexer.parts import Parts
from vitrine.errors import CollectionNotFound
from vitrine.products import ADDED_AT_FIELD


def added_times(
    parts: Parts, point_ids: Sequence[str], stored: Mapping[str, Mapping[str, Any]], *, elsewhere: Iterable[str]
) -> dict[str, int]:
    """Milliseconds since 1970 by point id. `stored` are the payloads in the collection that is filled, `elsewhere` the
    collections that may have the others. What is nowhere is added now. Raises Unavailable.
    """
    found = {point: payload.get(ADDED_AT_FIELD) for point, payload in stored.items()}
    for collection in elsewhere:
        left = [point for point in point_ids if point not in found]
        if not left:
            break
        try:
            there = parts.vectors.payloads(collection, left)
        except CollectionNotFound:  # dropped since it was listed
            continue
        found |= {point: payload.get(ADDED_AT_FIELD) for point, payload in there.items()}
    now_ms = round(time.time() * 1000)
    times = {point: found.get(point, now_ms) for point in point_ids}
    return {point: moment for point, moment in times.items() if isinstance(moment, int)}
