"""A small catalogue with texts that try to break a page."""

from __future__ import annotations

import csv
import html
from pathlib import Path
from typing import Final

from vitrine_local.demo_catalog.generate import draw_garment

HOSTILE: Final = "hostile"
# By product id: markup, an unbreakable word, right-to-left text, unusual characters, quotes.
NAMES: Final = {
    "script": "<script>alert(1)</script>",
    "image": '<img src=x onerror="alert(2)">',
    "attribute": "\" autofocus onfocus='alert(3)' x=\"",
    "template": "{{ 7 * 7 }} ${7 * 7} {% raw %}",
    "long": "W" * 300,
    "arabic": "فستان صيفي أزرق للنساء",
    "hebrew-in-latin": "Shirt \u202e\u05d7\u05d5\u05dc\u05e6\u05d4 blue",
    "emoji": "👗👠🧑🏽‍🦱 Fête d'été",
}
# A value that becomes the text of a filter.
COLOUR: Final = '<b>Red</b> & "Blue"'


def write_hostile_catalog(folder: Path) -> Path:
    """Write the catalogue to a new folder, for the reader `folder`. Returns the folder."""
    (folder / "images").mkdir(parents=True)
    with (folder / "products.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "name", "gender", "articleType", "baseColour", "year"])
        for number, (product_id, name) in enumerate(NAMES.items()):
            # Markup would be removed from a name; what is written with entities is kept, as these characters.
            written = html.escape(name, quote=False) if "<" in name else name
            rows.writerow([product_id, written, "Women", "Dresses", COLOUR, 2012 + number])
            picture = draw_garment("Dresses", "Red", "plain", "Women", number, (240, 320), design=number)
            picture.save(folder / "images" / f"{product_id}.jpg")
    return folder
