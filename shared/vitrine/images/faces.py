"""Blur the faces of a photograph, by the class probabilities of a parser.

The parser knows skin and hair, not faces. Of the pieces of skin and hair, those that reach the upper half of the
garment that a person wears on the upper body contain the head, and are blurred whole. Where only trousers or a skirt
are beside a piece, it is blurred if it reaches above them, and where nothing is, always. So more is blurred than faces
when in doubt, and a garment only where it may be skin. What is blurred is first reduced to few cells, so that nothing
can be restored.
"""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np
from PIL import Image

from vitrine.garments import BY_NAME, KINDS, SKIN
from vitrine.images.garment_masks import Mask, Probabilities
from vitrine.types import Flags, Pixels

_SKIN: Final = BY_NAME[SKIN].number
_BODY: Final = tuple(kind.number for kind in KINDS if "upper" in kind.body)
_LEGS: Final = tuple(kind.number for kind in KINDS if kind.body == {"lower"})
_GARMENTS: Final = tuple(kind.number for kind in KINDS if kind.searchable)
# Skin from this probability on: a face that is missed weighs more than a hand that is blurred.
_SKIN_FROM: Final = 0.25
_MIN_SHARE: Final = 0.0004  # of the picture: a smaller piece shows no one
# Down to here, from the top of a garment, a head may reach: of the garment's height.
_BODY_REACH: Final = 0.5
_LEGS_REACH: Final = 0.0
_NEAR: Final = 0.02  # of the longest side: a piece this close to a garment belongs to its wearer
_ROUND: Final = 0.12  # of a head's size, by which its blur is larger
_CELLS: Final = 6  # across the shorter side of a head
_MIN_CELL_PX: Final = 6
_MAX_PIECES: Final = 200


def blur_faces(image: Image.Image, probabilities: Probabilities) -> Image.Image | None:
    """A copy of an RGB picture with blurred faces, or None if it shows no one.

    `probabilities` (classes, h, w) are those of the whole picture, at any resolution.
    """
    heads = head_masks(probabilities)
    if not heads:
        return None
    pixels = np.array(image)
    for head in heads:
        _blur(pixels, head)
    return Image.fromarray(pixels)


def head_masks(probabilities: Probabilities) -> list[Mask]:
    """The masks (h, w) of what is blurred, one for each piece of skin and hair that may contain a face."""
    height, width = probabilities.shape[1:]
    skin = (probabilities[_SKIN] >= _SKIN_FROM).astype(np.uint8)
    worn = (probabilities[_GARMENTS, :, :].max(axis=0) > probabilities[_SKIN]).astype(np.uint8)
    size = 1 + 2 * max(1, round(_NEAR * max(height, width) / 2))
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    # Sunglasses and the like are no skin, and must not divide a head.
    closed = np.asarray(cv2.morphologyEx(skin, cv2.MORPH_CLOSE, brush), dtype=np.uint8)
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(closed)
    largest = sorted(range(1, count), key=lambda label: -int(stats[label, cv2.CC_STAT_AREA]))[:_MAX_PIECES]
    least = _MIN_SHARE * height * width
    body, legs = (_Worn(probabilities, kinds, least) for kinds in (_BODY, _LEGS))
    found = []
    for label in largest:
        if stats[label, cv2.CC_STAT_AREA] < least:
            continue
        piece = (pieces == label).astype(np.uint8)
        near = cv2.dilate(piece, brush) > 0
        below, share = body.touched(near), _BODY_REACH
        if not below:
            below, share = legs.touched(near), _LEGS_REACH
        reach = max((top + share * high for top, high in below), default=math.inf)
        if stats[label, cv2.CC_STAT_TOP] <= reach:
            shoulders = min((top for top, _ in below), default=height)
            found.append(_rounded(piece, shoulders) * (1 - worn) | piece)
    return found


class _Worn:
    """The pieces of garments on a part of the body, specks of less than `least` pixels left out."""

    def __init__(self, probabilities: Probabilities, kinds: tuple[int, ...], least: float) -> None:
        mask = (probabilities[kinds, :, :].sum(axis=0) >= 0.5).astype(np.uint8)
        _, self._labels, self._stats, _ = cv2.connectedComponentsWithStats(mask)
        self._least = least

    def touched(self, near: Flags) -> list[tuple[int, int]]:
        """The top row and the height of each piece that a mask touches."""
        return [
            (int(self._stats[one, cv2.CC_STAT_TOP]), int(self._stats[one, cv2.CC_STAT_HEIGHT]))
            for one in np.unique(self._labels[near])
            if one and self._stats[one, cv2.CC_STAT_AREA] >= self._least
        ]


def _rounded(piece: Mask, shoulders: int) -> Mask:
    """The hull of a piece above the row of the shoulders, a little larger: it covers what a head wears, and its
    edges.
    """
    head = piece.copy()
    head[shoulders:] = 0
    points = cv2.findNonZero(head)
    if points is None:
        return piece
    hull = cv2.fillConvexPoly(np.zeros_like(piece), cv2.convexHull(points), 1)
    _, _, wide, high = cv2.boundingRect(points)
    size = 1 + 2 * max(1, round(_ROUND * min(wide, high)))
    return np.asarray(cv2.dilate(hull, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))), dtype=np.uint8)


def _blur(pixels: Pixels, head: Mask) -> None:
    """Replace what the mask covers by the means of a few cells, smoothed together. Changes `pixels` (H, W, 3)."""
    height, width = pixels.shape[:2]
    mask = cv2.resize(head * np.uint8(255), (width, height), interpolation=cv2.INTER_LINEAR)
    left, top, wide, high = cv2.boundingRect(mask)
    if not wide:
        return
    box = np.s_[top : top + high, left : left + wide]
    cell_px = max(_MIN_CELL_PX, min(wide, high) // _CELLS)
    cells = max(1, wide // cell_px), max(1, high // cell_px)
    coarse = cv2.GaussianBlur(cv2.resize(pixels[box], cells, interpolation=cv2.INTER_AREA), (3, 3), 0)
    blurred = cv2.resize(coarse, (wide, high), interpolation=cv2.INTER_LINEAR)
    # Every pixel that the mask touches is replaced whole: a soft edge would keep something of the face.
    np.copyto(pixels[box], blurred, where=(mask[box] > 0)[..., None])
