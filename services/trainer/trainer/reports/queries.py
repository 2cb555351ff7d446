"""The best and the worst queries of a retrieval, as pictures: each with its first matches, right ones framed in green
and wrong ones in red. A picture that cannot be had leaves a grey tile.
"""

from __future__ import annotations

import math
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


def write_queries(folder: Path, queries: Queries, *, shown: int = 8, matches: int = 8) -> list[str]:
    """Write the two sheets of at most `shown` queries and queries.json, and return their names. Where no query was
    scored there is no sheet.
    """
    best, worst = choose_best_and_worst(queries, shown)
    names = []
    unreadable: set[str] = set()
    for file, title, chosen in ((BEST_FILE, "Best queries", best), (WORST_FILE, "Worst queries", worst)):
        if chosen:
            rows = [_row(queries, place, matches, unreadable) for place in chosen]
            write_png(folder / file, draw_sheet(f"{title}, by {queries.score_name}", rows))
            names.append(file)
    document = {
        "score": queries.score_name,
        "scored": int(np.isfinite(queries.scores).sum()),
        "left_out": int((~np.isfinite(queries.scores)).sum()),
        "best": [_entry(queries, place, matches) for place in best],
        "worst": [_entry(queries, place, matches) for place in worst],
        "unreadable": sorted(unreadable),
    }
    write_json(folder / QUERIES_FILE, document)
    return [*names, QUERIES_FILE]


def choose_best_and_worst(queries: Queries, count: int) -> tuple[list[int], list[int]]:
    """The places of the queries with the highest and with the lowest scores, the extreme one first.

    Of equal scores, which the best often have, each caption comes once before any comes twice.
    """
    seen: Counter[tuple[float, str]] = Counter()
    ranked: list[tuple[float, int, int]] = []
    for place, (row, score) in enumerate(zip(queries.rows, queries.scores, strict=True)):
        if math.isfinite(score):
            key = (float(score), queries.captions[row])
            ranked.append((float(score), seen[key], place))
            seen[key] += 1
    best = sorted(ranked, key=lambda one: (-one[0], one[1], one[2]))[:count]
    worst = sorted(ranked)[:count]
    return [place for *_, place in best], [place for *_, place in worst]


def _row(queries: Queries, place: int, matches: int, unreadable: set[str]) -> Row:
    def tile(row: int, *, right: bool | None = None) -> Tile:
        product_id = queries.ids[row]
        picture = _picture(queries.picture, product_id)
        if picture is None:
            unreadable.add(product_id)
        return Tile(picture, queries.captions[row], right=right)

    return Row(
        query=tile(int(queries.rows[place])),
        score=f"{queries.scores[place]:.3f}",
        matches=tuple(tile(row, right=right) for row, right in _matches(queries, place, matches)),
    )


def _matches(queries: Queries, place: int, count: int) -> list[tuple[int, bool]]:
    found = zip(queries.matches[place, :count], queries.relevant[place, :count], strict=True)
    return [(int(row), bool(right)) for row, right in found if row >= 0]


def _picture(picture: Picture, product_id: str) -> Image.Image | None:
    try:
        return picture(product_id).convert("RGB")
    except Exception as error:  # hours of training are not to be lost for the sake of a drawing
        get_logger("reports").warning("picture_failure", product=product_id, error=f"{type(error).__name__}: {error}")
        return None


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
