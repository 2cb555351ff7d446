"""Augmentation of outlined photographs: every change of the geometry moves the class map with the picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from trainer.augmentation.color import color_image, draw_color_matrices, has_color
from vitrine.parse_recipes import ParseAugmentRecipe
from vitrine.types import Pixels, Rows, Values
from vitrine.vision.parser import STRIDE

_WHITE: Final = (255, 255, 255)
_FEATHER_PX: Final = 3  # of the edge of a pasted garment
_MIN_AREA: Final = 60  # pixels of a garment that is pasted
_PASTED_SCALE: Final = (0.85, 1.2)
_BLUR_PX: Final = (0.3, 0.9)  # standard deviation
_HEAD_SHARE: Final = 0.15  # of the height of a person, from the top


@dataclass(frozen=True, slots=True)
class Person:
    """The place of the person in a photograph: the top and the height of the outline, and the middle of its head."""

    top: float
    height: float
    middle: float

    @classmethod
    def of(cls, mask: Pixels) -> Person | None:
        """None if nothing is outlined."""
        rows = np.flatnonzero(mask.any(axis=1))
        if not len(rows):
            return None
        top, height = int(rows[0]), int(rows[-1] - rows[0] + 1)
        head = np.flatnonzero(mask[top : top + max(1, round(height * _HEAD_SHARE))].any(axis=0))
        return cls(float(top), float(height), float(head.mean()))


class PhotographAugmenter:
    """Changes N photographs (H, W, 3) and their class maps (H, W).

    Garments of a rare class k are pasted from the photographs `donors[k]` that show them, into photographs of which
    `people` names the person.
    """

    def __init__(
        self,
        recipe: ParseAugmentRecipe,
        pixels: Sequence[Pixels],
        masks: Sequence[Pixels],
        donors: dict[int, Rows],
        people: list[Person | None],
    ) -> None:
        self._recipe = recipe
        self._pixels = pixels
        self._masks = masks
        self._donors = donors
        self._people = people

    def __call__(self, row: int, size: tuple[int, int], random: np.random.Generator) -> tuple[Pixels, Pixels]:
        """The picture (h, w, 3) of `size` (h, w), and its class map at a quarter of it (h / 4, w / 4)."""
        recipe = self._recipe
        picture, mask = self._pixels[row], self._masks[row]
        if self._donors and random.random() < recipe.paste:
            picture, mask = self._pasted(row, np.array(picture), np.array(mask), random)
        if random.random() < recipe.background:
            picture = _on_other_ground(picture, mask, random)
        matrix = self._matrix(picture.shape[0], picture.shape[1], size, random)
        height, width = size
        warped = cv2.warpAffine(
            picture, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=_WHITE
        )
        small = np.diag([1 / STRIDE, 1 / STRIDE]) @ matrix
        small[:, 2] += 0.5 / STRIDE - 0.5  # centers of pixels, not corners
        classes = cv2.warpAffine(mask, small, (width // STRIDE, height // STRIDE), flags=cv2.INTER_NEAREST)
        if random.random() < recipe.blur:
            warped = cv2.GaussianBlur(warped, (0, 0), random.uniform(*_BLUR_PX))
        changed = np.asarray(warped, dtype=np.uint8)
        if has_color(recipe):
            changed = color_image(changed, draw_color_matrices(recipe, 1, random), 0)
        return changed, np.asarray(classes, dtype=np.uint8)

    def _matrix(self, height: int, width: int, size: tuple[int, int], random: np.random.Generator) -> Values:
        """The random affine map (2, 3) from the stored photograph to the input."""
        recipe = self._recipe
        fit = min(size[0] / height, size[1] / width)
        scale = fit * math.exp(random.uniform(math.log(recipe.scale[0]), math.log(recipe.scale[1])))
        ratio = math.sqrt(1 + random.uniform(-recipe.ratio, recipe.ratio))
        angle = math.radians(random.uniform(-recipe.rotate_degrees, recipe.rotate_degrees))
        mirror = -1.0 if random.random() < recipe.flip else 1.0
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        linear = turn @ np.diag([scale * ratio * mirror, scale / ratio])
        # A photograph larger than the input may show any of its parts, a smaller one may lie anywhere.
        slack = np.abs(np.array([size[1] - width * scale, size[0] - height * scale])) / 2
        reach = slack + recipe.shift * np.array([size[1], size[0]])
        middle = np.array([(size[1] - 1) / 2, (size[0] - 1) / 2]) + random.uniform(-1, 1, 2) * reach
        offset = middle - linear @ np.array([(width - 1) / 2, (height - 1) / 2])
        return np.concatenate([linear, offset[:, None]], axis=1)

    def _pasted(self, row: int, picture: Pixels, mask: Pixels, random: np.random.Generator) -> tuple[Pixels, Pixels]:
        """A garment of a rare class from another photograph, at the same place of the person's body."""
        kind = int(random.choice(list(self._donors)))
        donor = int(random.choice(self._donors[kind]))
        target, source = self._people[row], self._people[donor]
        piece = self._masks[donor] == kind
        if donor == row or target is None or source is None or int(piece.sum()) < _MIN_AREA:
            return picture, mask
        scale = target.height / source.height * random.uniform(*_PASTED_SCALE)
        mirror = -1.0 if random.random() < self._recipe.flip else 1.0
        shift = random.normal(0, 0.02, 2) * target.height
        matrix = np.array(
            [
                [scale * mirror, 0, target.middle - scale * mirror * source.middle + shift[0]],
                [0, scale, target.top - scale * source.top + shift[1]],
            ]
        )
        size = (mask.shape[1], mask.shape[0])
        there = cv2.warpAffine(piece.astype(np.uint8), matrix, size, flags=cv2.INTER_NEAREST)
        garment = cv2.warpAffine(self._pixels[donor], matrix, size, flags=cv2.INTER_LINEAR)
        alpha = cv2.blur(there.astype(np.float32), (_FEATHER_PX, _FEATHER_PX))[..., None]
        joined = picture * (1 - alpha) + garment * alpha
        return joined.astype(np.uint8), np.where(there > 0, np.uint8(kind), mask)


def _on_other_ground(picture: Pixels, mask: Pixels, random: np.random.Generator) -> Pixels:
    """The person on a plain colour, or on one that runs into another."""
    first, second = random.uniform(0, 255, (2, 3))
    if random.random() < 0.5:
        second = first
    along = np.linspace(0, 1, picture.shape[0])[:, None, None]
    ground = np.broadcast_to(first * (1 - along) + second * along, picture.shape)
    alpha = cv2.blur((mask > 0).astype(np.float32), (_FEATHER_PX, _FEATHER_PX))[..., None]
    return np.asarray(picture * alpha + ground * (1 - alpha), dtype=np.uint8)
