"""Put a garment of a photograph on white, as catalogues show garments. A network that was trained on a catalogue finds
more without the background. Every change of the result raises `vitrine.images.views.VIEW_RULES_VERSION`.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from PIL import Image

from vitrine.images.garment_masks import Garment, Mask
from vitrine.images.regions import Region

_SEEN_PX: Final = 192  # longest side of the reduced picture whose border is looked at
_SOFT_SIGMA_PX: Final = 1.5
_MARGIN: Final = 0.1  # of the garment's box, on each side
_ASPECT: Final = 3 / 4  # width to height, as in catalogues
_WHITE_FROM: Final = 235
_WHITE_BORDER: Final = 0.9


def is_on_white(image: Image.Image) -> bool:
    """Whether an RGB picture has a white border, as the pictures of products do."""
    small = image.copy()
    small.thumbnail((_SEEN_PX, _SEEN_PX))
    seen = np.asarray(small)
    border = np.concatenate([seen[0], seen[-1], seen[:, 0], seen[:, -1]])
    return bool((border.min(axis=1) >= _WHITE_FROM).mean() >= _WHITE_BORDER)


def cut_out_garment(image: Image.Image, garment: Garment, *, region: Region | None = None) -> Image.Image:
    """The garment of an RGB picture on white, with a soft edge, centred in a 3:4 picture. Deterministic.

    `image` is the picture that the garment was found in, at any size. With a `region` of it, only what lies inside is
    cut out. If nothing is left, the picture or its region is returned.
    """
    mask = garment.mask
    if region is not None:
        left, top, right, bottom = region.box(mask.shape[1], mask.shape[0])
        mask = np.zeros_like(mask)
        mask[top:bottom, left:right] = garment.mask[top:bottom, left:right]
    cut = _on_white(image, mask)
    if cut is not None:
        return cut
    return image if region is None else image.crop(region.box(*image.size))


def _on_white(image: Image.Image, mask: Mask) -> Image.Image | None:
    """None if the garment is smaller than its soft edge."""
    rows, columns = mask.shape
    x, y, wide, high = cv2.boundingRect(mask)
    # Only the garment's part of the picture, with a point more on each side.
    first, last = (max(0, x - 1), max(0, y - 1)), (min(columns, x + wide + 1), min(rows, y + high + 1))
    across, down = image.width / columns, image.height / rows
    left, right = round(first[0] * across), round(last[0] * across)
    top, bottom = round(first[1] * down), round(last[1] * down)
    if right <= left or bottom <= top:
        return None
    part = mask[first[1] : last[1], first[0] : last[0]].astype(np.float32)
    alpha = cv2.resize(part, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
    alpha = np.asarray(cv2.GaussianBlur(alpha, (0, 0), _SOFT_SIGMA_PX))
    # The soft edge is inside the garment, so that no rim of the background is kept.
    alpha = np.clip(2 * alpha - 1, 0, 1)
    inside = (alpha >= 0.5).astype(np.uint8)
    if not inside.any():
        return None
    x, y, wide, high = cv2.boundingRect(inside)
    box = np.s_[y : y + high, x : x + wide]
    seen = np.asarray(image.crop((left, top, right, bottom)), dtype=np.float32)
    on_white = 255.0 - (255.0 - seen[box]) * alpha[box][..., None]
    cut = Image.fromarray(np.rint(on_white).astype(np.uint8))
    width = max(cut.width, cut.height * _ASPECT) * (1 + 2 * _MARGIN)
    frame = Image.new("RGB", (max(1, round(width)), max(1, round(width / _ASPECT))), (255, 255, 255))
    frame.paste(cut, ((frame.width - cut.width) // 2, (frame.height - cut.height) // 2))
    return frame
