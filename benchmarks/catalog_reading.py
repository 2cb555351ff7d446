"""Time and memory of reading a catalogue.

Writes a made catalogue of `--rows` products with ten attributes and a picture each (an empty file, as none is opened),
or a link that is found by its file name, and reads it in a process of its own with `read_catalog`. Other catalogues
are read as they are.

    python -m benchmarks.catalog_reading [--rows 1000000] [--forms csv quoted links jsonl] [--folder DIR]
        [--read READER=DIR ...]

`quoted` has a description of three lines in each row. Without `--folder`, the catalogue is written to a temporary
folder and removed afterwards.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.processes import own_cpu_s, own_peak_mb, run_module
from benchmarks.tables import head, row
from vitrine.catalogs import read_catalog

FORMS: Final = ("csv", "quoted", "links", "jsonl")
PICTURES_A_FOLDER: Final = 1000
COLUMNS: Final = (
    "id", "image", "brand", "gender", "category", "colours", "size", "price", "stock", "onSale", "added", "title",
)  # fmt: skip
BRANDS: Final = tuple(f"{first} {second}" for first in ("Atelier", "North", "Maru", "Lumen") for second in "ABCDEFGH")
GENDERS: Final = ("Women", "Men", "Girls", "Boys", "Unisex")
CATEGORIES: Final = tuple(
    f"Clothing > {first} > {second}"
    for first in ("Dresses", "Shirts", "Trousers", "Coats")
    for second in ("Mini", "Midi", "Maxi", "Wide", "Slim")
)
COLOURS: Final = ("Red", "Blue", "Green", "Black", "White", "Navy", "Beige")
SIZES: Final = ("36", "37.5", "38", "39.5", "40")


def main() -> int:
    arguments = parse_arguments()
    if arguments.worker:
        json.dump(read_once(json.load(sys.stdin)), sys.stdout)
        return 0
    print(head("catalogue", "file, MB", "rows", "products", "issues", "s", "CPU s", "peak MB"))
    if arguments.read:
        for text in arguments.read:
            reader, _, folder = text.partition("=")
            report(f"{Path(folder).name} ({reader})", reader, Path(folder))
        return 0
    root = arguments.folder or Path(tempfile.mkdtemp(prefix="catalog-reading-"))
    try:
        write_pictures(root, arguments.rows)
        for form in arguments.forms:
            write_table(root, arguments.rows, form)
            report(form, "folder", root)
    finally:
        if arguments.folder is None:
            shutil.rmtree(root)
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=["csv"])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--read", nargs="+", metavar="READER=DIR")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def report(name: str, reader: str, root: Path) -> None:
    done = run_module("benchmarks.catalog_reading", {"reader": reader, "root": str(root)}, "--worker")
    print(
        row(
            name,
            f"{done['bytes'] / 1e6:.0f}",
            f"{done['rows']:,}",
            f"{done['products']:,}",
            f"{done['issues']:,}",
            f"{done['s']:.1f}",
            f"{done['cpu_s']:.1f}",
            f"{done['peak_mb']:.0f}",
        ),
        flush=True,
    )


def read_once(order: dict[str, str]) -> dict[str, Any]:
    root = Path(order["root"])
    started, started_cpu = time.perf_counter(), own_cpu_s()
    catalog = read_catalog(order["reader"], root)
    return {
        "s": time.perf_counter() - started,
        "cpu_s": own_cpu_s() - started_cpu,
        "peak_mb": own_peak_mb(),
        "rows": catalog.rows,
        "products": len(catalog.products),
        "issues": len(catalog.issues),
        "bytes": sum(path.stat().st_size for path in root.iterdir() if path.is_file()),
    }


def picture(number: int) -> str:
    return f"images/{number // PICTURES_A_FOLDER:04}/{number:07}.jpg"


def write_pictures(root: Path, count: int) -> None:
    for number in range(count):
        if number % PICTURES_A_FOLDER == 0:
            (root / picture(number)).parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(root / picture(number), os.O_CREAT | os.O_WRONLY, 0o644))


def write_table(root: Path, count: int, form: str) -> None:
    for old in root.glob("products.*"):
        old.unlink()
    if form == "jsonl":
        with (root / "products.jsonl").open("w") as file:
            for fields in products(count, form):
                file.write(json.dumps(dict(zip(COLUMNS, fields, strict=True))) + "\n")
        return
    with (root / "products.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow((*COLUMNS, "description") if form == "quoted" else COLUMNS)
        writer.writerows(products(count, form))


def products(count: int, form: str) -> Iterator[list[Any]]:
    chance = random.Random(0)
    for number in range(count):
        shown = picture(number)
        if form == "links":
            shown = f"https://cdn.example.com/{shown}?v={number}"
        colours = "|".join(chance.sample(COLOURS, chance.randint(1, 3)))
        category = chance.choice(CATEGORIES)
        fields: list[Any] = [
            f"SKU-{number:07}", shown, chance.choice(BRANDS), chance.choice(GENDERS), category, colours,
            chance.choice(SIZES), f"{chance.randint(500, 30_000) / 100:.2f}", chance.randint(0, 500),
            "true" if chance.random() < 0.2 else "false", f"2024-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}",
            f"{category.rpartition(' ')[2]} garment {number} in {colours.lower()}",
        ]  # fmt: skip
        if form == "quoted":
            fields.append(f"<ul>\n  <li>Soft, light and {number % 900}</li>\n</ul>")
        yield fields


if __name__ == "__main__":
    sys.exit(main())
