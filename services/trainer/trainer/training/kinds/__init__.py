"""The kinds of training. Each is one small file that says what is its own: the loss it has where a recipe names none,
whether it goes on with the labels of the release it starts from, and whether it has a teacher.
"""

from __future__ import annotations

from typing import Final

from trainer.training.kinds import classify, distill, metric, retrain
from trainer.training.kinds.kind import TrainingKind

KINDS: Final[dict[str, TrainingKind]] = {
    "classify": classify.KIND,
    "metric": metric.KIND,
    "retrain": retrain.KIND,
    "distill": distill.KIND,
}

__all__ = ["KINDS", "TrainingKind"]
