"""Confusion matrix of a classifier: in counts, and in percent of each true class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.colors import LogNorm, Normalize, PowerNorm
from matplotlib.figure import Figure

from trainer.reports.rendering import (
    BLANK,
    FAINT_INK,
    FONT,
    INK,
    LABEL_PT,
    PAPER,
    POINTS_PER_INCH,
    TITLE_PT,
    fitted,
    font,
    new_figure,
    width_in,
    write_png,
)
from vitrine.atomic_write import write_json
from vitrine.types import Codes, Values

Counts = npt.NDArray[np.int64]

COUNTS_FILE: Final = "confusion-counts.png"
NORMALIZED_FILE: Final = "confusion-normalised.png"
CONFUSION_FILE: Final = "confusion.json"

_MAX_CELL_IN: Final = 0.42
_MIN_SIDE_IN: Final = 2.6
_MAX_SIDE_IN: Final = 15.5  # the cells of a matrix of many classes become smaller
_NUMBERED_CELL_IN: Final = 0.3
_MIN_LABEL_PT: Final = 4.5
_MAX_LABEL_IN: Final = 2.2
_AXIS_IN: Final = 0.45
_COLORBAR_IN: Final = 1.0  # with its numbers
_BAR_WIDTH_IN: Final = 0.2
_MAX_BAR_IN: Final = 4.0
_MARGIN_IN: Final = 0.12


def confusion_counts(truth: Codes, predicted: Codes, classes: int) -> Counts:
    """(C, C) int64: how often the class of the row was predicted as the class of the column.

    `truth` and `predicted` are (N,) codes in [0, C). Raises ValueError for other codes.
    """
    from sklearn.metrics import confusion_matrix  # takes seconds to import, and only publishing needs it

    if truth.shape != predicted.shape or truth.ndim != 1:
        raise ValueError(f"truth {truth.shape} and predictions {predicted.shape} do not belong together")
    for codes in (truth, predicted):
        if len(codes) and not (codes.min() >= 0 and codes.max() < classes):
            raise ValueError(f"a class code is outside 0 to {classes - 1}")
    if classes == 1:
        return np.array([[len(truth)]])  # scikit-learn warns
    counts: Counts = confusion_matrix(truth, predicted, labels=np.arange(classes)).astype(np.int64)
    return counts


def write_confusion(folder: Path, counts: Counts, labels: Sequence[str]) -> list[str]:
    """Write two matrices as PNG and confusion.json, and return the file names."""
    if counts.shape != (len(labels), len(labels)) or not labels:
        raise ValueError(f"counts of shape {counts.shape} do not belong to {len(labels)} labels")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CONFUSION_FILE, confusion_document(counts, labels), indent=None)
    write_png(folder / COUNTS_FILE, draw_counts(counts, labels))
    write_png(folder / NORMALIZED_FILE, draw_normalized(counts, labels))
    return [COUNTS_FILE, NORMALIZED_FILE, CONFUSION_FILE]


def confusion_document(counts: Counts, labels: Sequence[str]) -> dict[str, Any]:
    """The matrix with the precision, recall and support of each class. A ratio of nothing is None."""
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


def normalized(counts: Counts) -> Values:
    """(C, C) float64 rows that sum to 1, or NaN in the row of a class that never occurs."""
    totals = counts.sum(axis=1, keepdims=True)
    ratios: Values = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    return ratios


def draw_counts(counts: Counts, labels: Sequence[str]) -> Figure:
    """Colors on a logarithmic scale, so that a few errors are visible beside thousands of hits; 0 is white."""
    values = np.where(counts > 0, counts.astype(np.float64), np.nan)
    norm = LogNorm(1, max(2, int(counts.max())))
    return _draw(values, labels, "Confusion, in pictures", norm=norm, blank=PAPER, cell="{:.0f}", least=1)


def draw_normalized(counts: Counts, labels: Sequence[str]) -> Figure:
    """Percent of each row, on a scale that spreads the small values. The row of a class that never occurs is gray."""
    title, norm = "Confusion, in percent of the true class", PowerNorm(0.5, 0, 100)
    return _draw(100 * normalized(counts), labels, title, norm=norm, blank=BLANK, cell="{:.0f}", least=0.5)


def _draw(
    values: Values, labels: Sequence[str], title: str, *, norm: Normalize, blank: str, cell: str, least: float
) -> Figure:
    """scikit-learn's display at a size that follows from the number of classes. Values below `least` have no text."""
    from sklearn.metrics import ConfusionMatrixDisplay

    side_in = min(max(len(labels) * _MAX_CELL_IN, _MIN_SIDE_IN), _MAX_SIDE_IN)
    cell_in = side_in / len(labels)
    label_pt = min(LABEL_PT, max(_MIN_LABEL_PT, 0.62 * cell_in * POINTS_PER_INCH))
    shown = [fitted(label, label_pt, _MAX_LABEL_IN) for label in labels]
    label_in = max(width_in(label, label_pt) for label in shown) + _AXIS_IN
    total_in = max(label_in + side_in + _COLORBAR_IN, width_in(title, TITLE_PT, bold=True) + 2 * _MARGIN_IN)
    height_in = label_in + side_in + _AXIS_IN
    figure = new_figure(total_in, height_in)
    axes = figure.add_axes((label_in / total_in, label_in / height_in, side_in / total_in, side_in / height_in))
    numbered = cell_in >= _NUMBERED_CELL_IN
    colors = matplotlib.colormaps["Blues"].with_extremes(bad=blank)
    display = ConfusionMatrixDisplay(values, display_labels=shown).plot(
        ax=axes,
        include_values=numbered,
        xticks_rotation="vertical",
        colorbar=False,
        im_kw={"cmap": colors, "norm": norm},
    )
    if numbered:
        longest = len(cell.format(np.nanmax(values, initial=0)))
        for value, text in zip(values.flat, display.text_.flat, strict=True):
            text.set_text(cell.format(value) if value >= least else "")
            text.set(color=PAPER if norm(value) > 0.55 else INK, fontproperties=font(min(8.0, 27.0 / max(3, longest))))
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set(fontproperties=font(label_pt), color=INK, parse_math=False)
    axes.set_xlabel("predicted", fontproperties=font(LABEL_PT), color=FAINT_INK)
    axes.set_ylabel("true", fontproperties=font(LABEL_PT), color=FAINT_INK)
    figure.text(
        _MARGIN_IN / total_in,
        1 - _MARGIN_IN / height_in,
        title,
        va="top",
        fontproperties=font(TITLE_PT, bold=True),
        color=INK,
    )
    bar_in = min(side_in, _MAX_BAR_IN)
    bar_left_in, bar_bottom_in = label_in + side_in + _MARGIN_IN, label_in + side_in - bar_in
    place = (bar_left_in / total_in, bar_bottom_in / height_in, _BAR_WIDTH_IN / total_in, bar_in / height_in)
    bar = figure.colorbar(display.im_, cax=figure.add_axes(place))
    bar.ax.tick_params(colors=FAINT_INK, length=2, labelsize=LABEL_PT - 1, labelfontfamily=FONT)
    return figure


def _ratio(part: np.int64, whole: np.int64) -> float | None:
    return float(part / whole) if whole else None
