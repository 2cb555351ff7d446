"""Reliability diagram of a calibration: the share of correct matches against the confidence."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from trainer.reports.rendering import (
    FAINT_INK,
    INK,
    LABEL_PT,
    RULE,
    SERIES,
    TITLE_PT,
    font,
    new_figure,
    style_axes,
    write_png,
)
from vitrine.atomic_write import write_json
from vitrine.evaluation.calibration import Bin, calibration_error, reliability
from vitrine.types import Flags, Values

RELIABILITY_FILE: Final = "reliability.png"
RELIABILITY_JSON_FILE: Final = "reliability.json"

_SIDE_IN: Final = 5.2
_COUNTS_IN: Final = 1.2
_BINS: Final = 15


def write_reliability(folder: Path, confidence: Values, right: Flags) -> list[str]:
    """Write reliability.png and reliability.json and return the file names.

    `confidence` (N,) is in [0, 1]; `right` (N,) bool says which matches are correct. Raises ValueError if N is 0.
    """
    found = reliability(confidence, right, bins=_BINS)
    error = calibration_error(confidence, right, bins=_BINS)
    figure = draw_reliability(found, error)
    folder.mkdir(parents=True, exist_ok=True)
    document = {"expected_calibration_error": round(error, 6), "bins": [asdict(one) for one in found]}
    write_json(folder / RELIABILITY_JSON_FILE, document)
    write_png(folder / RELIABILITY_FILE, figure)
    return [RELIABILITY_FILE, RELIABILITY_JSON_FILE]


def draw_reliability(bins: list[Bin], error: float) -> Figure:
    """The share of correct matches against the confidence, with the ideal diagonal, above the number of matches."""
    if not bins:
        raise ValueError("there are no matches to draw")
    figure = new_figure(_SIDE_IN, _SIDE_IN + _COUNTS_IN)
    shares, counts = figure.subplots(2, 1, sharex=True, height_ratios=[_SIDE_IN, _COUNTS_IN])
    figure.subplots_adjust(left=0.14, right=0.96, bottom=0.08, top=0.9, hspace=0.1)
    confidence = [one.confidence for one in bins]
    shares.plot([0, 1], [0, 1], color=FAINT_INK, linewidth=0.9, linestyle=(0, (4, 3)))
    shares.plot(confidence, [one.right for one in bins], color=SERIES[0], linewidth=1.6, marker="o", markersize=4)
    shares.set(xlim=(0, 1), ylim=(0, 1.02))
    shares.set_ylabel("share right", fontproperties=font(LABEL_PT), color=FAINT_INK)
    counts.bar(confidence, [one.count for one in bins], width=0.8 / _BINS, color=SERIES[0])
    counts.set_ylabel("matches", fontproperties=font(LABEL_PT), color=FAINT_INK)
    counts.set_xlabel("confidence", fontproperties=font(LABEL_PT), color=FAINT_INK)
    counts.yaxis.set_major_locator(MaxNLocator(nbins=2, integer=True))
    for axes in (shares, counts):
        axes.grid(axis="y", color=RULE, linewidth=0.6)
        axes.set_axisbelow(True)
        style_axes(axes)
    title = f"Expected calibration error {error:.3f}"
    figure.text(0.14, 0.94, title, color=INK, fontproperties=font(TITLE_PT, bold=True))
    return figure
