"""A map of pictures by their vectors, each a dot in its value's colour, as PNG."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from trainer.reports.style import FAINT_INK, INK, SMALL_PT, TITLE_PT, drawable, font, new_figure

_SIDE_IN: Final = 9.0
_LEGEND_IN: Final = 3.0
_MOST_NAMED: Final = 30
OTHER: Final = "#b8bcc4"


def draw_map(
    plane: npt.NDArray[np.float64], values: Sequence[str | None], colours: dict[str, str], *, title: str
) -> Figure:
    """`plane` (N, 2) from 0 to 1, and each picture's value, None for none. Values without a colour are grey."""
    figure = new_figure(_SIDE_IN + _LEGEND_IN, _SIDE_IN)
    axes = figure.add_axes((0.02, 0.02, _SIDE_IN / (_SIDE_IN + _LEGEND_IN) - 0.02, 0.92))
    axes.set_axis_off()
    shown = [colours.get(value, OTHER) if value is not None else OTHER for value in values]
    axes.scatter(plane[:, 0], plane[:, 1], s=14, c=shown, linewidths=0, alpha=0.8)
    figure.text(0.02, 0.955, drawable(title), color=INK, fontproperties=font(TITLE_PT, bold=True))
    named = list(colours.items())[:_MOST_NAMED]
    for place, (value, colour) in enumerate(named):
        down = 0.92 - place * 0.03
        left = _SIDE_IN / (_SIDE_IN + _LEGEND_IN) + 0.01
        figure.text(left, down, "\N{BLACK CIRCLE}", color=colour, fontproperties=font(SMALL_PT + 3))
        figure.text(left + 0.02, down, drawable(value), color=FAINT_INK, fontproperties=font(SMALL_PT))
    return figure


def colours_of(values: Sequence[str | None]) -> dict[str, str]:
    """A colour for each value, the commonest first: hues a golden angle apart, so that neighbours differ."""
    counts: dict[str, int] = {}
    for value in values:
        if value is not None:
            counts[value] = counts.get(value, 0) + 1
    ordered = sorted(counts, key=lambda value: (-counts[value], value))
    return {value: _hue(place) for place, value in enumerate(ordered)}


def _hue(place: int) -> str:
    hue = (place * 0.618034) % 1.0
    lightness = (0.42, 0.58, 0.34)[place % 3]
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.62)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"
