"""Classification: the network learns to tell the label, and its feature is what is searched by."""

from __future__ import annotations

from trainer.training.kinds.kind import TrainingKind
from vitrine.recipes import TermRecipe

KIND = TrainingKind(terms=(TermRecipe(kind="cross_entropy", of="feature"),))
