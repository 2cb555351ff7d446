"""The report of a parser: curves, IoU and boundary F of each kind, confusion, and a sheet of parsed photographs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from matplotlib.patches import Patch

from trainer.parser.validation import Parsed, ParserMetrics
from trainer.reports.confusion import write_confusion
from trainer.reports.rendering import LABEL_PT, SMALL_PT, font, new_figure, write_png
from trainer.reports.training import EpochRecord, write_curves
from vitrine.atomic_write import write_json
from vitrine.garments import BY_NAME, KINDS, SKIN
from vitrine.types import Pixels

METRICS_FILE: Final = "kinds.json"
SHEET_FILE: Final = "sheet.png"

# By the number of a kind: gray for the background, then hues far apart.
_COLORS: Final = (
    "#808080", "#1f77b4", "#d62728", "#e377c2", "#2ca02c", "#bcbd22", "#17becf", "#8c564b", "#ff7f0e", "#9467bd",
    "#7f4fff", "#f2c9a1",
)  # fmt: skip
_VEIL: Final = 0.6  # of a kind's colour over the photograph
_COLUMNS: Final = 4
_CELL_IN: Final = (3.1, 1.8)
_BLOCKS: Final = 6  # across a face


def write_report(
    folder: Path, history: Sequence[EpochRecord], metrics: ParserMetrics, *, best_epoch: int | None
) -> list[str]:
    """Write every part but the sheet, and return the file names."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / METRICS_FILE, metrics.as_json())
    written = [METRICS_FILE]
    if history:
        written += write_curves(folder, history, best_epoch=best_epoch)
    titles = [kind.title for kind in KINDS]
    return written + write_confusion(folder, metrics.counts, titles)


def write_sheet(folder: Path, parsed: Iterable[Parsed]) -> str:
    """Draw photographs, each beside its true and its found kinds, with faces blurred. Returns the file name."""
    shown = list(parsed)
    rows = max(1, -(-len(shown) // _COLUMNS))
    figure = new_figure(_COLUMNS * _CELL_IN[0], rows * _CELL_IN[1] + 0.6)
    axes = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for cell in axes:
        cell.set_axis_off()
    for cell, one in zip(axes, shown, strict=False):
        cell.imshow(_triptych(one))
        right = float((one.truth == one.found).mean())
        cell.set_title(f"photograph, outlined, found: {right:.0%} of points", fontproperties=font(SMALL_PT))
    figure.legend(
        handles=[Patch(color=_COLORS[kind.number], label=kind.title) for kind in KINDS[1:]],
        loc="lower center",
        ncols=6,
        frameon=False,
        prop=font(LABEL_PT),
    )
    figure.subplots_adjust(left=0.01, right=0.99, top=0.95, bottom=0.6 / (rows * _CELL_IN[1] + 0.6), wspace=0.05)
    folder.mkdir(parents=True, exist_ok=True)
    write_png(folder / SHEET_FILE, figure)
    return SHEET_FILE


def blurred(photograph: Pixels, *masks: Pixels) -> Pixels:
    """The photograph (H, W, 3) with skin and hair unrecognisable, where any of the masks (H, W) has them."""
    number = BY_NAME[SKIN].number
    seen: Pixels = np.any([mask == number for mask in masks], axis=0).astype(np.uint8)
    height, width = photograph.shape[:2]
    # A head is about an eighth of a person's height: blocks of a few for each leave no features.
    block = max(4, height // 8 // _BLOCKS)
    skin = cv2.dilate(seen, np.ones((block | 1, block | 1), dtype=np.uint8))
    small = cv2.resize(photograph, (max(1, width // block), max(1, height // block)), interpolation=cv2.INTER_AREA)
    coarse = cv2.blur(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST), (block, block))
    hidden: Pixels = np.where(skin[..., None] > 0, coarse, photograph)
    return hidden


def _triptych(parsed: Parsed) -> Pixels:
    photograph = blurred(parsed.photograph, parsed.truth, parsed.found)
    return np.concatenate([photograph, _veiled(photograph, parsed.truth), _veiled(photograph, parsed.found)], axis=1)


def _veiled(photograph: Pixels, kinds: Pixels) -> Pixels:
    palette = np.array([[int(color[at : at + 2], 16) for at in (1, 3, 5)] for color in _COLORS], dtype=np.float64)
    gray = photograph.mean(axis=2, keepdims=True).repeat(3, axis=2)
    veiled: Pixels = (gray * (1 - _VEIL) + palette[kinds] * _VEIL).astype(np.uint8)
    return veiled
