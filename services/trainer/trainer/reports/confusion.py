"""Which classes are taken for which: the confusion matrix in counts and in shares of each true class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import FuncFormatter

from trainer.reports.files import write_json, write_png
from trainer.reports.style import (
    BLANK,
    FAINT_INK,
    INK,
    LABEL_PT,
    PAPER,
    POINTS_PER_INCH,
    RULE,
    TITLE_PT,
    fitted,
    font,
    new_figure,
    width_in,
)

Counts = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]

COUNTS_FILE: Final = "confusion-counts.png"
NORMALISED_FILE: Final = "confusion-normalised.png"
CONFUSION_FILE: Final = "confusion.json"

_WIDEST_CELL_IN: Final = 0.42
_MATRIX_IN: Final = 15.5  # the side of a matrix of many classes, whose cells become smaller instead
_NARROWEST_MATRIX_IN: Final = 2.6
_NUMBERED_CELL_IN: Final = 0.3
_NARROWEST_LABEL_IN: Final = 0.1
_SMALLEST_LABEL_PT: Final = 4.5
_WIDEST_LABEL_IN: Final = 2.2
_MARGIN_IN: Final = 0.35
_HEAD_IN: Final = 0.6
_BAR_IN: Final = 0.16
_BAR_SPACE_IN: Final = 1.0


def confusion_counts(truth: Codes, predicted: Codes, classes: int) -> Counts:
    """(C, C) int64: how often the class of the row was taken for that of the column.

    `truth` and `predicted` are (N,) from 0 to C - 1. Raises ValueError for any other code.
    """
    if truth.shape != predicted.shape or truth.ndim != 1:
        raise ValueError(f"truth {truth.shape} and predictions {predicted.shape} do not belong together")
    for codes in (truth, predicted):
        if len(codes) and not (codes.min() >= 0 and codes.max() < classes):
            raise ValueError(f"a class code is outside 0 to {classes - 1}")
    cells = truth.astype(np.int64) * classes + predicted.astype(np.int64)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


def write_confusion(folder: Path, counts: Counts, labels: Sequence[str]) -> list[str]:
    """Write the two drawings and confusion.json, and return their names."""
    if counts.shape != (len(labels), len(labels)) or not labels:
        raise ValueError(f"counts of shape {counts.shape} do not belong to {len(labels)} labels")
    write_json(folder / CONFUSION_FILE, confusion_document(counts, labels), indent=None)
    write_png(folder / COUNTS_FILE, draw_counts(counts, labels))
    write_png(folder / NORMALISED_FILE, draw_normalised(counts, labels))
    return [COUNTS_FILE, NORMALISED_FILE, CONFUSION_FILE]


def confusion_document(counts: Counts, labels: Sequence[str]) -> dict[str, Any]:
    """The matrix with each class's precision, recall and support; null where nothing was predicted or true."""
    right, true, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    return {
        "labels": list(labels),
        "accuracy": _ratio(right.sum(), counts.sum()),
        "per_class": [
            {
                "label": label,
                "precision": _ratio(right[code], predicted[code]),
                "recall": _ratio(right[code], true[code]),
                "support": int(true[code]),
            }
            for code, label in enumerate(labels)
        ],
        "counts": counts.tolist(),
    }


def normalised(counts: Counts) -> Shares:
    """(C, C) float64 rows that add up to 1; NaN in the row of a class that never occurs."""
    totals = counts.sum(axis=1, keepdims=True)
    shares: Shares = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    return shares


def draw_counts(counts: Counts, labels: Sequence[str]) -> Figure:
    """Colours on a logarithmic scale, so that a few mistakes show beside thousands of hits; 0 stays white."""
    most = max(2, int(counts.max()))
    # Powers of ten, and the largest count where it is clear of the last of them.
    powers = [10**power for power in range(len(str(most)))]
    return _draw(
        np.where(counts > 0, counts.astype(np.float64), np.nan),
        labels,
        title="Confusion, in pictures",
        norm=LogNorm(1, most),
        blank=PAPER,
        numbers=np.where(counts > 0, counts.astype(str), ""),
        ticks=[*powers, most] if most >= 2 * powers[-1] else powers,
        tick="{:,.0f}",
    )


