"""Why a catalogue has no usable product, and the command that mends it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from vitrine.catalogs.layouts.entry import Layout
from vitrine.catalogs.layouts.folders import picture_files
from vitrine.catalogs.layouts.roles import is_id, is_picture, listed
from vitrine.catalogs.model import Issue
from vitrine.catalogs.parquet_rows import pictures_inside
from vitrine.catalogs.references import is_picture_file
from vitrine.catalogs.table import Table
from vitrine.catalogs.table_files import TableFormat, checked_file
from vitrine.errors import CatalogMalformed


def check_roles(table: Table, layout: Layout, root: Path) -> None:
    """Raises CatalogMalformed if no column has the ids or the pictures of products."""
    used = layout.used
    if "id" in used or "picture" in used:
        return
    columns = table.header
    if len(columns) == 1:
        raise CatalogMalformed(
            f"{table.path} has one column, {columns[0][:80]!r}, and it is neither an id column nor a picture column. "
            "If the line has several names, they are not separated by a comma, semicolon, tab or bar: save the table "
            "as CSV with commas"
        )
    if any(map(is_picture_file, columns)):
        raise CatalogMalformed(
            f"{table.path} has no header: its first line, {listed(columns)}, is a product. Write a line with the "
            "names of the columns above it, such as id,image,price"
        )
    raise CatalogMalformed(
        f"{table.path} has neither an id column (such as id, sku, product_id, handle) nor a picture column (such as "
        f"image, picture, file_name); it has {listed(columns)}. Name them: "
        f"{_inspect(root)} --map id={_quoted(columns[0])} --map picture={_quoted(_likely_picture(columns))}"
    )


def why_no_product(
    table: Table | None, layout: Layout | None, issues: Sequence[Issue], rows: int, root: Path, *, missing_links: int
) -> str:
    """The likeliest reason that no product of a catalogue can be used, with the command that mends it."""
    if not rows:
        return "it has a header and no rows" if table is not None else f"there is no picture below {root}"
    if table is not None and table.format is TableFormat.PARQUET:
        inside = pictures_inside(checked_file(table.path, root=root))
        if inside:
            return inside
    kind, _ = Counter(issue.kind for issue in issues if not issue.kept).most_common(1)[0] if issues else ("", 0)
    example = next((issue for issue in issues if issue.kind == kind), None)
    shown = "" if example is None else f" (line {example.line}: {example.detail})"
    columns = () if table is None else table.header
    used = {} if layout is None else layout.used
    if kind == "missing_picture":
        return _why_no_picture(columns, used.get("picture"), shown, root, missing_links=missing_links)
    if kind == "bad_id":
        others = [column for column in columns if column != used.get("id")]
        guess = next((column for column in others if is_id(column)), others[0] if others else "COLUMN")
        return (
            f"the column {used.get('id', '')!r} has no usable ids{shown}; name another of {listed(columns)}: "
            f"{_inspect(root)} --map id={_quoted(guess)}"
        )
    if kind == "not_shown":
        return (
            f"the shop shows none of them{shown}; to use them nevertheless, read the columns as they are: "
            f"{_inspect(root)} --reader table"
        )
    if kind == "unsafe_picture":
        return f"the pictures lead out of the folder{shown}; copy them below {root} and name them by relative paths"
    if kind == "unreadable_row":
        return f"its rows have more fields than its header{shown}; quote fields that have the delimiter in them"
    return ""


def _why_no_picture(columns: Sequence[str], picture: str | None, shown: str, root: Path, *, missing_links: int) -> str:
    below = next(picture_files(root), None)
    if missing_links:
        return (
            f"the pictures are links, and no file of that name is below {root}{shown}; copy the pictures there, or "
            f"download them: vitrine index --dataset NAME --model MODEL --root {_quoted(str(root))} --download"
        )
    if below is None:
        return f"there is no picture below {root}{shown}; copy the pictures there"
    if picture is None:
        guess = _likely_picture(columns)
        return (
            f"no column has the pictures, and none below {root} is named like an id{shown}; there is {below!r}. Name "
            f"the column: {_inspect(root)} --map picture={_quoted(guess)}"
        )
    return (
        f"no file below {root} is named as the column {picture!r} says{shown}; there is {below!r}. If another column "
        f"has the names: {_inspect(root)} --map picture=COLUMN, of {listed(columns)}"
    )


def _likely_picture(columns: Sequence[str]) -> str:
    words = ("im", "pic", "pho", "foto", "bild", "file", "url", "link", "media", "src")
    likely = [column for column in columns if is_picture(column)]
    likely += [column for column in columns if any(word in column.casefold() for word in words)]
    return likely[0] if likely else "COLUMN"


def _inspect(root: Path) -> str:
    return f"vitrine catalog inspect {_quoted(str(root))}"


def _quoted(text: str) -> str:
    plain = text.replace("_", "").replace("-", "").replace(".", "").replace("/", "")
    return text if plain.isalnum() and plain.isascii() else "'" + text.replace("'", "'\\''") + "'"
