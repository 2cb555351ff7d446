"""Decoded pictures in a GPU's own memory, with their cut-outs where these are needed: a batch is gathered there and
nothing waits for the host.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch

from trainer.training.examples import Rows
from trainer.training.masks import Masks
from trainer.training.pixels import Pixels
from trainer.training.sending import sent

_MOST_OF_FREE: Final = 0.3  # the network and its gradients need the rest
_CHUNK: Final = 2048


class ResidentPixels:
    """`pixels` (N, H, W, 3) uint8 and, of some of them, `masks` on `device`."""

    def __init__(self, pixels: Pixels, masks: Masks | None, device: torch.device) -> None:
        self._device = device
        self._pixels = _copied(pixels, device)
        self._masks = None if masks is None else _copied(masks.found, device)
        self._places = None if masks is None else masks.places

    def of(self, rows: Rows) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(N, 3, H, W) uint8, and their masks (N, count, H, W) uint8 if there are any."""
        planes = self._pixels[sent(rows, self._device)].permute(0, 3, 1, 2)
        if self._masks is None or self._places is None:
            return planes, None
        return planes, self._masks[sent(self._places[rows], self._device)]


def fits(pixels: Pixels, masks: Masks | None, device: torch.device) -> bool:
    """Whether `device` is a GPU with room for them."""
    if device.type != "cuda":
        return False
    wanted = pixels.nbytes + (0 if masks is None else masks.found.nbytes)
    free, _ = torch.cuda.mem_get_info(device)
    return wanted <= _MOST_OF_FREE * free


def _copied(array: Pixels, device: torch.device) -> torch.Tensor:
    """Part by part: the whole need not fit into the host's memory, where it is a file that is mapped."""
    there = torch.empty(array.shape, dtype=torch.uint8, device=device)
    for start in range(0, len(array), _CHUNK):
        there[start : start + _CHUNK] = torch.from_numpy(np.array(array[start : start + _CHUNK])).to(device)
    return there
