"""Report of a PCA search: the objective, the explained variance and the size of a vector for every number of components
that was tried, as curves and JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainer.reports.rendering import (
    FAINT_INK,
    INK,
    LABEL_PT,
    SERIES,
    SMALL_PT,
    TITLE_PT,
    font,
    new_figure,
    style_axes,
    write_png,
)
from vitrine.atomic_write import write_json
from vitrine.evaluation import Interval
from vitrine.types import Values

OBJECTIVE: Final = "objective"
CURVES_FILE: Final = "tuning.png"
POINTS_FILE: Final = "tuning.json"
_WIDTH_IN: Final = 13.5
_HEIGHT_IN: Final = 4.4
_BYTES_PER_COMPONENT: Final = 4
_SERIES_LABEL: Final = {True: "whitened", False: "not whitened"}


@dataclass(frozen=True, slots=True)
class SizePoint:
    """A number of components, with or without whitening, and its measures on validation queries.

    `means` and `intervals` are by measure, OBJECTIVE included.
    """

    components: int
    whiten: bool
    explained_variance: float
    means: Mapping[str, float]
    intervals: Mapping[str, Interval]

    def as_json(self) -> dict[str, Any]:
        return {
            "components": self.components,
            "whiten": self.whiten,
            "explained_variance": round(self.explained_variance, 9),
            "means": dict(self.means),
            "intervals": {name: [interval.low, interval.high] for name, interval in self.intervals.items()},
        }


def write_pca_search(
    folder: Path,
    points: Sequence[SizePoint],
    *,
    chosen: SizePoint,
    best: SizePoint,
    explained: Values,
    queries: int,
) -> list[str]:
    """Write tuning.png and tuning.json and return the file names.

    `explained` (n,) are the shares of the variance that each component explains, `queries` the number of queries.
    """
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "queries": queries,
        "chosen": chosen.as_json(),
        "best": best.as_json(),
        "explained_variance": [round(float(share), 9) for share in explained],
        "points": [point.as_json() for point in points],
    }
    write_json(folder / POINTS_FILE, document)
    write_png(folder / CURVES_FILE, draw_pca_search(points, chosen=chosen, explained=explained))
    return [CURVES_FILE, POINTS_FILE]


def draw_pca_search(points: Sequence[SizePoint], *, chosen: SizePoint, explained: Values) -> Figure:
    """Three panels: objective, explained variance, objective against the size of a vector."""
    figure = new_figure(_WIDTH_IN, _HEIGHT_IN)
    objective, variance, cost = figure.subplots(1, 3)
    figure.subplots_adjust(left=0.05, right=0.985, bottom=0.13, top=0.84, wspace=0.22)
    series = {whiten: [point for point in points if point.whiten == whiten] for whiten in (False, True)}
    _draw_objective(objective, series, chosen)
    _draw_variance(variance, explained, chosen)
    _draw_cost(cost, series, chosen)
    for axes in (objective, variance, cost):
        axes.set_xscale("log")
        style_axes(axes)
    return figure


def _draw_objective(axes: Axes, series: Mapping[bool, Sequence[SizePoint]], chosen: SizePoint) -> None:
    _label(axes, "Objective on validation, with its 95 % interval", "components")
    for color, (whiten, points) in zip(SERIES, series.items(), strict=False):
        if not points:
            continue
        sizes = [point.components for point in points]
        means = [point.means[OBJECTIVE] for point in points]
        axes.plot(sizes, means, color=color, label=_SERIES_LABEL[whiten], lw=1.6)
        low = [point.intervals[OBJECTIVE].low for point in points]
        high = [point.intervals[OBJECTIVE].high for point in points]
        axes.fill_between(sizes, low, high, color=color, alpha=0.15, lw=0)
    axes.plot([chosen.components], [chosen.means[OBJECTIVE]], "o", color=INK, ms=6)
    axes.annotate(
        f"{chosen.components}, {_SERIES_LABEL[chosen.whiten]}",
        (chosen.components, chosen.means[OBJECTIVE]),
        textcoords="offset points",
        xytext=(6, -14),
        fontproperties=font(SMALL_PT),
        color=INK,
    )
    axes.legend(prop=font(SMALL_PT), frameon=False, labelcolor=FAINT_INK)


def _draw_variance(axes: Axes, explained: Values, chosen: SizePoint) -> None:
    _label(axes, "Explained variance", "components")
    numbers = range(1, len(explained) + 1)
    axes.plot(numbers, explained.cumsum(), color=SERIES[0], lw=1.6, label="cumulative")
    axes.plot(numbers, explained, color=SERIES[1], lw=1.6, label="of each component")
    axes.axvline(chosen.components, color=FAINT_INK, lw=0.8, ls=":")
    axes.set_ylim(0, 1.02)
    axes.legend(prop=font(SMALL_PT), frameon=False, labelcolor=FAINT_INK)


def _draw_cost(axes: Axes, series: Mapping[bool, Sequence[SizePoint]], chosen: SizePoint) -> None:
    # The time of an exact search grows in proportion to the size of a vector.
    _label(axes, "Objective against the size of a vector", "bytes per vector")
    for color, points in zip(SERIES, series.values(), strict=False):
        if points:
            sizes = [point.components * _BYTES_PER_COMPONENT for point in points]
            axes.plot(sizes, [point.means[OBJECTIVE] for point in points], color=color, lw=1.6)
    axes.axvline(chosen.components * _BYTES_PER_COMPONENT, color=FAINT_INK, lw=0.8, ls=":")


def _label(axes: Axes, title: str, below: str) -> None:
    axes.set_title(title, loc="left", color=INK, fontproperties=font(TITLE_PT, bold=True), pad=10)
    axes.set_xlabel(below, color=FAINT_INK, fontproperties=font(LABEL_PT))
