"""The best and the worst queries of a retrieval, as pictures: each with its first matches, right ones framed in green
and wrong ones in red. A picture that cannot be had leaves a grey tile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from trainer.reports.files import write_json, write_png
from trainer.reports.sheet import Row, Tile, draw_sheet
from vitrine.telemetry import get_logger

BEST_FILE: Final = "best-queries.png"
WORST_FILE: Final = "worst-queries.png"
QUERIES_FILE: Final = "queries.json"

Picture = Callable[[str], Image.Image]


@dataclass(frozen=True, slots=True)
class Queries:
    """Judged queries among N products. `scores` (Q,) float64 is NaN for a query that was left out; `matches` (Q, M)
    int64 are the first matches, best first, -1 for none, and `relevant` (Q, M) bool says which are right. `ids` and
    `captions` are of all products; `rows` (Q,) int64 and `matches` count in them. `picture` gives a product's picture
    by its id and may raise whatever it likes.
    """

    rows: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]
    matches: npt.NDArray[np.int64]
    relevant: npt.NDArray[np.bool_]
    ids: Sequence[str]
    captions: Sequence[str]
    picture: Picture
    score_name: str = "average precision"


def write_queries(
    folder: Path, queries: Queries, *, shown: int = 8, matches: int = 8, per_caption: int = 2
) -> list[str]:
    """Write the two sheets of at most `shown` queries and queries.json, and return their names. Where no query was
    scored there is no sheet. See `choose_best_and_worst` for `per_caption`.
    """
    best, worst = choose_best_and_worst(queries, shown, per_caption=per_caption)
    tiles = _Tiles(queries)
    names = []
    for file, title, chosen in ((BEST_FILE, "Best queries", best), (WORST_FILE, "Worst queries", worst)):
        if chosen:
            rows = [_row(queries, tiles, place, matches) for place in chosen]
            heading = f"{title} by {queries.score_name}, at most {per_caption} of a kind"
            write_png(folder / file, draw_sheet(heading, rows))
            names.append(file)
    scored = int(np.isfinite(queries.scores).sum())
    document = {
        "score": queries.score_name,
        "scored": scored,
        "left_out": len(queries.scores) - scored,
        "per_caption": per_caption,
        "best": [_entry(queries, place, matches) for place in best],
        "worst": [_entry(queries, place, matches) for place in worst],
        "unreadable": tiles.unreadable,
    }
    write_json(folder / QUERIES_FILE, document)
    return [*names, QUERIES_FILE]


def choose_best_and_worst(queries: Queries, count: int, *, per_caption: int) -> tuple[list[int], list[int]]:
    """The places of the queries with the highest and with the lowest scores, the extreme one first.

    Only so many of each are of the same caption, so that one easy class does not fill the sheet, unless there are not
    enough others. Equal scores stay in their order.
    """
    places = np.flatnonzero(np.isfinite(queries.scores))
    scores = queries.scores[places]
    best = places[np.argsort(-scores, kind="stable")].tolist()
    worst = places[np.argsort(scores, kind="stable")].tolist()
    return _varied(queries, best, count, per_caption), _varied(queries, worst, count, per_caption)


def _varied(queries: Queries, ranked: list[int], count: int, per_caption: int) -> list[int]:
    taken: Counter[str] = Counter()
    first: list[int] = []
    spare: list[int] = []
    for rank, place in enumerate(ranked):
        caption = queries.captions[queries.rows[place]]
        (first if taken[caption] < per_caption else spare).append(rank)
        taken[caption] += 1
    return [ranked[rank] for rank in sorted([*first, *spare][:count])]


class _Tiles:
    """The tiles of products, each picture fetched once."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries
        self._pictures: dict[str, Image.Image | None] = {}

    @property
    def unreadable(self) -> list[str]:
        return sorted(product_id for product_id, picture in self._pictures.items() if picture is None)

    def tile(self, row: int, *, right: bool | None = None) -> Tile:
        product_id = self._queries.ids[row]
        if product_id not in self._pictures:
            self._pictures[product_id] = _picture(self._queries.picture, product_id)
        return Tile(self._pictures[product_id], self._queries.captions[row], right=right)


def _picture(picture: Picture, product_id: str) -> Image.Image | None:
    try:
        return picture(product_id).convert("RGB")
    except Exception as error:  # hours of training are not to be lost for the sake of a drawing
        get_logger("reports").warning("picture_failure", product=product_id, error=f"{type(error).__name__}: {error}")
        return None


def _row(queries: Queries, tiles: _Tiles, place: int, matches: int) -> Row:
    return Row(
        query=tiles.tile(int(queries.rows[place])),
        score=f"{queries.scores[place]:.3f}",
        matches=tuple(tiles.tile(row, right=right) for row, right in _matches(queries, place, matches)),
    )


def _matches(queries: Queries, place: int, count: int) -> list[tuple[int, bool]]:
    found = zip(queries.matches[place, :count], queries.relevant[place, :count], strict=True)
    return [(int(row), bool(right)) for row, right in found if row >= 0]


def _entry(queries: Queries, place: int, matches: int) -> dict[str, Any]:
    row = int(queries.rows[place])
    return {
        "id": queries.ids[row],
        "caption": queries.captions[row],
        "score": float(queries.scores[place]),
        "matches": [
            {"id": queries.ids[match], "caption": queries.captions[match], "relevant": right}
            for match, right in _matches(queries, place, matches)
        ],
    }