def draw_normalised(counts: Counts, labels: Sequence[str]) -> Figure:
    """Shares of each row in percent, the small ones drawn out; grey is the row of a class that never occurs."""
    percent = 100 * normalised(counts)
    numbers = np.where(percent >= 0.5, np.char.mod("%.0f", np.nan_to_num(percent)), "")
    return _draw(
        percent,
        labels,
        title="Confusion, in percent of the true class",
        norm=PowerNorm(0.5, 0, 100),
        blank=BLANK,
        numbers=numbers,
        ticks=(0, 1, 5, 20, 50, 100),
        tick="{:.0f} %",
    )


def _draw(
    values: Shares,
    labels: Sequence[str],
    *,
    title: str,
    norm: Normalize,
    blank: str,
    numbers: npt.NDArray[np.str_],
    ticks: Sequence[int],
    tick: str,
) -> Figure:
    """The matrix at a size that follows from its cells, margins as wide as the labels."""
    size = len(labels)
    cell_in = min(_WIDEST_CELL_IN, _MATRIX_IN / size)
    side_in = max(size * cell_in, _NARROWEST_MATRIX_IN)
    cell_in = side_in / size
    label_pt = min(LABEL_PT, max(_SMALLEST_LABEL_PT, 0.62 * cell_in * POINTS_PER_INCH))
    shown = [fitted(label, label_pt, _WIDEST_LABEL_IN) for label in labels]
    label_in = max(width_in(label, label_pt) for label in shown) + 0.45
    width, height = label_in + side_in + _BAR_SPACE_IN, _HEAD_IN + side_in + label_in
    width = max(width, _MARGIN_IN * 2 + width_in(title, TITLE_PT, bold=True))
    figure = new_figure(width, height)
    axes = figure.add_axes((label_in / width, label_in / height, side_in / width, side_in / height))
    colours = matplotlib.colormaps["Blues"].with_extremes(bad=blank)
    drawn = axes.imshow(
        np.ma.masked_invalid(values), cmap=colours, norm=norm, origin="upper", interpolation="nearest", aspect="auto"
    )
    _label(axes, shown, label_pt, every=math.ceil(_NARROWEST_LABEL_IN / cell_in))
    if cell_in >= _NUMBERED_CELL_IN:
        _number(axes, values, numbers, norm)
    figure.text(
        *(0.12 / width, 1 - 0.3 / height, title),
        fontproperties=font(TITLE_PT, bold=True),
        color=INK,
        va="center",
    )
    bar_in = min(side_in, 4.0)
    left, bottom = label_in + side_in + 0.18, label_in + side_in - bar_in
    bar_axes = figure.add_axes((left / width, bottom / height, _BAR_IN / width, bar_in / height))
    _explain_colours(figure, drawn, bar_axes, ticks, tick)
    return figure


def _explain_colours(figure: Figure, drawn: AxesImage, axes: Axes, ticks: Sequence[int], tick: str) -> None:
    words = FuncFormatter(lambda value, _: tick.format(value))
    bar = figure.colorbar(drawn, cax=axes, ticks=list(ticks), format=words)
    bar.outline.set_visible(False)
    axes.minorticks_off()
    axes.tick_params(colors=FAINT_INK, length=2)
    for text in axes.get_yticklabels():
        text.set_fontproperties(font(LABEL_PT - 1))


def _label(axes: Axes, labels: Sequence[str], size_pt: float, *, every: int) -> None:
    places = range(0, len(labels), every)
    words = [labels[place] for place in places]
    axes.set_xticks(places, words, rotation=90, fontproperties=font(size_pt), color=INK, parse_math=False)
    axes.set_yticks(places, words, fontproperties=font(size_pt), color=INK, parse_math=False)
    axes.tick_params(length=0, pad=3)
    axes.set_xlabel("predicted", fontproperties=font(LABEL_PT), color=FAINT_INK)
    axes.set_ylabel("true", fontproperties=font(LABEL_PT), color=FAINT_INK)
    axes.spines[:].set_color(RULE)


def _number(axes: Axes, values: Shares, numbers: npt.NDArray[np.str_], norm: Normalize) -> None:
    longest = max(len(number) for number in numbers.flat)
    for row, column in np.argwhere(numbers != ""):
        dark = float(norm(values[row, column])) > 0.55
        axes.text(
            *(column, row, numbers[row, column]),
            ha="center",
            va="center",
            fontproperties=font(min(8.0, 27.0 / max(3, longest))),
            color=PAPER if dark else INK,
        )


def _ratio(part: np.int64, whole: np.int64) -> float | None:
    return float(part / whole) if whole else None
