"""Segmentation of catalog images: the foreground from a white background, and the garment from the skin of its wearer.

A network that has seen white backgrounds only takes the beds, floors and walls of customers' photos for part of the
garment. These masks are used to replace the background and to remove the wearer.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from vitrine.types import Flags, Pixels

_WHITE_FROM: Final = 240
_MOST_WHITE_SPREAD: Final = 10  # between the channels: a colored pixel is not background
_SEAM_PX: Final = 2  # width of the edge where sampling and JPEG mix the garment with white
# Share of the foreground. Below it is a seam or a label, above it a garment with the color of skin.
_SKIN_SHARE: Final = (0.03, 0.5)
_CROSS: Final = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
_SQUARE: Final = np.ones((2 * _SEAM_PX + 1, 2 * _SEAM_PX + 1), dtype=np.uint8)
_LEAST_COMPONENT: Final = 0.25  # of the largest: smaller ones were connected by skin, such as hair and shoes


def foreground_mask(pixels: Pixels) -> Pixels:
    """The foreground of an image (H, W, 3) uint8: (H, W) uint8, 255 on the garment, 0 on white connected to the border.

    On the edge it is the share of the garment in the pixel: its distance from white, relative to the largest distance
    nearby. So no white rim remains on another background. White inside the garment stays foreground. A white garment
    that touches the border loses its edge.
    """
    red, green, blue = cv2.split(pixels)
    darkest, lightest = cv2.min(cv2.min(red, green), blue), cv2.max(cv2.max(red, green), blue)
    white = (darkest >= _WHITE_FROM) & (lightest - darkest <= _MOST_WHITE_SPREAD)
    count, regions = cv2.connectedComponents(white.astype(np.uint8), connectivity=4)
    border = np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])
    reaches_border = np.zeros(count, dtype=bool)
    reaches_border[border] = True
    reaches_border[0] = False
    background = reaches_border[regions]
    distance = 255 - darkest
    largest = cv2.dilate(distance, _SQUARE)
    share = np.rint(255.0 * distance / np.maximum(largest, 1)).astype(np.uint8)
    edge = cv2.dilate(background.astype(np.uint8), _CROSS, iterations=_SEAM_PX).astype(bool)
    foreground: Pixels = np.where(background, np.uint8(0), np.where(edge, share, np.uint8(255)))
    return foreground


def skinless_mask(pixels: Pixels, foreground: Pixels) -> Pixels:
    """The mask (H, W) uint8 of the garment: `foreground` without skin and without what only skin connects to it.

    Returns `foreground` if there is no skin, or too much of it to leave a garment. Skin is detected by its chrominance
    (Chai and Ngan, "Face Segmentation Using Skin-Color Map in Videophone Applications", IEEE Transactions on Circuits
    and Systems for Video Technology, 1999).
    """
    inside = foreground > 127
    skin_colored = (_has_skin_color(pixels) & inside).astype(np.uint8)
    # Outside of the image there is no skin.
    skin = cv2.morphologyEx(skin_colored, cv2.MORPH_OPEN, _CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    share = int(skin.sum()) / max(1, int(inside.sum()))
    if not _SKIN_SHARE[0] <= share <= _SKIN_SHARE[1]:
        return foreground
    left = inside & (cv2.dilate(skin, _CROSS) == 0)
    count, components, statistics, _ = cv2.connectedComponentsWithStats(left.astype(np.uint8), connectivity=4)
    if count < 2:
        return foreground
    sizes = statistics[:, cv2.CC_STAT_AREA].copy()
    sizes[0] = 0
    kept = (sizes >= _LEAST_COMPONENT * sizes.max())[components] & left
    garment: Pixels = np.asarray(
        cv2.blur(np.where(kept, np.uint8(255), np.uint8(0)), (3, 3), borderType=cv2.BORDER_REFLECT)
    )
    return np.minimum(garment, foreground)


def _has_skin_color(pixels: Pixels) -> Flags:
    """(H, W): whether the chrominance of BT.601, Cb and Cr, is in the range of skin."""
    red, green, blue = cv2.split(pixels.astype(np.float32))
    cb = 128 - 0.168736 * red - 0.331264 * green + 0.5 * blue
    cr = 128 + 0.5 * red - 0.418688 * green - 0.081312 * blue
    is_warm = (red > 60) & (red > green) & (green > 0.9 * blue)
    colored: Flags = (cb > 85) & (cb < 126) & (cr > 137) & (cr < 172) & is_warm
    return colored
