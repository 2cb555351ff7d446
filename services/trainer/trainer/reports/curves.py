"""The curves of a training run: loss, accuracy with retrieval, and learning rate, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from trainer.reports.files import write_json, write_png
from trainer.reports.history import EpochRecord, history_document
from trainer.reports.style import (
    FAINT_INK,
    INK,
    LABEL_PT,
    PAPER,
    RULE,
    SERIES,
    TITLE_PT,
    font,
    new_figure,
    quieten,
)

CURVES_FILE: Final = "curves.png"
HISTORY_FILE: Final = "history.json"

_WIDTH_IN: Final = 13.5
_HEIGHT_IN: Final = 4.4
_TITLE_AT: Final = 1.17  # in heights of the axes; the legend stands between the title and the axes
_MANY_EPOCHS: Final = 40
# A learning rate that falls by more than this is easier to read on a logarithmic axis.
_WIDE_RANGE: Final = 20.0

_Series = tuple[str, list[float | None]]


def write_curves(folder: Path, records: Sequence[EpochRecord], *, best_epoch: int | None = None) -> list[str]:
    """Write curves.png and history.json and return their names. Raises ValueError where there is no epoch."""
    figure = draw_curves(records, best_epoch=best_epoch)
    write_json(folder / HISTORY_FILE, history_document(records, best_epoch=best_epoch))
    write_png(folder / CURVES_FILE, figure)
    return [CURVES_FILE, HISTORY_FILE]


def draw_curves(records: Sequence[EpochRecord], *, best_epoch: int | None = None) -> Figure:
    """Three panels side by side. A dot is a measurement; a line passes over the epochs that have none."""
    if not records:
        raise ValueError("a run without an epoch has no curves")
    figure = new_figure(_WIDTH_IN, _HEIGHT_IN)
    losses, shares, rates = figure.subplots(1, 3)
    figure.subplots_adjust(left=0.045, right=0.985, bottom=0.12, top=0.8, wspace=0.2)
    _draw_losses(losses, records)
    _draw_shares(shares, records)
    _draw_rates(rates, records)
    for axes in (losses, shares, rates):
        _mark_epochs(axes, records, best_epoch)
        _explain(axes)
        quieten(axes)
    return figure


def _draw_losses(axes: Axes, records: Sequence[EpochRecord]) -> None:
    _title(axes, "Loss")
    _lines(
        axes,
        records,
        [
            ("train", [record.train_loss for record in records]),
            ("validation", [record.validation_loss for record in records]),
        ],
    )
    if min(axes.get_ylim()) >= 0:
        axes.set_ylim(bottom=0)


def _draw_shares(axes: Axes, records: Sequence[EpochRecord]) -> None:
    _title(axes, "Accuracy and retrieval")
    _lines(
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
    _lines(axes, records, [("", [*rates])])
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


def _lines(axes: Axes, records: Sequence[EpochRecord], series: Sequence[_Series]) -> None:
    """A line for every series that was measured at all, each in its colour whichever of them are missing."""
    size = 3.2 if len(records) <= _MANY_EPOCHS else 0.0
    for colour, (label, values) in zip(SERIES, series, strict=False):
        points = [
            (record.epoch, value)
            for record, value in zip(records, values, strict=True)
            if value is not None and math.isfinite(value)
        ]
        if points:
            epochs, heights = np.array(points).T
            lone = 3.2 if len(points) == 1 else size
            axes.plot(epochs, heights, color=colour, label=label, linewidth=1.6, marker="o", markersize=lone)
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


def _mark_epochs(axes: Axes, records: Sequence[EpochRecord], best_epoch: int | None) -> None:
    if best_epoch is not None:
        axes.axvline(
            best_epoch,
            color=FAINT_INK,
            linewidth=0.9,
            linestyle=(0, (4, 3)),
            # Named once, where there is room.
            label=f"best epoch, {best_epoch}" if axes is axes.figure.axes[0] else "",
            zorder=1,
        )
    axes.set_xlim(records[0].epoch - 0.5, records[-1].epoch + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch", fontproperties=font(LABEL_PT), color=FAINT_INK)
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)


def _explain(axes: Axes) -> None:
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
