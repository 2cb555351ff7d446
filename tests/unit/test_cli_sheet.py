"""The contact sheet of a search."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from vitrine_local.cli.sheet import SheetResult, draw_sheet, write_sheet


def picture(colour: str, size: tuple[int, int] = (60, 80)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def has_colour(image: Image.Image, colour: tuple[int, int, int]) -> bool:
    return any(found == colour for _, found in image.getcolors(maxcolors=2**24) or [])


def test_the_sheet_shows_the_query_and_every_result_in_rows_of_five() -> None:
    colours = ["blue", "lime", "yellow", "cyan", "magenta", "navy"]
    results = [SheetResult(picture(colour), 0.9, colour) for colour in colours]
    sheet = draw_sheet(picture("red"), results)
    one_row = draw_sheet(picture("red"), results[:5])
    assert sheet.width == one_row.width
    assert sheet.height > one_row.height
    for colour in ((255, 0, 0), (0, 0, 255), (0, 0, 128)):
        assert has_colour(sheet, colour)
    assert not has_colour(one_row, (0, 0, 128))


def test_rank_score_and_name_are_written_below_a_result() -> None:
    one, other = (draw_sheet(picture("red"), [SheetResult(picture("blue"), score, "A")]) for score in (0.91, 0.92))
    assert ImageChops.difference(one, other).getbbox() is not None
    named = draw_sheet(picture("red"), [SheetResult(picture("blue"), 0.91, "A name that is far too long for its cell")])
    box = ImageChops.difference(one, named).getbbox()
    assert box is not None
    cell_left, cell_width = 12 + 180 + 24, 180
    assert cell_left <= box[0] < box[2] <= cell_left + cell_width, "the name stays inside its cell"


def test_a_picture_that_cannot_be_decoded_does_not_affect_the_others() -> None:
    sheet = draw_sheet(
        picture("red"), [SheetResult(b"no picture", 0.5, "broken"), SheetResult(picture("blue"), 0.4, "B")]
    )
    assert has_colour(sheet, (0, 0, 255))


def test_a_search_without_results_still_gives_a_sheet(tmp_path: Path) -> None:
    file = tmp_path / "sheet.png"
    write_sheet(file, picture("red", (400, 100)), [])
    with Image.open(file) as sheet:
        assert has_colour(sheet.convert("RGB"), (255, 0, 0))
    with pytest.raises(ValueError, match="unknown file extension"):
        write_sheet(tmp_path / "sheet.doc", picture("red"), [])
