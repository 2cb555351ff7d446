"""Cut-outs: a catalogue picture's white background told from its garment, and the garment from the person who wears it.
People's own photographs have beds, floors and walls where the catalogue has white, and nobody in the garment; a network
that never saw any takes the one for part of the garment and misses the other.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.uint8]
_WHITE_FROM: Final = 240
_WHITE_SPREAD: Final = 10  # between the channels: what has a colour is no background
_SEAM_PX: Final = 2  # how far into the garment white may be mixed, by sampling and by JPEG
# Of what is not background: less than this is a seam or a label, more a garment of skin's colour.
_SKIN_SHARE: Final = (0.03, 0.5)
_CROSS: Final = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
_SQUARE: Final = np.ones((2 * _SEAM_PX + 1, 2 * _SEAM_PX + 1), dtype=np.uint8)
_LEAST_PIECE: Final = 0.25  # of the largest: what is smaller hung on the skin, such as hair and shoes


def foreground_mask(pixels: npt.NDArray[np.uint8]) -> Mask:
    """(H, W, 3) uint8 in, (H, W) uint8 out: 255 on the garment, 0 on the white that reaches the border.

    Along the seam it is how much of the pixel is garment: how far it is from white, beside the farthest near it. Where
    this share is left out, no white rim gives the cut-out away. White inside the garment stays garment; a white garment
    that melts into the border loses its edge.
    """
    red, green, blue = cv2.split(pixels)
    darkest, lightest = cv2.min(cv2.min(red, green), blue), cv2.max(cv2.max(red, green), blue)
    white = (darkest >= _WHITE_FROM) & (lightest - darkest <= _WHITE_SPREAD)
    count, regions = cv2.connectedComponents(white.astype(np.uint8), connectivity=4)
    edge = np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])
    reaching = np.zeros(count, dtype=bool)
    reaching[edge] = True
    reaching[0] = False
    outside = reaching[regions]
    colour = 255 - darkest
    fullest = cv2.dilate(colour, _SQUARE)
    share = np.rint(255.0 * colour / np.maximum(fullest, 1)).astype(np.uint8)
    seam = cv2.dilate(outside.astype(np.uint8), _CROSS, iterations=_SEAM_PX).astype(bool)
    garment: Mask = np.where(outside, np.uint8(0), np.where(seam, share, np.uint8(255)))
    return garment


def skinless_mask(pixels: npt.NDArray[np.uint8], garment: Mask) -> Mask:
    """(H, W, 3) uint8 and its `foreground_mask` in, the mask without skin and what hung on it out.

    Where nothing looks like skin, or too much does for a garment to be left, it is the mask as it was. Skin is told by
    its chrominance, after Chai and Ngan, "Face Segmentation Using Skin-Color Map in Videophone Applications", IEEE
    Transactions on Circuits and Systems for Video Technology, 1999.
    """
    inside = garment > 127
    coloured = (_skin_coloured(pixels) & inside).astype(np.uint8)
    # What lies beyond the picture counts as no skin.
    skin = cv2.morphologyEx(coloured, cv2.MORPH_OPEN, _CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    share = int(skin.sum()) / max(1, int(inside.sum()))
    if not _SKIN_SHARE[0] <= share <= _SKIN_SHARE[1]:
        return garment
    left = inside & (cv2.dilate(skin, _CROSS) == 0)
    count, pieces, measures, _ = cv2.connectedComponentsWithStats(left.astype(np.uint8), connectivity=4)
    if count < 2:
        return garment
    sizes = measures[:, cv2.CC_STAT_AREA].copy()
    sizes[0] = 0
    kept = (sizes >= _LEAST_PIECE * sizes.max())[pieces] & left
    bare: Mask = np.asarray(cv2.blur(np.where(kept, np.uint8(255), np.uint8(0)), (3, 3), borderType=cv2.BORDER_REFLECT))
    return np.minimum(bare, garment)


def _skin_coloured(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """(H, W): where the two colour differences of BT.601, Cb and Cr, lie within those of skin."""
    red, green, blue = cv2.split(pixels.astype(np.float32))
    blueness = 128 - 0.168736 * red - 0.331264 * green + 0.5 * blue
    redness = 128 + 0.5 * red - 0.418688 * green - 0.081312 * blue
    warm = (red > 60) & (red > green) & (green > 0.9 * blue)
    coloured: npt.NDArray[np.bool_] = (blueness > 85) & (blueness < 126) & (redness > 137) & (redness < 172) & warm
    return coloured
