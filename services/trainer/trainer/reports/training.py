"""Report of a training run: its history as curves and JSON, the confusion matrix, and the best and worst queries."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator
from PIL import Image

from trainer.reports.confusion import confusion_counts, write_confusion
from trainer.reports.gallery import ScoredQueries, write_gallery
from trainer.reports.rendering import (
    FAINT_INK,
    INK,
    LABEL_PT,
    PAPER,
    RULE,
    SERIES,
    TITLE_PT,
    font,
    new_figure,
    style_axes,
    write_png,
)
from vitrine.atomic_write import write_json
from vitrine.types import Codes

CURVES_FILE: Final = "curves.png"
HISTORY_FILE: Final = "history.json"

_WIDTH_IN: Final = 13.5
_HEIGHT_IN: Final = 4.4
_TITLE_AT: Final = 1.17  # in heights of the axes; the legend is between the title and the axes
_MANY_EPOCHS: Final = 40
# A learning rate that falls by more than this is easier to read on a logarithmic axis.
_WIDE_RANGE: Final = 20.0

_Series = tuple[str, list[float | None]]


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One epoch, counted from 1. A value that was not measured is None. Accuracies, precision and mean average
    precision are in [0, 1]; those two are of retrieval on the validation part. `mean_iou` is that of a parser.
    """

    epoch: int
    train_loss: float
    validation_loss: float | None
    train_accuracy: float | None
    validation_accuracy: float | None
    learning_rate: float
    precision_at_15: float | None
    mean_average_precision: float | None
    pictures_per_second: float
    seconds: float
    mean_iou: float | None = None


def write_report(
    folder: Path,
    *,
    history: Sequence[EpochRecord] = (),
    best_epoch: int | None = None,
    truth: Codes | None = None,
    predicted: Codes | None = None,
    classes: Sequence[str] = (),
    queries: ScoredQueries | None = None,
    picture: Callable[[str], Image.Image] | None = None,
) -> list[str]:
    """Write every part for which there is data, and return the file names.

    `truth` and `predicted` (N,) int64 are codes of `classes`. `picture` returns a picture by its product id, and is
    needed with `queries`.
    """
    written: list[str] = []
    if history:
        written += write_curves(folder, history, best_epoch=best_epoch)
    if truth is not None and predicted is not None and len(truth):
        written += write_confusion(folder, confusion_counts(truth, predicted, len(classes)), classes)
    if queries is not None and picture is not None:
        written += write_gallery(folder, queries, picture)
    return written


def history_document(records: Sequence[EpochRecord], *, best_epoch: int | None) -> dict[str, Any]:
    """The records as JSON. A value that is not finite becomes None: JSON has no NaN."""
    epochs = [{name: _finite_or_none(value) for name, value in asdict(record).items()} for record in records]
    return {"best_epoch": best_epoch, "epochs": epochs}


def write_curves(folder: Path, records: Sequence[EpochRecord], *, best_epoch: int | None = None) -> list[str]:
    """Write curves.png and history.json and return the file names. Raises ValueError if there is no epoch."""
    figure = draw_curves(records, best_epoch=best_epoch)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / HISTORY_FILE, history_document(records, best_epoch=best_epoch))
    write_png(folder / CURVES_FILE, figure)
    return [CURVES_FILE, HISTORY_FILE]


def draw_curves(records: Sequence[EpochRecord], *, best_epoch: int | None = None) -> Figure:
    """Three panels: loss, accuracy and retrieval, learning rate. Epochs without a measurement are skipped."""
    if not records:
        raise ValueError("the run has no epoch: there are no curves to draw")
    figure = new_figure(_WIDTH_IN, _HEIGHT_IN)
    losses, metrics, rates = figure.subplots(1, 3)
    figure.subplots_adjust(left=0.045, right=0.985, bottom=0.12, top=0.8, wspace=0.2)
    _draw_losses(losses, records)
    _draw_metrics(metrics, records)
    _draw_rates(rates, records)
    for axes in (losses, metrics, rates):
        _draw_epoch_axis(axes, records, best_epoch)
        _add_legend(axes)
        style_axes(axes)
    return figure


