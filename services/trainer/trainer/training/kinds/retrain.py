"""Training on, from a release and with its labels: a class of the new catalogue that they lack is added behind them, so
that a number means the same garment before and after.
"""

from __future__ import annotations

from trainer.training.kinds.kind import TrainingKind
from vitrine.recipes import TermRecipe

KIND = TrainingKind(terms=(TermRecipe(kind="cross_entropy", of="feature"),), keeps_labels=True)
