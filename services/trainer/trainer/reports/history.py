"""What is known of each epoch of a training run, and the same as a document of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One epoch, counted from 1. None stands for what was not measured; accuracies, precision and mean average
    precision are shares from 0 to 1, the latter two of retrieval on the validation part.
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


def history_document(records: Sequence[EpochRecord], *, best_epoch: int | None) -> dict[str, Any]:
    """The records as JSON holds them. JSON has no NaN: a number that is not finite becomes null."""
    epochs = [{name: _finite_or_none(value) for name, value in asdict(record).items()} for record in records]
    return {"best_epoch": best_epoch, "epochs": epochs}


def _finite_or_none(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
