"""What a loop works on, where it stands, and who is told."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from trainer.reports.history import EpochRecord
from trainer.training.examples import Codes, Rows
from trainer.training.judging import Judgement
from vitrine.vision.network import Vectors


class Reporter(Protocol):
    """Who is told how it goes. Any call may raise to stop the run."""

    def step(self, pictures: int) -> None:
        """Called between steps with the pictures trained on so far, of all epochs."""

    def saved(self) -> None:
        """Called once the state is kept."""

    def epoch(self, record: EpochRecord, judgement: Judgement | None) -> None: ...


@dataclass(frozen=True, slots=True)
class Material:
    """What is trained and judged on. `codes` (N, columns) are the classes of the terms, the label's first; `relevance`
    (N, A) those of retrieval; `teacher` (N, D), if any, the embeddings to be learned.
    """

    codes: Codes
    relevance: Codes
    train: Rows
    validation: Rows
    teacher: Vectors | None = None


@dataclass(slots=True)
class Standing:
    """Where a run is: what a checkpoint keeps beside tensors."""

    epoch: int = 0
    batch: int = 0
    pictures: int = 0
    epoch_s: float = 0.0
    loss_sum: float = 0.0
    right: int = 0
    scored: int = 0
    seen: int = 0
    best: Judgement | None = None
    best_epoch: int | None = None
    stale: int = 0
    history: list[EpochRecord] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Standing:
        best = stored.pop("best")
        history = [EpochRecord(**one) for one in stored.pop("history")]
        return cls(**stored, best=None if best is None else Judgement(**best), history=history)
