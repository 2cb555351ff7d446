"""The maps of a catalogue as files: a PNG for each way of laying out, the numbers, and a page with the pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from trainer.data.dataset import combination
from trainer.evaluation.contest import check_known
from trainer.evaluation.features import Pictures
from trainer.evaluation.gallery_pictures import address_of
from trainer.evaluation.maps import Method, lay_out
from trainer.reports.files import write_json, write_png
from trainer.reports.map import colours_of, draw_map
from vitrine.evaluation import Vectors
from vitrine.products import Product

PAGE_FILE: Final = "index.html"
_PICTURE_PX: Final = 72
_NAME: Final = "name"
# What the pages can color points by, beside what was asked for: attributes that say the same of many products.
_MOST_ATTRIBUTES: Final = 8
_MOST_VALUES: Final = 200


def write_maps(
    folder: Path,
    pictures: Pictures,
    rows: Sequence[int],
    vectors: Vectors,
    *,
    methods: Sequence[Method],
    colour: str,
    seed: int,
    title: str,
    step: Callable[[str], None],
) -> None:
    """Lay out `vectors` (N, D), those of the pictures at `rows`, and write the files. `step` is told what is being done
    and may raise to stop. Raises ParameterInvalid where no product has the attribute, EvaluationImpossible for too few
    vectors.
    """
    values = [combination(pictures.products[row], (colour,)) for row in rows]
    check_known(colour, values)
    colours = colours_of(values)
    planes = {}
    for method in methods:
        step(f"laying out by {method}")
        planes[method] = lay_out(vectors, method, seed=seed)
    step("writing the maps")
    for name, plane in planes.items():
        write_png(folder / f"{name}.png", draw_map(plane, values, colours, title=title))
    shown = [pictures.products[row] for row in rows]
    content = {
        "title": title,
        "dataset": pictures.catalog.dataset,
        "attribute": colour,
        "ids": [product.id for product in shown],
        "names": [str(product.attributes.get(_NAME, "")) for product in shown],
        "attributes": {name: column for name in _attributes(shown, colour) if (column := _column(shown, name))},
        "values": values,
        "colours": colours,
        "planes": {name: np.round(plane, 4).tolist() for name, plane in planes.items()},
    }
    write_json(folder / "map.json", content, indent=None)
    thumbnail = partial(address_of, pictures, side_px=_PICTURE_PX)
    # "<" would end the script element that holds the data, whatever the data is.
    data = json.dumps({**content, "pictures": [thumbnail(row) for row in rows]}).replace("<", "\\u003c")
    template = Environment(
        loader=PackageLoader("trainer.evaluation", "."), autoescape=True, undefined=StrictUndefined
    ).get_template("map.html.j2")
    facts = f"{len(rows):,} pictures of {pictures.catalog.dataset}, seed {seed}"
    page = template.render(title=title, facts=facts, data=Markup(data))  # noqa: S704 - escaped for its place above
    (folder / PAGE_FILE).write_text(page, encoding="utf-8")


def _attributes(products: Sequence[Product], colour: str) -> list[str]:
    """The attribute that was asked for, then others by name."""
    others = sorted({name for product in products for name in product.attributes} - {colour, _NAME})
    return [colour, *others][:_MOST_ATTRIBUTES]


def _column(products: Sequence[Product], name: str) -> list[str | None]:
    """Each product's value of an attribute; empty where nearly every value is another one's."""
    values = [product.attributes.get(name) for product in products]
    texts = [None if value is None else str(value) for value in values]
    return texts if len(set(texts)) <= min(_MOST_VALUES, max(2, len(texts) // 2)) else []
