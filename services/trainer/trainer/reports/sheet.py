"""A sheet of pictures: a row for each query, the query first, then its matches in green or red frames with captions."""

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

from trainer.reports.rendering import (
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

# In pixels of the drawing, so that a picture is resampled only once.
_TILE_PX: Final = 150
_FRAME_PX: Final = 4
_GAP_PX: Final = 18
_CAPTION_PX: Final = 46
_MARGIN_PX: Final = 30
_HEAD_PX: Final = 62
_QUERY_GAP_PX: Final = 46
_TEXT_GAP_PX: Final = 24
_CHECK: Final = "\N{CHECK MARK} "
_CROSS: Final = "\N{BALLOT X} "
_LEGEND: Final = ((GOOD, f"{_CHECK}relevant"), (BAD, f"{_CROSS}not relevant"))


@dataclass(frozen=True, slots=True)
class Tile:
    """A picture with its caption. `picture` is None if it cannot be read, `relevant` is None for a query."""

    picture: Image.Image | None
    caption: str
    relevant: bool | None = None


@dataclass(frozen=True, slots=True)
class SheetRow:
    """A query, its score as text, and its matches, best first."""

    query: Tile
    score: str
    matches: tuple[Tile, ...]


def draw_sheet(title: str, rows: Sequence[SheetRow]) -> Figure:
    """Draw the rows, of which there must be at least one. The sheet is as wide as its longest row."""
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
        _write(axes, row.score, left=_MARGIN_PX, top=top + _TILE_PX + 27, color=FAINT_INK)
        for column, match in enumerate(row.matches):
            _draw_tile(axes, match, left=_left(column + 1), top=top)
    return figure


def _row_px() -> int:
    return _TILE_PX + _CAPTION_PX + _GAP_PX


def _left(column: int) -> int:
    return _MARGIN_PX + column * (_TILE_PX + _GAP_PX) + (_QUERY_GAP_PX - _GAP_PX if column else 0)


def _head_width_px(title: str) -> int:
    text_in = sum(width_in(text, LABEL_PT) for _, text in _LEGEND)
    text_in += width_in(title, TITLE_PT, bold=True)
    return 2 * _MARGIN_PX + math.ceil(text_in * DPI) + len(_LEGEND) * _TEXT_GAP_PX


def _draw_head(axes: Axes, title: str, width_px: int) -> None:
    middle = _HEAD_PX / 2
    axes.text(_MARGIN_PX, middle, title, fontproperties=font(TITLE_PT, bold=True), color=INK, va="center")
    right = float(width_px - _MARGIN_PX)
    for color, text in reversed(_LEGEND):
        axes.text(right, middle, text, fontproperties=font(LABEL_PT), color=color, va="center", ha="right")
        right -= width_in(text, LABEL_PT) * DPI + _TEXT_GAP_PX


def _draw_tile(axes: Axes, tile: Tile, *, left: int, top: int) -> None:
    color = {None: INK, True: GOOD, False: BAD}[tile.relevant]
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
    line_px = 2 if tile.relevant is None else _FRAME_PX
    inset, side = line_px / 2, _TILE_PX - line_px
    axes.add_patch(
        Rectangle(
            (left + inset, top + inset),
            side,
            side,
            fill=False,
            edgecolor=color,
            linewidth=line_px * POINTS_PER_INCH / DPI,
            joinstyle="miter",
            zorder=2,
        )
    )
    mark = {None: "", True: _CHECK, False: _CROSS}[tile.relevant]
    mark_px = width_in(mark, SMALL_PT) * DPI if mark else 0.0
    _write(axes, mark, left=left, top=top + _TILE_PX + 7, color=color)
    caption = fitted(tile.caption, SMALL_PT, (_TILE_PX - mark_px) / DPI)
    _write(axes, caption, left=left + mark_px, top=top + _TILE_PX + 7, color=INK)


def _write(axes: Axes, text: str, *, left: float, top: float, color: str) -> None:
    axes.text(left, top, text, fontproperties=font(SMALL_PT), color=color, va="top", parse_math=False)


def _framed(picture: Image.Image | None) -> npt.NDArray[np.uint8]:
    """(150, 150, 3): the picture on white, as large as its frame allows, or a gray square."""
    tile = Image.new("RGB", (_TILE_PX, _TILE_PX), BLANK if picture is None else PAPER)
    if picture is not None:
        inner_px = _TILE_PX - 2 * _FRAME_PX
        inner = ImageOps.contain(picture, (inner_px, inner_px), Image.Resampling.LANCZOS)
        tile.paste(inner, ((_TILE_PX - inner.width) // 2, (_TILE_PX - inner.height) // 2))
    return np.asarray(tile)
