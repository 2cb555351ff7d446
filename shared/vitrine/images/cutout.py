"""Cut the garment out of a photograph and put it on white, as catalogues show garments. A network that was trained on a
catalogue finds more without the background. Every change of the result raises
`vitrine.images.views.VIEW_RULES_VERSION`.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from vitrine.images.garment_masks import Garment

_Mask = npt.NDArray[np.uint8]

_SEGMENTED_PX: Final = 192  # longest side of the reduced picture that is segmented
_MIN_SIDE_PX: Final = 8
_ROUNDS: Final = 2
_BORDER_SHARE: Final = 0.04  # of the shorter side; the border is certain background
_MIN_COMPONENT: Final = 0.25  # of the largest component; smaller ones are not part of the garment
_GARMENT_SHARE: Final = (0.05, 0.9)  # of the picture; outside this range the segmentation failed
_SOFT_SIGMA_PX: Final = 1.5
_MARGIN: Final = 0.1  # of the garment's box, on each side
_ASPECT: Final = 3 / 4  # width to height, as in catalogues
_WHITE_FROM: Final = 235
_WHITE_BORDER: Final = 0.9


def cut_out(image: Image.Image) -> Image.Image:
    """The garment of an RGB picture on white, centred in a 3:4 picture. Deterministic.

    A picture that is already on white, or whose segmentation fails, is returned unchanged. Segmented by GrabCut
    (Rother, Kolmogorov and Blake, "GrabCut: Interactive Foreground Extraction using Iterated Graph Cuts", SIGGRAPH
    2004), with the border of the picture as background.
    """
    if min(image.size) < _MIN_SIDE_PX:
        return image
    small = image.copy()
    small.thumbnail((_SEGMENTED_PX, _SEGMENTED_PX))
    seen = np.asarray(small)
    if _is_on_white(seen):
        return image
    mask = _largest_components(_foreground(seen))
    if not _GARMENT_SHARE[0] <= mask.mean() <= _GARMENT_SHARE[1]:
        return image
    return _on_white(image, mask)


def cut_out_garment(image: Image.Image, garment: Garment) -> Image.Image:
    """The garment of an RGB picture on white, with a soft edge, centred in a 3:4 picture. Deterministic.

    `image` is the picture that the garment was found in, at any size. If nothing is left, it is returned.
    """
    return _on_white(image, garment.mask)


def _is_on_white(seen: npt.NDArray[np.uint8]) -> bool:
    border = np.concatenate([seen[0], seen[-1], seen[:, 0], seen[:, -1]])
    return bool((border.min(axis=1) >= _WHITE_FROM).mean() >= _WHITE_BORDER)


def _foreground(seen: npt.NDArray[np.uint8]) -> _Mask:
    """The mask of the garment: (H, W) uint8, 0 or 1."""
    height, width = seen.shape[:2]
    edge = max(1, round(_BORDER_SHARE * min(height, width)))
    mask = np.full((height, width), cv2.GC_BGD, dtype=np.uint8)
    mask[edge:-edge, edge:-edge] = cv2.GC_PR_FGD
    cv2.setRNGSeed(0)  # per thread; initialises the colour mixtures
    models = np.zeros((1, 65)), np.zeros((1, 65))
    no_box = (0, 0, 0, 0)
    cv2.grabCut(np.ascontiguousarray(seen), mask, no_box, *models, _ROUNDS, cv2.GC_INIT_WITH_MASK)
    return np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)


def _largest_components(mask: _Mask) -> _Mask:
    """The mask without specks, holes and small components."""
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    for operation in (cv2.MORPH_OPEN, cv2.MORPH_CLOSE):
        mask = np.asarray(cv2.morphologyEx(mask, operation, brush), dtype=np.uint8)
    count, components, stats, _ = cv2.connectedComponentsWithStats(mask)
    if count < 2:
        return mask
    sizes = stats[:, cv2.CC_STAT_AREA].copy()
    sizes[0] = 0
    kept: _Mask = (sizes >= _MIN_COMPONENT * sizes.max())[components].astype(np.uint8)
    return kept


def _on_white(image: Image.Image, mask: _Mask) -> Image.Image:
    alpha = cv2.resize(mask.astype(np.float32), image.size, interpolation=cv2.INTER_LINEAR)
    alpha = np.asarray(cv2.GaussianBlur(alpha, (0, 0), _SOFT_SIGMA_PX))
    # The soft edge is inside the garment, so that no rim of the background is kept.
    alpha = np.clip(2 * alpha - 1, 0, 1)
    inside = alpha >= 0.5
    if not inside.any():  # the garment is smaller than its soft edge
        return image
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    on_white = 255.0 - (255.0 - np.asarray(image, dtype=np.float32)) * alpha[..., None]
    garment = Image.fromarray(np.rint(on_white).astype(np.uint8)).crop(
        (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    )
    width = max(garment.width, garment.height * _ASPECT) * (1 + 2 * _MARGIN)
    frame = Image.new("RGB", (max(1, round(width)), max(1, round(width / _ASPECT))), (255, 255, 255))
    frame.paste(garment, ((frame.width - garment.width) // 2, (frame.height - garment.height) // 2))
    return frame
