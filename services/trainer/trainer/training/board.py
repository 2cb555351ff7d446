"""TensorBoard logs of a run, written as it goes, below the work folder: one folder a run, to be compared there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final

from tensorboardX import SummaryWriter

from trainer.reports.history import EpochRecord

_GROUPS: Final = {
    "train_loss": "loss/train",
    "validation_loss": "loss/validation",
    "train_accuracy": "accuracy/train",
    "validation_accuracy": "accuracy/validation",
    "precision_at_15": "retrieval/precision_at_15",
    "mean_average_precision": "retrieval/mean_average_precision",
    "learning_rate": "learning_rate",
    "pictures_per_second": "pictures_per_second",
}


class Board:
    """The log of one run."""

    def __init__(self, writer: SummaryWriter) -> None:
        self._writer = writer

    def epoch(self, record: EpochRecord) -> None:
        """Write an epoch's numbers; what was not measured is left out."""
        values = asdict(record)
        for name, tag in _GROUPS.items():
            if values[name] is not None:
                self._writer.add_scalar(tag, values[name], record.epoch)
        self._writer.flush()


@contextmanager
def open_board(folder: Path, *, history: list[EpochRecord]) -> Iterator[Board]:
    """The log in `folder`. What a run that is taken up again wrote beyond its checkpoint, `history`, does not count."""
    last = history[-1].epoch if history else 0
    writer = SummaryWriter(str(folder), purge_step=last + 1)
    try:
        yield Board(writer)
    finally:
        writer.close()
