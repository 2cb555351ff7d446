"""Who follows a run, and what it is told between two steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Final

from trainer.progress import Progress
from trainer.reports.history import EpochRecord
from trainer.training.board import Board
from trainer.training.judging import Judgement
from vitrine.jobs import JobFault

# What becomes a curve over epochs, and what it is called there.
_CURVES: Final = {
    "train_loss": "loss, training",
    "validation_loss": "loss, validation",
    "train_accuracy": "accuracy, training",
    "validation_accuracy": "accuracy, validation",
    "precision_at_15": "P@15, validation",
    "mean_average_precision": "mAP, validation",
    "learning_rate": "learning rate",
    "pictures_per_second": "pictures/s",
}
_TOLD: Final = {
    "loss": "validation loss",
    "accuracy": "accuracy",
    "precision_at_15": "P@15",
    "mean_average_precision": "mAP",
}


class Silent:
    """Follows what nobody is told about, or the loop of a rank that has nothing to tell."""

    def phase(self, phase: str) -> None: ...

    def note(self, text: str) -> None: ...

    def measures(self, x: float, values: Mapping[str, float]) -> None: ...

    def faults(self, source: str, faults: list[JobFault]) -> None: ...

    def progress(self, done: int, total: int, *, eta_s: float | None, phase: str | None = None) -> None: ...

    def step(self, pictures: int) -> None: ...

    def epoch(self, record: EpochRecord, judgement: Judgement | None) -> None: ...

    def saved(self) -> None: ...

    def check(self) -> None: ...


class Watch:
    """Between the loop and the follower: pictures become a share of the way and the seconds that are left."""

    def __init__(self, follower: Progress, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._follower = follower
        self._clock = clock
        self._total = self._from = 0
        self._since_s = clock()
        self._board: Board | None = None

    def begin(self, pictures: int, total: int, board: Board) -> None:
        """The loop is about to start, or to go on, from so many pictures of `total`."""
        self._from, self._total, self._since_s, self._board = pictures, total, self._clock(), board

    def end(self, pictures: int) -> None:
        """The loop has come to its end after so many, which may be before it would have had to."""
        self._follower.progress(pictures, pictures, eta_s=0.0, phase="training")

    def step(self, pictures: int) -> None:
        done = pictures - self._from
        passed_s = self._clock() - self._since_s
        eta_s = round(passed_s / done * max(0, self._total - pictures), 1) if done else None
        self._follower.progress(pictures, self._total, eta_s=eta_s, phase="training")

    def saved(self) -> None:
        self._follower.saved()

    def epoch(self, record: EpochRecord, judgement: Judgement | None) -> None:
        if self._board is not None:
            self._board.epoch(record)
        judged = {} if judgement is None else asdict(judgement)
        told = "".join(f", {_TOLD[name]} {value:.3f}" for name, value in judged.items() if value is not None)
        self._follower.note(
            f"epoch {record.epoch}: loss {record.train_loss:.4f}{told}, {record.pictures_per_second:.0f} pictures/s"
        )
        measured = {called: getattr(record, name) for name, called in _CURVES.items()}
        self._follower.measures(record.epoch, {name: value for name, value in measured.items() if value is not None})
