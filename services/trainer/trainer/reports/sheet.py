"""A sheet of pictures: a row for each query, the query first, then its matches in green or red frames with captions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw, ImageOps

from trainer.reports.rendering import (
    BAD,
    BLANK,
    DPI,
    FAINT_INK,
    GOOD,
    INK,
    LABEL_PT,
    PAPER,
    SMALL_PT,
    TITLE_PT,
    fitted,
    image_font,
    width_in,
)

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


def draw_sheet(title: str, rows: Sequence[SheetRow]) -> Image.Image:
    """Draw the rows, of which there must be at least one. The sheet is as wide as its longest row.

    It is drawn without matplotlib, which takes seconds for hundreds of pictures, frames and captions.
    """
    columns = max(1, *(len(row.matches) for row in rows))
    width_px = max(_left(columns) + _TILE_PX + _MARGIN_PX, _head_width_px(title))
    height_px = _HEAD_PX + len(rows) * _row_px() + _MARGIN_PX - _GAP_PX
    sheet = Image.new("RGB", (width_px, height_px), PAPER)
    draw = ImageDraw.Draw(sheet)
    _draw_head(draw, title, width_px)
    for number, row in enumerate(rows):
        top = _HEAD_PX + number * _row_px()
        _draw_tile(sheet, draw, row.query, left=_MARGIN_PX, top=top)
        _write(draw, row.score, left=_MARGIN_PX, top=top + _TILE_PX + 27, color=FAINT_INK)
        for column, match in enumerate(row.matches):
            _draw_tile(sheet, draw, match, left=_left(column + 1), top=top)
    return sheet


def _row_px() -> int:
    return _TILE_PX + _CAPTION_PX + _GAP_PX


def _left(column: int) -> int:
    return _MARGIN_PX + column * (_TILE_PX + _GAP_PX) + (_QUERY_GAP_PX - _GAP_PX if column else 0)


def _head_width_px(title: str) -> int:
    text_in = sum(width_in(text, LABEL_PT) for _, text in _LEGEND)
    text_in += width_in(title, TITLE_PT, bold=True)
    return 2 * _MARGIN_PX + math.ceil(text_in * DPI) + len(_LEGEND) * _TEXT_GAP_PX


def _draw_head(draw: ImageDraw.ImageDraw, title: str, width_px: int) -> None:
    middle = _HEAD_PX / 2
    draw.text((_MARGIN_PX, middle), title, INK, image_font(TITLE_PT, bold=True), anchor="lm")
    right = float(width_px - _MARGIN_PX)
    for color, text in reversed(_LEGEND):
        draw.text((right, middle), text, color, image_font(LABEL_PT), anchor="rm")
        right -= width_in(text, LABEL_PT) * DPI + _TEXT_GAP_PX


def _draw_tile(sheet: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, *, left: int, top: int) -> None:
    color = {None: INK, True: GOOD, False: BAD}[tile.relevant]
    sheet.paste(_framed(tile.picture), (left, top))
    if tile.picture is None:
        middle = (left + _TILE_PX / 2, top + _TILE_PX / 2)
        draw.text(middle, "no picture", FAINT_INK, image_font(SMALL_PT), anchor="mm")
    line_px = 2 if tile.relevant is None else _FRAME_PX
    draw.rectangle((left, top, left + _TILE_PX - 1, top + _TILE_PX - 1), outline=color, width=line_px)
    mark = {None: "", True: _CHECK, False: _CROSS}[tile.relevant]
    mark_px = width_in(mark, SMALL_PT) * DPI if mark else 0.0
    _write(draw, mark, left=left, top=top + _TILE_PX + 7, color=color)
    caption = fitted(tile.caption, SMALL_PT, (_TILE_PX - mark_px) / DPI)
    _write(draw, caption, left=left + mark_px, top=top + _TILE_PX + 7, color=INK)


def _write(draw: ImageDraw.ImageDraw, text: str, *, left: float, top: float, color: str) -> None:
    draw.text((left, top), text, color, image_font(SMALL_PT))


def _framed(picture: Image.Image | None) -> Image.Image:
    """150 by 150 pixels: the picture on white, as large as its frame allows, or a gray square."""
    tile = Image.new("RGB", (_TILE_PX, _TILE_PX), BLANK if picture is None else PAPER)
    if picture is not None:
        inner_px = _TILE_PX - 2 * _FRAME_PX
        inner = ImageOps.contain(picture, (inner_px, inner_px), Image.Resampling.LANCZOS)
        tile.paste(inner, ((_TILE_PX - inner.width) // 2, (_TILE_PX - inner.height) // 2))
    return tile
