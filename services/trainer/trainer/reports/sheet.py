"""A sheet of queries and their matches: a row each, the query first, every picture in its frame with a caption."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, ImageOps

from trainer.reports.style import (
    BAD,
    BLANK,
    DPI,
    FAINT_INK,
    GOOD,
    INK,
    LABEL_PT,
    PAPER,
    POINTS_PER_INCH,
    SMALL_PT,
    TITLE_PT,
    fitted,
    font,
    new_figure,
    width_in,
)

# All in pixels of the drawing, so that no picture is resampled twice.
_TILE_PX: Final = 150
_FRAME_PX: Final = 4
_GAP_PX: Final = 18
_CAPTION_PX: Final = 46
_MARGIN_PX: Final = 30
_HEAD_PX: Final = 62
_QUERY_GAP_PX: Final = 46
_WORD_GAP_PX: Final = 24
_RIGHT: Final = "\N{CHECK MARK} "
_WRONG: Final = "\N{BALLOT X} "
_LEGEND: Final = ((GOOD, f"{_RIGHT}relevant"), (BAD, f"{_WRONG}not relevant"))


@dataclass(frozen=True, slots=True)
class Tile:
    """A picture, None where there is none to show, its caption, and whether it is a right match; None: a query."""

    picture: Image.Image | None
    caption: str
    right: bool | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A query, what it scored, and its matches, best first."""

    query: Tile
    score: str
    matches: tuple[Tile, ...]


def draw_sheet(title: str, rows: Sequence[Row]) -> Figure:
    """As wide as the longest row needs. There is at least one row."""
    columns = max(1, *(len(row.matches) for row in rows))
    width_px = max(_left(columns) + _TILE_PX + _MARGIN_PX, _head_width_px(title))
    height_px = _HEAD_PX + len(rows) * _row_px() + _MARGIN_PX - _GAP_PX
    figure = new_figure(width_px / DPI, height_px / DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, width_px)
    axes.set_ylim(height_px, 0)
    axes.set_aspect("auto")
    _draw_head(axes, title, width_px)
    for number, row in enumerate(rows):
        top = _HEAD_PX + number * _row_px()
        _draw_tile(axes, row.query, left=_MARGIN_PX, top=top)
        _write(axes, row.score, left=_MARGIN_PX, top=top + _TILE_PX + 27, colour=FAINT_INK)
        for column, match in enumerate(row.matches):
            _draw_tile(axes, match, left=_left(column + 1), top=top)
    return figure


def _row_px() -> int:
    return _TILE_PX + _CAPTION_PX + _GAP_PX


def _left(column: int) -> int:
    return _MARGIN_PX + column * (_TILE_PX + _GAP_PX) + (_QUERY_GAP_PX - _GAP_PX if column else 0)


def _head_width_px(title: str) -> int:
    words_in = sum(width_in(words, LABEL_PT) for _, words in _LEGEND)
    words_in += width_in(title, TITLE_PT, bold=True)
    return 2 * _MARGIN_PX + math.ceil(words_in * DPI) + len(_LEGEND) * _WORD_GAP_PX


def _draw_head(axes: Axes, title: str, width_px: int) -> None:
    middle = _HEAD_PX / 2
    axes.text(_MARGIN_PX, middle, title, fontproperties=font(TITLE_PT, bold=True), color=INK, va="center")
    right = float(width_px - _MARGIN_PX)
    for colour, words in reversed(_LEGEND):
        axes.text(right, middle, words, fontproperties=font(LABEL_PT), color=colour, va="center", ha="right")
        right -= width_in(words, LABEL_PT) * DPI + _WORD_GAP_PX


def _draw_tile(axes: Axes, tile: Tile, *, left: int, top: int) -> None:
    colour = {None: INK, True: GOOD, False: BAD}[tile.right]
    axes.imshow(
        _framed(tile.picture),
        extent=(left, left + _TILE_PX, top + _TILE_PX, top),
        origin="upper",
        interpolation="nearest",
        aspect="auto",
        zorder=1,
    )
    if tile.picture is None:
        middle = (left + _TILE_PX / 2, top + _TILE_PX / 2)
        axes.text(*middle, "no picture", fontproperties=font(SMALL_PT), color=FAINT_INK, va="center", ha="center")
    line_px = 2 if tile.right is None else _FRAME_PX
    inset, side = line_px / 2, _TILE_PX - line_px
    axes.add_patch(
        Rectangle(
            (left + inset, top + inset),
            side,
            side,
            fill=False,
            edgecolor=colour,
            linewidth=line_px * POINTS_PER_INCH / DPI,
            joinstyle="miter",
            zorder=2,
        )
    )
    mark = {None: "", True: _RIGHT, False: _WRONG}[tile.right]
    mark_px = width_in(mark, SMALL_PT) * DPI if mark else 0.0
    _write(axes, mark, left=left, top=top + _TILE_PX + 7, colour=colour)
    words = fitted(tile.caption, SMALL_PT, (_TILE_PX - mark_px) / DPI)
    _write(axes, words, left=left + mark_px, top=top + _TILE_PX + 7, colour=INK)


def _write(axes: Axes, words: str, *, left: float, top: float, colour: str) -> None:
    axes.text(left, top, words, fontproperties=font(SMALL_PT), color=colour, va="top", parse_math=False)


def _framed(picture: Image.Image | None) -> npt.NDArray[np.uint8]:
    """(150, 150, 3): the whole picture on white, as large as its frame allows; grey where there is none."""
    tile = Image.new("RGB", (_TILE_PX, _TILE_PX), BLANK if picture is None else PAPER)
    if picture is not None:
        inner_px = _TILE_PX - 2 * _FRAME_PX
        inner = ImageOps.contain(picture, (inner_px, inner_px), Image.Resampling.LANCZOS)
        tile.paste(inner, ((_TILE_PX - inner.width) // 2, (_TILE_PX - inner.height) // 2))
    return np.asarray(tile)
