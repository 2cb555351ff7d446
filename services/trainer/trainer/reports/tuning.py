"""The curves of a PCA tuning: what is found with so many components, how much of the variance they explain, and what a
vector costs. Their numbers stand beside them as JSON.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainer.evaluation.tuning import OBJECTIVE, Point, Tuning
from trainer.reports.files import write_json, write_png
from trainer.reports.style import (
    FAINT_INK,
    INK,
    LABEL_PT,
    SERIES,
    SMALL_PT,
    TITLE_PT,
    font,
    new_figure,
    quieten,
)

CURVES_FILE: Final = "tuning.png"
POINTS_FILE: Final = "tuning.json"
_WIDTH_IN: Final = 13.5
_HEIGHT_IN: Final = 4.4
_BYTES_A_COMPONENT: Final = 4
_CALLED: Final = {True: "whitened", False: "not whitened"}


def write_tuning(folder: Path, tuning: Tuning) -> list[str]:
    """Write tuning.png and tuning.json and return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / POINTS_FILE, tuning_document(tuning))
    write_png(folder / CURVES_FILE, draw_tuning(tuning))
    return [CURVES_FILE, POINTS_FILE]


def tuning_document(tuning: Tuning) -> dict[str, object]:
    """Every point that was tried, and the share of the variance that each component explains."""
    return {
        "queries": tuning.queries,
        "chosen": _document(tuning.chosen),
        "best": _document(tuning.best),
        "explained_variance": [round(float(share), 9) for share in tuning.pca.explained],
        "points": [_document(point) for point in tuning.points],
    }


def draw_tuning(tuning: Tuning) -> Figure:
    """Three panels side by side."""
    figure = new_figure(_WIDTH_IN, _HEIGHT_IN)
    found, variance, cost = figure.subplots(1, 3)
    figure.subplots_adjust(left=0.05, right=0.985, bottom=0.13, top=0.84, wspace=0.22)
    _draw_found(found, tuning)
    _draw_variance(variance, tuning)
    _draw_cost(cost, tuning)
    for axes in (found, variance, cost):
        axes.set_xscale("log")
        quieten(axes)
    return figure


def _draw_found(axes: Axes, tuning: Tuning) -> None:
    _label(axes, "Objective on validation, with its 95 % interval", "components")
    for colour, whiten in zip(SERIES, (False, True), strict=False):
        points = _of(tuning, whiten)
        if not points:
            continue
        sizes = [point.components for point in points]
        axes.plot(sizes, [point.means[OBJECTIVE] for point in points], color=colour, label=_CALLED[whiten], lw=1.6)
        low = [point.intervals[OBJECTIVE].low for point in points]
        high = [point.intervals[OBJECTIVE].high for point in points]
        axes.fill_between(sizes, low, high, color=colour, alpha=0.15, lw=0)
    kept = tuning.chosen
    axes.plot([kept.components], [kept.means[OBJECTIVE]], "o", color=INK, ms=6)
    axes.annotate(
        f"{kept.components}, {_CALLED[kept.whiten]}",
        (kept.components, kept.means[OBJECTIVE]),
        textcoords="offset points",
        xytext=(6, -14),
        fontproperties=font(SMALL_PT),
        color=INK,
    )
    axes.legend(prop=font(SMALL_PT), frameon=False, labelcolor=FAINT_INK)


def _draw_variance(axes: Axes, tuning: Tuning) -> None:
    _label(axes, "Explained variance", "components")
    share = tuning.pca.explained
    numbers = range(1, len(share) + 1)
    axes.plot(numbers, share.cumsum(), color=SERIES[0], lw=1.6, label="all up to this one")
    axes.plot(numbers, share, color=SERIES[1], lw=1.6, label="this one alone")
    axes.axvline(tuning.chosen.components, color=FAINT_INK, lw=0.8, ls=":")
    axes.set_ylim(0, 1.02)
    axes.legend(prop=font(SMALL_PT), frameon=False, labelcolor=FAINT_INK)


def _draw_cost(axes: Axes, tuning: Tuning) -> None:
    # The time of an exact search grows with the same number: each component is one product more.
    _label(axes, "Objective against the size of a vector", "bytes a vector")
    for colour, whiten in zip(SERIES, (False, True), strict=False):
        points = _of(tuning, whiten)
        if points:
            sizes = [point.components * _BYTES_A_COMPONENT for point in points]
            axes.plot(sizes, [point.means[OBJECTIVE] for point in points], color=colour, lw=1.6)
    axes.axvline(tuning.chosen.components * _BYTES_A_COMPONENT, color=FAINT_INK, lw=0.8, ls=":")


def _of(tuning: Tuning, whiten: bool) -> list[Point]:
    return [point for point in tuning.points if point.whiten == whiten]


def _label(axes: Axes, title: str, below: str) -> None:
    axes.set_title(title, loc="left", color=INK, fontproperties=font(TITLE_PT, bold=True), pad=10)
    axes.set_xlabel(below, color=FAINT_INK, fontproperties=font(LABEL_PT))


def _document(point: Point) -> dict[str, object]:
    return {
        "components": point.components,
        "whiten": point.whiten,
        "explained_variance": round(point.explained_variance, 9),
        "means": dict(point.means),
        "intervals": {name: [interval.low, interval.high] for name, interval in point.intervals.items()},
    }