def _draw_losses(axes: Axes, records: Sequence[EpochRecord]) -> None:
    _title(axes, "Loss")
    _draw_lines(
        axes,
        records,
        [
            ("train", [record.train_loss for record in records]),
            ("validation", [record.validation_loss for record in records]),
        ],
    )
    if min(axes.get_ylim()) >= 0:
        axes.set_ylim(bottom=0)


def _draw_metrics(axes: Axes, records: Sequence[EpochRecord]) -> None:
    parses = any(record.mean_iou is not None for record in records)
    _title(axes, "Overlap of kinds" if parses else "Accuracy and retrieval")
    if parses:
        _draw_lines(axes, records, [("mean IoU", [record.mean_iou for record in records])])
        axes.set_ylim(0, 1.02)
        return
    _draw_lines(
        axes,
        records,
        [
            ("train accuracy", [record.train_accuracy for record in records]),
            ("validation accuracy", [record.validation_accuracy for record in records]),
            ("precision at 15", [record.precision_at_15 for record in records]),
            ("mean average precision", [record.mean_average_precision for record in records]),
        ],
    )
    axes.set_ylim(0, 1.02)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[2, 10]))


def _draw_rates(axes: Axes, records: Sequence[EpochRecord]) -> None:
    _title(axes, "Learning rate")
    rates = [record.learning_rate for record in records]
    _draw_lines(axes, records, [("", [*rates])])
    if min(rates) > 0 and max(rates) / min(rates) > _WIDE_RANGE:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(numticks=8))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0e}"))
        axes.minorticks_off()
    else:
        axes.set_ylim(0, (max(rates) or 1.0) * 1.08)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _title(axes: Axes, title: str) -> None:
    axes.text(0, _TITLE_AT, title, transform=axes.transAxes, fontproperties=font(TITLE_PT, bold=True), color=INK)


def _draw_lines(axes: Axes, records: Sequence[EpochRecord], series: Sequence[_Series]) -> None:
    """Draw every series that has a value. The colors do not depend on which series are missing."""
    size = 3.2 if len(records) <= _MANY_EPOCHS else 0.0
    for color, (label, values) in zip(SERIES, series, strict=False):
        points = [
            (record.epoch, value)
            for record, value in zip(records, values, strict=True)
            if value is not None and math.isfinite(value)
        ]
        if points:
            epochs, heights = np.array(points).T
            lone = 3.2 if len(points) == 1 else size
            axes.plot(epochs, heights, color=color, label=label, linewidth=1.6, marker="o", markersize=lone)
    if not axes.lines:
        axes.text(
            *(0.5, 0.5, "not measured"),
            transform=axes.transAxes,
            ha="center",
            va="center",
            color=FAINT_INK,
            backgroundcolor=PAPER,
            fontproperties=font(LABEL_PT),
        )


def _draw_epoch_axis(axes: Axes, records: Sequence[EpochRecord], best_epoch: int | None) -> None:
    if best_epoch is not None:
        axes.axvline(
            best_epoch,
            color=FAINT_INK,
            linewidth=0.9,
            linestyle=(0, (4, 3)),
            # In one legend only, which has room for it.
            label=f"best epoch, {best_epoch}" if axes is axes.figure.axes[0] else "",
            zorder=1,
        )
    axes.set_xlim(records[0].epoch - 0.5, records[-1].epoch + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch", fontproperties=font(LABEL_PT), color=FAINT_INK)
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)


def _add_legend(axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    shown = [(handle, label) for handle, label in zip(handles, labels, strict=True) if label]
    if not shown:
        return
    axes.legend(
        *zip(*shown, strict=True),
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        ncols=2 if len(shown) > 3 else 3,
        frameon=False,
        prop=font(LABEL_PT - 1),
        handlelength=1.6,
        columnspacing=1.2,
        labelspacing=0.25,
    )


def _finite_or_none(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
