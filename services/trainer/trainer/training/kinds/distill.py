"""Distillation: a small network learns the embeddings of a large release (after Hinton et al., "Distilling the
Knowledge in a Neural Network", 2015, with directions in the place of class scores).
"""

from __future__ import annotations

from trainer.training.kinds.kind import TrainingKind
from vitrine.recipes import TermRecipe

KIND = TrainingKind(terms=(TermRecipe(kind="distill"),), has_teacher=True)
