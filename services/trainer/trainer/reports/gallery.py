"""The best and the worst queries of a retrieval with their first matches: as PNG sheets with a JSON list, and as cases
for an HTML page.
"""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from trainer.reports.rendering import write_image
from trainer.reports.sheet import SheetRow, Tile, draw_sheet
from vitrine.atomic_write import write_json
from vitrine.catalogs import Catalog
from vitrine.errors import VitrineError
from vitrine.images.decode import decode_image
from vitrine.products import Product
from vitrine.telemetry import get_logger

BEST_FILE: Final = "best-queries.png"
WORST_FILE: Final = "worst-queries.png"
QUERIES_FILE: Final = "queries.json"

_SHOWN: Final = 8
_PER_CAPTION: Final = 2
_THUMBNAIL_PX: Final = 112
_JPEG_QUALITY: Final = 80


@dataclass(frozen=True, slots=True)
class Example:
    """A product in a gallery. `relevant` is None for a query."""

    id: str
    caption: str
    relevant: bool | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """A query, its score, and its first matches, best first."""

    query: Example
    score: float
    matches: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class ScoredQueries:
    """Q queries with their scores and first M matches.

    `scores` (Q,) float64 is NaN for a query without any relevant product. `matches` (Q, M) int64 are rows of `gallery`,
    best first, -1 where there are fewer; `relevant` (Q, M) bool belongs to them. `queries` and `gallery` are pairs of
    product id and caption.
    """

    queries: Sequence[tuple[str, str]]
    scores: npt.NDArray[np.float64]
    matches: npt.NDArray[np.int64]
    relevant: npt.NDArray[np.bool_]
    gallery: Sequence[tuple[str, str]]

    def best_and_worst(self, count: int = _SHOWN, *, per_caption: int = _PER_CAPTION) -> tuple[list[int], list[int]]:
        """The rows of the `count` queries with the highest scores and of those with the lowest, the extreme one first.

        At most `per_caption` of each have the same caption, unless there are too few others. Equal scores keep their
        order.
        """
        rows = np.flatnonzero(np.isfinite(self.scores))
        scores = self.scores[rows]
        best, worst = np.argsort(-scores, kind="stable"), np.argsort(scores, kind="stable")
        return (
            self._varied(rows[best].tolist(), count, per_caption),
            self._varied(rows[worst].tolist(), count, per_caption),
        )

    def case(self, row: int, *, matches: int) -> Case:
        """One query with up to `matches` of its matches."""
        query_id, caption = self.queries[row]
        found = zip(self.matches[row, :matches], self.relevant[row, :matches], strict=True)
        examples = tuple(self._match(match, relevant) for match, relevant in found if match >= 0)
        return Case(Example(query_id, caption), float(self.scores[row]), examples)

    def _match(self, row: int, relevant: np.bool_) -> Example:
        product_id, caption = self.gallery[row]
        return Example(product_id, caption, bool(relevant))

    def _varied(self, ranked: list[int], count: int, per_caption: int) -> list[int]:
        taken: Counter[str] = Counter()
        first: list[int] = []
        spare: list[int] = []
        for rank, row in enumerate(ranked):
            caption = self.queries[row][1]
            (first if taken[caption] < per_caption else spare).append(rank)
            taken[caption] += 1
        return [ranked[rank] for rank in sorted([*first, *spare][:count])]


def write_gallery(
    folder: Path,
    queries: ScoredQueries,
    picture: Callable[[str], Image.Image],
    *,
    score_name: str = "average precision",
    shown: int = _SHOWN,
    matches: int = 8,
    per_caption: int = _PER_CAPTION,
) -> list[str]:
    """Write two sheets of at most `shown` queries and queries.json, and return the file names. Without a query that has
    a score there are no sheets.

    `picture` returns a picture by its product id, and may raise anything: the picture is then shown as a gray tile.
    """
    best, worst = (
        [queries.case(row, matches=matches) for row in rows]
        for rows in queries.best_and_worst(shown, per_caption=per_caption)
    )
    folder.mkdir(parents=True, exist_ok=True)
    tiles = _Tiles(picture)
    names = []
    for file, title, cases in ((BEST_FILE, "Best queries", best), (WORST_FILE, "Worst queries", worst)):
        if cases:
            heading = f"{title} by {score_name}, at most {per_caption} of a kind"
            write_image(folder / file, draw_sheet(heading, [tiles.row(case) for case in cases]))
            names.append(file)
    scored = int(np.isfinite(queries.scores).sum())
    document = {
        "score": score_name,
        "scored": scored,
        "left_out": len(queries.scores) - scored,
        "per_caption": per_caption,
        "best": [_entry(case) for case in best],
        "worst": [_entry(case) for case in worst],
        "unreadable": tiles.unreadable,
    }
    write_json(folder / QUERIES_FILE, document)
    return [*names, QUERIES_FILE]


def data_url(
    catalog: Catalog,
    product: Product,
    *,
    side_px: int = _THUMBNAIL_PX,
    edit: Callable[[Image.Image], Image.Image] | None = None,
) -> str:
    """The product's picture, changed by `edit`, as a small JPEG in a data URL, or an empty string if it cannot be read
    any more.
    """
    try:
        picture = decode_image(catalog.read_picture(product))
    except VitrineError:  # it could be read when it was embedded; a page without one picture is still useful
        return ""
    shown = picture.convert("RGB")
    small = ImageOps.contain(shown if edit is None else edit(shown), (side_px, side_px))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


class _Tiles:
    """Tiles of products. Each picture is read once."""

    def __init__(self, picture: Callable[[str], Image.Image]) -> None:
        self._picture = picture
        self._pictures: dict[str, Image.Image | None] = {}

    @property
    def unreadable(self) -> list[str]:
        return sorted(product_id for product_id, picture in self._pictures.items() if picture is None)

    def row(self, case: Case) -> SheetRow:
        return SheetRow(self._tile(case.query), f"{case.score:.3f}", tuple(map(self._tile, case.matches)))

    def _tile(self, example: Example) -> Tile:
        if example.id not in self._pictures:
            self._pictures[example.id] = self._read(example.id)
        return Tile(self._pictures[example.id], example.caption, example.relevant)

    def _read(self, product_id: str) -> Image.Image | None:
        try:
            return self._picture(product_id).convert("RGB")
        except Exception as error:  # a picture must not end a training that took hours
            reason = f"{type(error).__name__}: {error}"
            get_logger("reports").warning("picture_failure", product=product_id, error=reason)
            return None


def _entry(case: Case) -> dict[str, Any]:
    return {
        "id": case.query.id,
        "caption": case.query.caption,
        "score": case.score,
        "matches": [{"id": one.id, "caption": one.caption, "relevant": one.relevant} for one in case.matches],
    }
