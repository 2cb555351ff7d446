"""The garment of a photograph, cut out and put on white as a catalogue shows it. A network that knows a catalogue finds
more for it than for the bed, the floor and the wall around it. Who changes how it is cut out raises
`vitrine.images.views.VIEW_RULES_VERSION`.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

_Mask = npt.NDArray[np.uint8]

_SEEN_PX: Final = 192  # longest side of the picture in which the garment is looked for
_LEAST_SIDE_PX: Final = 8
_ROUNDS: Final = 2
_FRAME_SHARE: Final = 0.04  # of the shorter side: what is background for sure
_LEAST_PIECE: Final = 0.25  # of the largest: what is smaller is no part of the garment
_GARMENT_SHARE: Final = (0.05, 0.9)  # of the picture: beyond, nothing was told apart
_SOFT_SIGMA_PX: Final = 1.5
_MARGIN: Final = 0.1  # of the garment's frame, on each side
_FORM: Final = 3 / 4  # width to height, as catalogues show garments
_WHITE_FROM: Final = 235
_WHITE_BORDER: Final = 0.9


def cut_out(image: Image.Image) -> Image.Image:
    """The garment of an RGB picture on white, in the middle of a frame of 3:4.

    A picture that stands on white already, or of which nothing can be told from its background, comes back as it is.
    The same picture gives the same cut-out. Told apart by GrabCut (Rother, Kolmogorov and Blake, "GrabCut: Interactive
    Foreground Extraction using Iterated Graph Cuts", SIGGRAPH 2004), where the frame of the picture is background.
    """
    if min(image.size) < _LEAST_SIDE_PX:
        return image
    small = image.copy()
    small.thumbnail((_SEEN_PX, _SEEN_PX))
    seen = np.asarray(small)
    if _stands_on_white(seen):
        return image
    mask = _largest_pieces(_foreground(seen))
    if not _GARMENT_SHARE[0] <= mask.mean() <= _GARMENT_SHARE[1]:
        return image
    return _framed(image, mask)


def _stands_on_white(seen: npt.NDArray[np.uint8]) -> bool:
    border = np.concatenate([seen[0], seen[-1], seen[:, 0], seen[:, -1]])
    return bool((border.min(axis=1) >= _WHITE_FROM).mean() >= _WHITE_BORDER)


def _foreground(seen: npt.NDArray[np.uint8]) -> _Mask:
    """(H, W) uint8, 1 where the garment is."""
    height, width = seen.shape[:2]
    edge = max(1, round(_FRAME_SHARE * min(height, width)))
    mask = np.full((height, width), cv2.GC_BGD, dtype=np.uint8)
    mask[edge:-edge, edge:-edge] = cv2.GC_PR_FGD
    cv2.setRNGSeed(0)  # of this thread: where its mixtures of colours begin is drawn
    models = np.zeros((1, 65)), np.zeros((1, 65))
    no_box = (0, 0, 0, 0)
    cv2.grabCut(np.ascontiguousarray(seen), mask, no_box, *models, _ROUNDS, cv2.GC_INIT_WITH_MASK)
    return np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)


def _largest_pieces(mask: _Mask) -> _Mask:
    """Without specks and holes, and without what hangs together with nothing."""
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    for operation in (cv2.MORPH_OPEN, cv2.MORPH_CLOSE):
        mask = np.asarray(cv2.morphologyEx(mask, operation, brush), dtype=np.uint8)
    count, pieces, measures, _ = cv2.connectedComponentsWithStats(mask)
    if count < 2:
        return mask
    sizes = measures[:, cv2.CC_STAT_AREA].copy()
    sizes[0] = 0
    kept: _Mask = (sizes >= _LEAST_PIECE * sizes.max())[pieces].astype(np.uint8)
    return kept


def _framed(image: Image.Image, mask: _Mask) -> Image.Image:
    share = cv2.resize(mask.astype(np.float32), image.size, interpolation=cv2.INTER_LINEAR)
    share = np.asarray(cv2.GaussianBlur(share, (0, 0), _SOFT_SIGMA_PX))
    # The softness lies within the garment: no rim of what is behind it comes along.
    share = np.clip(2 * share - 1, 0, 1)
    inside = share >= 0.5
    if not inside.any():  # of a picture so small that nothing but the softness is left
        return image
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    alone = 255.0 - (255.0 - np.asarray(image, dtype=np.float32)) * share[..., None]
    garment = Image.fromarray(np.rint(alone).astype(np.uint8)).crop(
        (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    )
    width = max(garment.width, garment.height * _FORM) * (1 + 2 * _MARGIN)
    frame = Image.new("RGB", (max(1, round(width)), max(1, round(width / _FORM))), (255, 255, 255))
    frame.paste(garment, ((frame.width - garment.width) // 2, (frame.height - garment.height) // 2))
    return frame
