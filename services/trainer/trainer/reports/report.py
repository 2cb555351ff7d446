"""The report of a training run: every drawing and every list of figures that there is material for, in one folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trainer.reports.confusion import Codes, confusion_counts, write_confusion
from trainer.reports.curves import write_curves
from trainer.reports.history import EpochRecord
from trainer.reports.queries import Queries, write_queries

__all__ = ["Queries", "write_report"]


def write_report(
    folder: Path,
    *,
    history: Sequence[EpochRecord] = (),
    best_epoch: int | None = None,
    truth: Codes | None = None,
    predicted: Codes | None = None,
    classes: Sequence[str] = (),
    queries: Queries | None = None,
) -> list[str]:
    """Write what there is material for and return the names of the files in `folder`, which is made if need be.

    `truth` and `predicted` (N,) int64 count in `classes`; both, or neither, and without a picture there is no matrix.
    """
    written: list[str] = []
    if history:
        written += write_curves(folder, history, best_epoch=best_epoch)
    if truth is not None and predicted is not None and len(truth):
        written += write_confusion(folder, confusion_counts(truth, predicted, len(classes)), classes)
    if queries is not None:
        written += write_queries(folder, queries)
    return written
