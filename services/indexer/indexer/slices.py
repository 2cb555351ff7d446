"""Splits work into parts of a bounded size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def slices_by_size(sizes: Sequence[int], *, most: int, items: int | None = None) -> Iterator[slice]:
    """Split items of these sizes, in order, into few parts of at most `most` together. A larger one goes alone.

    A part has at most `items` items.
    """
    start = total = 0
    for position, size in enumerate(sizes):
        if position > start and (total + size > most or position - start == items):
            yield slice(start, position)
            start, total = position, 0
        total += size
    if start < len(sizes):
        yield slice(start, len(sizes))
