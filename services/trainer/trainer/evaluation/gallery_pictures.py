"""Pictures for a report: the best and the worst queries with what they found, small and part of the page itself, so
that the file can be passed on alone.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from PIL import ImageOps

from trainer.evaluation.contest import Contest
from trainer.evaluation.features import Pictures
from trainer.evaluation.lines import Line
from vitrine.catalogs.roots import read_picture
from vitrine.errors import VitrineError
from vitrine.images.decode import decode_image

_SIDE_PX: Final = 112
_QUALITY: Final = 80
_PER_KIND: Final = 2


@dataclass(frozen=True, slots=True)
class Tile:
    """A picture on the page. `source` is its data address, empty where the picture cannot be had."""

    id: str
    caption: str
    source: str
    right: bool | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """A query, what it scored, and what it found."""

    query: Tile
    score: float
    matches: tuple[Tile, ...]


def best_and_worst(line: Line, contest: Contest, *, measure: str, shown: int = 8) -> tuple[list[Case], list[Case]]:
    """Up to `shown` cases of each, at most two of a kind; of equal scores the first queries."""
    values = line.measured.values[measure]
    scored = np.flatnonzero(np.isfinite(values))
    order = scored[np.argsort(values[scored], kind="stable")]
    worst, best = _varied(order, line, shown), _varied(order[::-1], line, shown)
    tiles = _Tiles(contest)
    return [_case(tiles, line, contest, row, values) for row in best], [
        _case(tiles, line, contest, row, values) for row in worst
    ]


def confused(line: Line, contest: Contest) -> np.ndarray[Any, np.dtype[np.int64]]:
    """(K, K) how often a query of the one kind found the other kind among its first matches."""
    count = len(contest.kinds)
    table = np.zeros((count, count), dtype=np.int64)
    found = line.matches >= 0
    asked = np.broadcast_to(line.kinds[:, None], line.matches.shape)[found]
    got = contest.labels.kind[line.matches[found]]
    known = (asked >= 0) & (got >= 0)
    np.add.at(table, (asked[known], got[known]), 1)
    return table


def _varied(order: np.ndarray[Any, np.dtype[np.int64]], line: Line, count: int) -> list[int]:
    taken: dict[int, int] = {}
    chosen: list[int] = []
    for row in order:
        kind = int(line.kinds[row])
        if taken.get(kind, 0) < _PER_KIND and len(chosen) < count:
            taken[kind] = taken.get(kind, 0) + 1
            chosen.append(int(row))
    return chosen


def _case(tiles: _Tiles, line: Line, contest: Contest, row: int, values: np.ndarray[Any, np.dtype[np.float64]]) -> Case:
    labels, asked = contest.labels.relevance, contest.query_labels.relevance[line.asked[row]]
    matches = tuple(
        tiles.tile(contest.gallery, int(match), int(contest.labels.kind[match]), _equal(labels[match], asked))
        for match in line.matches[row]
        if match >= 0
    )
    outside = contest.outside
    place = int(line.asked[row])
    pictures, at = (contest.gallery, int(contest.asked[place])) if outside is None else (outside, place)
    return Case(tiles.tile(pictures, at, int(line.kinds[row]), None), float(values[row]), matches)


def _equal(one: np.ndarray[Any, np.dtype[np.int64]], other: np.ndarray[Any, np.dtype[np.int64]]) -> bool:
    return bool(((one == other) & (one >= 0)).all())


class _Tiles:
    def __init__(self, contest: Contest) -> None:
        self._contest = contest

    def tile(self, pictures: Pictures, row: int, kind: int, right: bool | None) -> Tile:
        product = pictures.products[row]
        caption = self._contest.kinds[kind] if kind >= 0 else ""
        return Tile(product.id, caption, address_of(pictures, row), right)


def address_of(pictures: Pictures, row: int, *, side_px: int = _SIDE_PX) -> str:
    """The product's picture, shrunk, as an address that holds it; empty where it cannot be had any more."""
    try:
        picture = decode_image(read_picture(pictures.catalog.root, pictures.products[row].picture))
    except VitrineError:  # it was there when it was embedded; a page without it is better than no page
        return ""
    small = ImageOps.contain(picture.convert("RGB"), (side_px, side_px))
    written = io.BytesIO()
    small.save(written, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(written.getvalue()).decode()
