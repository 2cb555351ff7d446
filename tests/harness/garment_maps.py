"""Class probabilities as a parser gives them, drawn from rectangles."""

from __future__ import annotations

import numpy as np

from vitrine.garments import BY_NAME, KINDS
from vitrine.images.garment_masks import Probabilities

Drawn = tuple[str, tuple[int, int, int, int]]  # a kind, and (left, top, right, bottom)

# The head of a person, whose garments are worn.
HEAD: Drawn = ("skin", (50, 4, 70, 34))

# A person with two arms and legs in 120 x 160 points: a head, a top, trousers, and a pair of shoes.
PERSON: tuple[Drawn, ...] = (
    ("skin", (50, 10, 70, 34)),
    ("upper", (36, 34, 84, 80)),
    ("skin", (28, 60, 36, 84)),
    ("skin", (84, 60, 92, 84)),
    ("trousers", (40, 80, 80, 140)),
    ("shoes", (36, 140, 52, 148)),
    ("shoes", (68, 140, 84, 148)),
)


def probabilities_of(
    drawn: tuple[Drawn, ...], *, size: tuple[int, int] = (120, 160), certain: float = 0.9
) -> Probabilities:
    """(classes, height, width) of rectangles, the later ones on top, on a background. `size` is (width, height)."""
    width, height = size
    classes = np.zeros((height, width), dtype=np.uint8)
    for kind, (left, top, right, bottom) in drawn:
        classes[top:bottom, left:right] = BY_NAME[kind].number
    rest = (1 - certain) / (len(KINDS) - 1)
    return np.stack([np.where(classes == kind.number, certain, rest) for kind in KINDS]).astype(np.float32)


def beside(drawn: tuple[Drawn, ...], shift: int) -> tuple[Drawn, ...]:
    """The same, further to the right."""
    return tuple((kind, (left + shift, top, right + shift, bottom)) for kind, (left, top, right, bottom) in drawn)
