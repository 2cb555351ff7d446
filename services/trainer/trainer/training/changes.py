"""What happens to each picture of a batch, drawn before it happens: the same for the same chance, wherever the pictures
are changed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trainer.training.backgrounds import Backgrounds, Piece
from trainer.training.damaging import Damage, draw_damage
from trainer.training.recolouring import draw_matrices, recolours_anything
from trainer.training.warping import Moves, draw_moves, moves_anything
from vitrine.recipes import AugmentRecipe

Flags = npt.NDArray[np.bool_]
Matrices = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Changes:
    """For each of N pictures: whether it is shown without its wearer (`bare`) and, of these, `alone` on white; what
    stands `behind` it, None where its own background does; how it is moved, and the two matrices of its colours, None
    where none is.
    """

    bare: Flags
    alone: Flags
    behind: tuple[Piece | None, ...]
    moves: Moves | None
    colours: tuple[Matrices, Matrices] | None
    damage: Damage


def draw_changes(
    recipe: AugmentRecipe,
    height_px: int,
    width_px: int,
    count: int,
    chance: np.random.Generator,
    backgrounds: Backgrounds | None,
) -> Changes:
    """A draw for each of `count` pictures of this size. Without `backgrounds` none is replaced."""
    replaced = chance.random(count) < (0.0 if backgrounds is None else recipe.background)
    alone = chance.random(count) < recipe.alone
    replaced &= ~alone
    bare = alone | (replaced & (chance.random(count) < recipe.undress))
    moves = None
    if alone.any() or moves_anything(recipe):
        moves = draw_moves(recipe, height_px, width_px, count, chance)
    behind: list[Piece | None] = [None] * count
    if backgrounds is not None:
        for row in np.flatnonzero(replaced):
            behind[row] = backgrounds.draw(chance)
    colours = draw_matrices(recipe, count, chance) if recolours_anything(recipe) else None
    damage = draw_damage(recipe, height_px, width_px, count, chance)
    return Changes(bare, alone, tuple(behind), moves, colours, damage)
