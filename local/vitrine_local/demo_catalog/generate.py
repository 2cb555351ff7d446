"""Generates a catalogue of drawn garments, for the demo and for tests.

It has the file layout of the Fashion Product catalogue, or that of a Shopify export. The same count and seed give the
same bytes in every file.
There are several pieces of each design, in one or two colours, so that a search has something to find. The folder
appears complete or not at all.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeVar

from vitrine.atomic_write import atomic_folder, remove_leftovers
from vitrine.catalogs.fashion_product import COLUMNS, CSV_NAME, ID_COLUMN, PICTURE_FOLDER
from vitrine.catalogs.model import Catalog
from vitrine.catalogs.registry import read_catalog
from vitrine.errors import ParameterInvalid
from vitrine_local.demo_catalog.garment import DEFAULT_SIZE, KINDS, Kind, draw_garment
from vitrine_local.demo_catalog.style import COLOURS, number

T = TypeVar("T")
Layout = Literal["fashion-product", "shopify"]

__all__ = ["Layout", "draw_garment", "generate_catalog"]


MAX_COUNT: Final = 1_000_000
_FIRST_ID: Final = 10_001
_PIECES_A_DESIGN: Final = 3
_JPEG_QUALITY: Final = 90
# From about this number on, the start of another process pays off.
_PICTURES_A_PROCESS: Final = 150
_MAX_PROCESSES: Final = 8
_LINKS: Final = "https://cdn.example.com/s/files/1/0001/products"
_SHOPIFY_COLUMNS: Final = (
    "Handle", "Title", "Body (HTML)", "Vendor", "Type", "Tags", "Published", "Option1 Name", "Option1 Value",
    "Variant SKU", "Variant Price", "Image Src", "Image Position", "Google Shopping / Gender", "Status",
)  # fmt: skip
_SEASONS: Final = ("Spring", "Summer", "Fall", "Winter")
_BRANDS: Final = ("Norvale", "Tessaro", "Kiteline", "Brook and Fern", "Ostara", "Lumen", "Halden", "Maru", "Quillon")
_PATTERN_WORDS: Final = {
    "plain": "",
    "stripes": "Striped",
    "pinstripes": "Pinstriped",
    "checks": "Checked",
    "dots": "Polka Dot",
    "gradient": "Ombre",
    "floral": "Floral",
    "zigzag": "Zigzag",
}


@dataclass(frozen=True, slots=True)
class _Item:
    """One product to draw. `design` and `piece` are as in `draw_garment`."""

    product_id: int
    kind: Kind
    gender: str
    colour: str
    pattern: str
    design: int
    piece: int
    season: str
    year: int
    usage: str
    brand: str

    def row(self) -> dict[str, str | int]:
        words = (self.brand, self.gender, self.colour, _PATTERN_WORDS[self.pattern], self.kind.noun)
        return {
            ID_COLUMN: self.product_id,
            "gender": self.gender,
            "masterCategory": self.kind.master_category,
            "subCategory": self.kind.sub_category,
            "articleType": self.kind.article_type,
            "baseColour": self.colour,
            "season": self.season,
            "year": self.year,
            "usage": self.usage,
            "productDisplayName": " ".join(word for word in words if word),
        }


def generate_catalog(
    folder: Path,
    *,
    count: int,
    seed: int,
    size: tuple[int, int] = DEFAULT_SIZE,
    layout: Layout = "fashion-product",
    processes: int | None = None,
) -> Catalog:
    """Draw a catalogue of `count` products into a new or empty folder, and read it.

    The layout `shopify` is that of a Shopify export: two pictures a product, given as links, and a row for each size.
    Pictures are JPEG files of `size` (width, height) pixels. `processes` draw in parallel; the default depends on the
    count and the number of cores. Raises ParameterInvalid if the count is not 1 to 1,000,000 or the folder not empty.
    """
    if not 1 <= count <= MAX_COUNT:
        raise ParameterInvalid(f"the count is {count}; it must be from 1 to {MAX_COUNT}")
    folder = folder.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ParameterInvalid(f"{folder} exists and is not an empty folder")
    items = _items(count, seed)
    remove_leftovers(folder)
    with atomic_folder(folder, durable=False) as unfinished:
        (unfinished / PICTURE_FOLDER).mkdir()
        if layout == "shopify":
            _write_shopify_export(unfinished, items, seed, size)
        else:
            with (unfinished / CSV_NAME).open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, (ID_COLUMN, *COLUMNS), lineterminator="\n")
                writer.writeheader()
                writer.writerows(item.row() for item in items)
            _draw_all(unfinished, items, seed, size, processes or _processes_for(count))
    return read_catalog("synthetic" if layout == "fashion-product" else layout, folder)


def draw_part(folder: Path, *, count: int, seed: int, size: tuple[int, int], part: int, parts: int) -> None:
    """Draw every `parts`-th picture of a catalogue, starting with number `part`."""
    _draw(folder, _items(count, seed)[part::parts], seed, size)


def _processes_for(count: int) -> int:
    return max(1, min(os.cpu_count() or 1, _MAX_PROCESSES, count // _PICTURES_A_PROCESS))


def _draw_all(folder: Path, items: Sequence[_Item], seed: int, size: tuple[int, int], processes: int) -> None:
    # Not a process pool: its workers would import the caller's main module, which can be any program.
    arguments = [str(folder), str(len(items)), str(seed), str(size[0]), str(size[1])]
    command = [sys.executable, "-m", "vitrine_local.demo_catalog", *arguments]
    helpers = [subprocess.Popen([*command, str(part), str(processes)]) for part in range(1, processes)]
    try:
        _draw(folder, items[::processes], seed, size)
        failed = [helper.args for helper in helpers if helper.wait() != 0]
        if failed:
            raise RuntimeError(f"a drawing process failed: {failed[0]!r}")
    finally:
        for helper in helpers:
            if helper.poll() is None:
                helper.kill()
                helper.wait()


def _draw(folder: Path, items: Sequence[_Item], seed: int, size: tuple[int, int]) -> None:
    for item in items:
        picture = draw_garment(
            item.kind.article_type,
            item.colour,
            item.pattern,
            item.gender,
            item.piece + 1000 * seed,
            size,
            design=item.design + 1_000_000 * seed,
        )
        picture.save(folder / PICTURE_FOLDER / f"{item.product_id}.jpg", "JPEG", quality=_JPEG_QUALITY)


def _write_shopify_export(folder: Path, items: Sequence[_Item], seed: int, size: tuple[int, int]) -> None:
    """Write products and pictures as Shopify exports them: the rows of a product's sizes and further pictures follow
    its first row and leave its title empty.
    """
    with (folder / "products_export.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _SHOPIFY_COLUMNS, lineterminator="\n", restval="")
        writer.writeheader()
        for item in items:
            handle = f"{item.kind.article_type}-{item.product_id}".lower().replace(" ", "-")
            pictures = [f"{handle}-{view}.jpg" for view in (1, 2)]
            for view, name in enumerate(pictures):
                picture = draw_garment(
                    item.kind.article_type,
                    item.colour,
                    item.pattern,
                    item.gender,
                    item.piece + 1000 * seed + 100 * view,
                    size,
                    design=item.design + 1_000_000 * seed,
                )
                picture.save(folder / PICTURE_FOLDER / name, "JPEG", quality=_JPEG_QUALITY)
            writer.writerows(_shopify_rows(item, handle, pictures))


def _shopify_rows(item: _Item, handle: str, pictures: Sequence[str]) -> Iterator[dict[str, object]]:
    row = item.row()
    price = 10 + item.product_id * 7 % 90
    product = {
        "Title": row["productDisplayName"],
        "Body (HTML)": f"<p>{row['productDisplayName']}, {item.usage.lower()} wear.</p>",
        "Vendor": item.brand,
        "Type": item.kind.article_type,
        "Tags": f"{item.season}, {item.usage}",
        "Published": "TRUE",
        "Option1 Name": "Size",
        "Google Shopping / Gender": item.gender,
        "Status": "active",
    }
    for position, size in enumerate(("S", "M", "L")):
        link = f"{_LINKS}/{pictures[position]}?v=1" if position < len(pictures) else ""
        yield {
            "Handle": handle,
            **(product if position == 0 else {}),
            "Option1 Value": size,
            "Variant SKU": f"{item.product_id}-{size}",
            "Variant Price": f"{price}.90",
            "Image Src": link,
            "Image Position": position + 1 if link else "",
        }


def _items(count: int, seed: int) -> list[_Item]:
    """The products of a catalogue. Each kind appears once before any repeats; pieces of a design are far apart."""
    designs = max(-(-count // _PIECES_A_DESIGN), min(count, len(KINDS)))
    return [_item(index % designs, index // designs, index, seed) for index in range(count)]


def _item(group: int, piece: int, index: int, seed: int) -> _Item:
    def pick(what: str, choices: Sequence[T], *where: object) -> T:
        return choices[int(number(seed, what, *where) * len(choices))]

    rounds, position = divmod(group, len(KINDS))
    kind = tuple(KINDS.values())[position]
    # Two rounds share a design, so that each design has two colours.
    design = rounds // 2
    where = (kind.article_type, design)
    return _Item(
        product_id=_FIRST_ID + index,
        kind=kind,
        gender=pick("gender", kind.genders, *where),
        colour=pick("colour", kind.colours or tuple(COLOURS), *where, rounds % 2),
        pattern=pick("pattern", kind.patterns, *where),
        design=design,
        piece=piece,
        season=pick("season", _SEASONS, *where),
        year=pick("year", range(2012, 2020), *where),
        usage=pick("usage", kind.usages, *where),
        brand=pick("brand", _BRANDS, *where),
    )
