"""Report of the `visualize` job: a scatter plot of each layout as PNG, the coordinates as JSON, and an interactive page
that shows the pictures.
"""

from __future__ import annotations

import colorsys
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from matplotlib.figure import Figure

from trainer.reports.rendering import (
    FAINT_INK,
    INK,
    SMALL_PT,
    TITLE_PT,
    drawable,
    font,
    new_figure,
    render_page,
    write_png,
)
from vitrine.atomic_write import write_json, write_text
from vitrine.products import Product

PAGE_FILE: Final = "index.html"
JSON_FILE: Final = "map.json"

Plane = npt.NDArray[np.float64]

_SIDE_IN: Final = 9.0
_LEGEND_IN: Final = 3.0
_MAX_LEGEND_ENTRIES: Final = 30
_OTHER: Final = "#b8bcc4"
_NAME: Final = "name"
# Limits of the attributes that the page offers for coloring. An attribute that is nearly unique is of no use there.
_MAX_ATTRIBUTES: Final = 8
_MAX_VALUES: Final = 200


def write_maps(
    folder: Path,
    products: Sequence[Product],
    planes: Mapping[str, Plane],
    *,
    values: Sequence[str | None],
    color_by: str,
    dataset: str,
    seed: int,
    title: str,
    thumbnail: Callable[[Product], str],
) -> None:
    """Write a PNG for each of `planes`, map.json and index.html.

    `planes` are layouts (N, 2) in [0, 1] by method. `values` are the products' values of the attribute `color_by`.
    `thumbnail` returns a picture as a data URL, or an empty string.
    """
    folder.mkdir(parents=True, exist_ok=True)
    colors = colors_of(values)
    for method, plane in planes.items():
        write_png(folder / f"{method}.png", draw_map(plane, values, colors, title=title))
    document = {
        "title": title,
        "dataset": dataset,
        "attribute": color_by,
        "ids": [product.id for product in products],
        "names": [str(product.attributes.get(_NAME, "")) for product in products],
        "attributes": _attribute_columns(products, color_by),
        "values": values,
        "colours": colors,
        "planes": {method: np.round(plane, 4).tolist() for method, plane in planes.items()},
    }
    write_json(folder / JSON_FILE, document, indent=None)
    facts = f"{len(products):,} pictures of {dataset}, seed {seed}"
    data = _script_json({**document, "pictures": [thumbnail(product) for product in products]})
    write_text(folder / PAGE_FILE, render_page("map.html.j2", title=title, facts=facts, data=data))


def draw_map(plane: Plane, values: Sequence[str | None], colors: Mapping[str, str], *, title: str) -> Figure:
    """A scatter plot of `plane` (N, 2). A point whose value is None or has no color is gray."""
    figure = new_figure(_SIDE_IN + _LEGEND_IN, _SIDE_IN)
    axes = figure.add_axes((0.02, 0.02, _SIDE_IN / (_SIDE_IN + _LEGEND_IN) - 0.02, 0.92))
    axes.set_axis_off()
    point_colors = [_OTHER if value is None else colors.get(value, _OTHER) for value in values]
    axes.scatter(plane[:, 0], plane[:, 1], s=14, c=point_colors, linewidths=0, alpha=0.8)
    figure.text(0.02, 0.955, drawable(title), color=INK, fontproperties=font(TITLE_PT, bold=True))
    left = _SIDE_IN / (_SIDE_IN + _LEGEND_IN) + 0.01
    for place, (value, color) in enumerate(list(colors.items())[:_MAX_LEGEND_ENTRIES]):
        down = 0.92 - place * 0.03
        figure.text(left, down, "\N{BLACK CIRCLE}", color=color, fontproperties=font(SMALL_PT + 3))
        figure.text(left + 0.02, down, drawable(value), color=FAINT_INK, fontproperties=font(SMALL_PT))
    return figure


def colors_of(values: Sequence[str | None]) -> dict[str, str]:
    """A color for each value, the most frequent first. Neighboring hues are a golden angle apart, so they differ."""
    counts = Counter(value for value in values if value is not None)
    ordered = sorted(counts, key=lambda value: (-counts[value], value))
    return {value: _color(place) for place, value in enumerate(ordered)}


def _color(place: int) -> str:
    hue = (place * 0.618034) % 1.0
    lightness = (0.42, 0.58, 0.34)[place % 3]
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.62)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def _attribute_columns(products: Sequence[Product], color_by: str) -> dict[str, list[str | None]]:
    """The products' values by attribute: `color_by`, then others in alphabetical order."""
    others = sorted({name for product in products for name in product.attributes} - {color_by, _NAME})
    columns = {name: _column(products, name) for name in [color_by, *others][:_MAX_ATTRIBUTES]}
    return {name: column for name, column in columns.items() if column}


def _column(products: Sequence[Product], name: str) -> list[str | None]:
    values = [product.attributes.get(name) for product in products]
    texts = [None if value is None else str(value) for value in values]
    return texts if len(set(texts)) <= min(_MAX_VALUES, max(2, len(texts) // 2)) else []


def _script_json(document: Mapping[str, Any]) -> Markup:
    # A "<" could end the script element that holds the data.
    return Markup(json.dumps(document).replace("<", "\\u003c"))  # noqa: S704 - "<" is escaped
