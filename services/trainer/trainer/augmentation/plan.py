"""What happens to each picture of a batch, drawn before it happens: the same for the same chance, wherever the pictures
are changed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.augmentation.background import BackgroundCrop, Backgrounds
from trainer.augmentation.color import draw_color_matrices, has_color
from trainer.augmentation.corruption import Corruption, draw_corruption
from trainer.augmentation.geometry import Warps, draw_warps, has_warps
from vitrine.recipes import AugmentRecipe

Flags = npt.NDArray[np.bool_]
Matrices = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class AugmentationPlan:
    """For each of N pictures: whether it is shown without its wearer (`bare`) and, of these, `alone` on white; what
    stands `behind` it, None where its own background does; how it is warp, and the two matrices of its colours, None
    where none is.
    """

    bare: Flags
    alone: Flags
    behind: tuple[BackgroundCrop | None, ...]
    moves: Warps | None
    colours: tuple[Matrices, Matrices] | None
    damage: Corruption


def draw_plan(
    recipe: AugmentRecipe,
    height_px: int,
    width_px: int,
    count: int,
    chance: np.random.Generator,
    backgrounds: Backgrounds | None,
) -> AugmentationPlan:
    """A draw for each of `count` pictures of this size. Without `backgrounds` none is replaced."""
    replaced = chance.random(count) < (0.0 if backgrounds is None else recipe.background)
    alone = chance.random(count) < recipe.alone
    replaced &= ~alone
    bare = alone | (replaced & (chance.random(count) < recipe.undress))
    moves = None
    if alone.any() or has_warps(recipe):
        moves = draw_warps(recipe, height_px, width_px, count, chance)
    behind: list[BackgroundCrop | None] = [None] * count
    if backgrounds is not None:
        for row in np.flatnonzero(replaced):
            behind[row] = backgrounds.draw(chance)
    colours = draw_color_matrices(recipe, count, chance) if has_color(recipe) else None
    damage = draw_corruption(recipe, height_px, width_px, count, chance)
    return AugmentationPlan(bare, alone, tuple(behind), moves, colours, damage)
