"""Progress of a training run: images done and time left, a line and curve points per epoch, TensorBoard logs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final

from tensorboardX import SummaryWriter

from trainer.progress import Progress
from trainer.reports.training import EpochRecord
from trainer.training.validation import ValidationMetrics

# Fields of EpochRecord: the curve's name in the job record, and the TensorBoard tag.
_CURVES: Final = {
    "train_loss": ("loss, training", "loss/train"),
    "validation_loss": ("loss, validation", "loss/validation"),
    "train_accuracy": ("accuracy, training", "accuracy/train"),
    "validation_accuracy": ("accuracy, validation", "accuracy/validation"),
    "precision_at_15": ("P@15, validation", "retrieval/precision_at_15"),
    "mean_average_precision": ("mAP, validation", "retrieval/mean_average_precision"),
    "mean_iou": ("mean IoU, validation", "parser/mean_iou"),
    "learning_rate": ("learning rate", "learning_rate"),
    "pictures_per_second": ("pictures/s", "pictures_per_second"),
}
_LABELS: Final = {
    "loss": "validation loss",
    "accuracy": "accuracy",
    "precision_at_15": "P@15",
    "mean_average_precision": "mAP",
    "mean_iou": "mean IoU",
}
_PHASE: Final = "training"


class TensorBoardLogger:
    """Writes the metrics of each epoch as TensorBoard scalars."""

    def __init__(self, writer: SummaryWriter) -> None:
        self._writer = writer

    def epoch(self, record: EpochRecord) -> None:
        """Write one epoch. Metrics that are None are left out."""
        for name, (_, tag) in _CURVES.items():
            value = getattr(record, name)
            if value is not None:
                self._writer.add_scalar(tag, value, record.epoch)
        self._writer.flush()


@contextmanager
def open_tensorboard(folder: Path, *, history: list[EpochRecord]) -> Iterator[TensorBoardLogger]:
    """Open the log in `folder`. Entries after the last epoch of `history` are purged: the run writes them again."""
    last = history[-1].epoch if history else 0
    writer = SummaryWriter(str(folder), purge_step=last + 1)
    try:
        yield TensorBoardLogger(writer)
    finally:
        writer.close()


class TrainingCallbacks:
    """Forwards the events of the training loop to `progress` and to TensorBoard. An exception of `progress` ends it."""

    def __init__(self, progress: Progress, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._progress = progress
        self._clock = clock
        self._total = self._first = 0
        self._started_s = clock()
        self._tensorboard: TensorBoardLogger | None = None

    def begin(self, images: int, total: int, tensorboard: TensorBoardLogger) -> None:
        """Called before the first step, with the images already trained on and the total of the run."""
        self._first, self._total, self._started_s, self._tensorboard = images, total, self._clock(), tensorboard

    def end(self, images: int) -> None:
        """Called after the last step. With early stopping `images` is less than the total."""
        self._progress.progress(images, images, eta_s=0.0, phase=_PHASE)

    def step(self, images: int) -> None:
        """Called between steps with the images trained on so far, over all epochs."""
        done = images - self._first
        elapsed_s = self._clock() - self._started_s
        eta_s = round(elapsed_s / done * max(0, self._total - images), 1) if done else None
        self._progress.progress(images, self._total, eta_s=eta_s, phase=_PHASE)

    def mapped(self, done: int, total: int) -> None:
        """Called while maps of frozen modules are computed, with the pictures done and their number."""
        self._progress.progress(done, total, eta_s=None, phase="computing maps of the frozen modules")

    def saved(self) -> None:
        """Called after a checkpoint is on disk."""
        self._progress.saved()

    def epoch(self, record: EpochRecord, metrics: ValidationMetrics | Mapping[str, float | None] | None) -> None:
        """Called after each epoch; `metrics` is None if the epoch was not validated."""
        if self._tensorboard is not None:
            self._tensorboard.epoch(record)
        measured = asdict(metrics) if isinstance(metrics, ValidationMetrics) else dict(metrics or {})
        text = "".join(f", {_LABELS[name]} {value:.3f}" for name, value in measured.items() if value is not None)
        self._progress.note(
            f"epoch {record.epoch}: loss {record.train_loss:.4f}{text}, {record.pictures_per_second:.0f} pictures/s"
        )
        values = {curve: getattr(record, name) for name, (curve, _) in _CURVES.items()}
        self._progress.measures(record.epoch, {name: value for name, value in values.items() if value is not None})
