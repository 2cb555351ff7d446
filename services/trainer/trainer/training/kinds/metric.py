"""Metric learning: what is relevant to each other comes close, what is not stands apart."""

from __future__ import annotations

from trainer.training.kinds.kind import TrainingKind
from vitrine.recipes import TermRecipe

KIND = TrainingKind(terms=(TermRecipe(kind="supervised_contrastive"),))
