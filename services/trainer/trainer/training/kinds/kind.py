"""What a kind of training must say of itself."""

from __future__ import annotations

from dataclasses import dataclass

from vitrine.recipes import TermRecipe


@dataclass(frozen=True, slots=True)
class TrainingKind:
    """`terms` are the loss where the recipe names none. With `keeps_labels` the classes of the start's release keep
    their numbers, and their weights, and new classes are added behind them. With `has_teacher` the embeddings of
    another release are given to the terms of kind `distill`.
    """

    terms: tuple[TermRecipe, ...]
    keeps_labels: bool = False
    has_teacher: bool = False
