"""Views of street garments for training: cut out by a mask on white, or in their box with the background.

Masks and boxes of a parser are never exact, and people's bags, hands and coats hide parts of what they wear. So
outlines grow and shrink, boxes move, parts are missing, and many views are coarse.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from vitrine.recipes import StreetRecipe
from vitrine.types import Pixels

_WHITE: Final = 255
MARGIN: Final = 0.05  # white around a garment that is shown as it is, as a share of its longer side
_OUTLINE_PX: Final = (-2, 3)  # how far an outline moves inwards or outwards
_CUT_MARGINS: Final = (0.0, 0.12)
_BOX_MARGINS: Final = (-0.08, 0.15)
_CROPPED: Final = 0.15  # probability that a side is cut off
_CROP: Final = (0.1, 0.35)
_HIDDEN_HEIGHT: Final = (0.1, 0.4)
_HIDDEN_WIDTH: Final = (0.1, 0.5)
# An outline that keeps less than this share of its garment is not used.
_LEAST_LEFT: Final = 0.5
_LEAST_PX: Final = 4


def plain_view(pixels: Pixels, mask: Pixels, *, cut: bool, height_px: int, width_px: int) -> Pixels:
    """A garment as it is, cut out or in its box: (height_px, width_px, 3) uint8. `mask` (H, W) is 1 on the garment."""
    shown = _on_white(pixels, mask) if cut else pixels
    return fit_on_white(_framed(shown, mask, np.full(4, MARGIN), by_longer_side=True), height_px, width_px)


def random_view(
    pixels: Pixels, mask: Pixels, recipe: StreetRecipe, random: np.random.Generator, *, height_px: int, width_px: int
) -> Pixels:
    """A random view as `recipe` says: (height_px, width_px, 3) uint8."""
    boxed = random.random() < recipe.boxes
    if boxed:
        shown, margins = pixels, random.uniform(*_BOX_MARGINS, 4)
    else:
        mask = _moved_outline(mask, random)
        if random.random() < recipe.occlude:
            mask = _partly_hidden(mask, random)
        shown, margins = _on_white(pixels, mask), random.uniform(*_CUT_MARGINS, 4)
    if random.random() < _CROPPED:
        margins[random.integers(4)] -= random.uniform(*_CROP)
    view = fit_on_white(_framed(shown, mask, margins), height_px, width_px)
    if random.random() < recipe.coarse:
        view = _coarser(view, random.uniform(*recipe.coarse_scale))
    return view


def fit_on_white(image: Pixels, height_px: int, width_px: int) -> Pixels:
    """The whole image in the middle of a white (height_px, width_px, 3)."""
    height, width = image.shape[:2]
    scale = min(height_px / height, width_px / width)
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    fitted = np.full((height_px, width_px, 3), _WHITE, dtype=np.uint8)
    top, left = (height_px - rows) // 2, (width_px - columns) // 2
    fitted[top : top + rows, left : left + columns] = cv2.resize(image, (columns, rows), interpolation=way)
    return fitted


def _on_white(pixels: Pixels, mask: Pixels) -> Pixels:
    """The garment alone, its edge one pixel soft."""
    share = cv2.GaussianBlur(mask.astype(np.float32), (3, 3), 0)[..., None]
    return np.asarray(pixels * share + _WHITE * (1 - share), dtype=np.uint8)


def _framed(image: Pixels, mask: Pixels, margins: np.ndarray, *, by_longer_side: bool = False) -> Pixels:
    """The part of `image` (H, W, 3) around the garment, with `margins` (4,) above, below, left and right as shares of
    the garment's height and width.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    height, width = bottom - top, right - left
    if by_longer_side:
        height = width = max(height, width)
    above, below, before, behind = (float(margin) for margin in margins)
    first_row = int(max(0, top - above * height))
    first_column = int(max(0, left - before * width))
    last_row = int(min(image.shape[0], max(bottom + below * height, first_row + _LEAST_PX)))
    last_column = int(min(image.shape[1], max(right + behind * width, first_column + _LEAST_PX)))
    return image[first_row:last_row, first_column:last_column]


def _moved_outline(mask: Pixels, random: np.random.Generator) -> Pixels:
    by_px = int(random.integers(_OUTLINE_PX[0], _OUTLINE_PX[1] + 1))
    if by_px == 0:
        return mask
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(by_px) + 1, 2 * abs(by_px) + 1))
    moved = np.asarray((cv2.dilate if by_px > 0 else cv2.erode)(mask, around), dtype=np.uint8)
    return moved if moved.sum() > _LEAST_LEFT * mask.sum() else mask


def _partly_hidden(mask: Pixels, random: np.random.Generator) -> Pixels:
    """The mask without a rectangle, as behind a bag or an arm."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    height, width = int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1
    down, across = int(height * random.uniform(*_HIDDEN_HEIGHT)), int(width * random.uniform(*_HIDDEN_WIDTH))
    top = int(rows[0]) + int(random.integers(height - down + 1))
    left = int(columns[0]) + int(random.integers(width - across + 1))
    hidden = mask.copy()
    hidden[top : top + down, left : left + across] = 0
    return hidden if hidden.sum() > _LEAST_LEFT * mask.sum() else mask


def _coarser(image: Pixels, scale: float) -> Pixels:
    height, width = image.shape[:2]
    size = (max(_LEAST_PX, round(width * scale)), max(_LEAST_PX, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
