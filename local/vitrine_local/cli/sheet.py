"""A contact sheet: the query and its results in one picture, each result with its rank, score and name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from vitrine.errors import ImageRejected
from vitrine.images.decode import decode_image

_CELL_PX = 180
_CAPTION_PX = 40
_MARGIN_PX = 12
_FONT_PX = 13
_COLUMNS = 5
_PAPER = (255, 255, 255)
_INK = (30, 30, 30)
_FAINT = (225, 225, 225)
_ACCENT = (200, 60, 40)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, slots=True)
class SheetResult:
    """One result: the encoded picture, and the caption below it."""

    picture: bytes
    score: float
    name: str


def write_sheet(file: Path, query: bytes, results: Sequence[SheetResult]) -> None:
    """Write the sheet to `file`; its suffix names the format. A picture that cannot be decoded is shown as its error.

    Raises OSError, and ValueError for an unknown suffix.
    """
    draw_sheet(query, results).save(file.expanduser())


def draw_sheet(query: bytes, results: Sequence[SheetResult]) -> Image.Image:
    """The sheet: the query alone in the first column, the results in five columns beside it, best first."""
    rows = max(1, -(-len(results) // _COLUMNS))
    width = _left(_COLUMNS + 1)
    height = _MARGIN_PX + rows * (_CELL_PX + _CAPTION_PX + _MARGIN_PX)
    sheet = Image.new("RGB", (width, height), _PAPER)
    font = ImageFont.load_default(_FONT_PX)
    _cell(sheet, font, column=0, row=0, picture=query, caption=("query", ""), frame=_ACCENT)
    for index, result in enumerate(results):
        row, column = divmod(index, _COLUMNS)
        caption = (f"{index + 1}.   {result.score:.4f}", result.name)
        _cell(sheet, font, column=column + 1, row=row, picture=result.picture, caption=caption, frame=_FAINT)
    return sheet


def _left(column: int) -> int:
    # The query stands apart by one margin more.
    return _MARGIN_PX + column * (_CELL_PX + _MARGIN_PX) + (_MARGIN_PX if column else 0)


def _cell(
    sheet: Image.Image,
    font: Font,
    *,
    column: int,
    row: int,
    picture: bytes,
    caption: tuple[str, str],
    frame: tuple[int, int, int],
) -> None:
    left, top = _left(column), _MARGIN_PX + row * (_CELL_PX + _CAPTION_PX + _MARGIN_PX)
    pen = ImageDraw.Draw(sheet)
    pen.rectangle((left, top, left + _CELL_PX - 1, top + _CELL_PX - 1), outline=frame)
    inner_px = _CELL_PX - 4
    try:
        shown = ImageOps.contain(decode_image(picture, target_px=inner_px), (inner_px, inner_px))
    except ImageRejected as error:
        pen.text((left + 8, top + 8), error.code, fill=_ACCENT, font=font)
    else:
        sheet.paste(shown, (left + (_CELL_PX - shown.width) // 2, top + (_CELL_PX - shown.height) // 2))
    for line, text in enumerate(caption):
        pen.text((left, top + _CELL_PX + 3 + line * (_FONT_PX + 4)), _fitted(text, font), fill=_INK, font=font)


def _fitted(text: str, font: Font) -> str:
    """`text`, shortened to the width of a cell."""
    shortened = text
    while shortened and font.getlength(shortened) > _CELL_PX:
        shortened = f"{shortened[:-2].rstrip()}…" if shortened.endswith("…") else f"{shortened[:-1].rstrip()}…"
    return shortened
