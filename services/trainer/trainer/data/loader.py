"""Batches ahead of the device: a thread gathers pixels and, on a CPU, augments them, while the network works on the
last batch. On a GPU they are changed there, and lie there from the start where it has room for them all.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import torch
from threadpoolctl import threadpool_limits

from trainer.augmentation.pipeline import Augmenter
from trainer.augmentation.tensors import to_device
from trainer.data.dataset import Rows
from trainer.data.mask_cache import Masks, compute_masks
from trainer.seeds import generator
from vitrine.types import Pixels

_AHEAD: Final = 4


def _on_one_core() -> None:
    """Keep this thread's kernels to itself: spread over the cores they would stop those of the network in the middle.

    torch.set_num_threads would also change what other threads start with.
    """
    torch.get_num_threads()  # what torch sets in a new thread it sets now, and not over what follows
    threadpool_limits(1, user_api="openmp")
    cv2.setNumThreads(1)  # of the whole process, in which each thread has a picture of its own


@dataclass(frozen=True, slots=True)
class Batch:
    """`rows` (N,) int64 of the examples and their `pixels` (N, H, W, 3) uint8 on the device."""

    number: int
    rows: Rows
    pixels: torch.Tensor


class BatchLoader:
    """Batches of one cache of pixels. `pixels` has a row for each example. Their `masks` are found here where the
    augmenter needs them and none are given.
    """

    def __init__(
        self,
        pixels: Pixels,
        augmenter: Augmenter | None,
        device: torch.device,
        *,
        seed: int,
        masks: Masks | None = None,
    ) -> None:
        self.pixels = pixels
        self._augmenter = augmenter
        self._device = device
        self._seed = seed
        self._masks = masks
        if masks is None and augmenter is not None and augmenter.masks:
            self._masks = compute_masks(pixels, augmenter.masks)
        self._resident = DevicePixels(pixels, self._masks, device) if fits(pixels, self._masks, device) else None

    def epoch(self, batches: Sequence[Rows], epoch: int, *, first: int = 0) -> Generator[Batch, None, None]:
        """The batches from `first` on, in order. Closing the iterator ends the threads."""
        if self._resident is not None:
            for number in range(first, len(batches)):
                planes, masks = self._resident.of(batches[number])
                yield Batch(number, batches[number], self._changed(planes, masks, epoch, number))
            return
        on_cpu = self._device.type == "cpu"
        threads = 1 if on_cpu else min(8, os.cpu_count() or 1)
        with ThreadPoolExecutor(threads, "batches", initializer=_on_one_core) as pool:
            remaining = iter(range(first, len(batches)))
            ahead: deque[tuple[int, Future[torch.Tensor]]] = deque()

            def start() -> None:
                number = next(remaining, None)
                if number is not None:
                    ahead.append((number, pool.submit(self._gather, batches[number], epoch, number)))

            try:
                for _ in range(_AHEAD):
                    start()
                while ahead:
                    number, future = ahead.popleft()
                    pixels = future.result()
                    start()
                    if not on_cpu:
                        pixels = self._on_device(pixels, epoch, number)
                    yield Batch(number, batches[number], pixels)
            finally:
                for _, future in ahead:
                    future.cancel()

    def _gather(self, rows: Rows, epoch: int, number: int) -> torch.Tensor:
        """(N, H, W, 3) uint8, changed, on a CPU; for a GPU (N, 3 or more, H, W), with the masks as further channels."""
        planes = torch.from_numpy(self.pixels[rows]).permute(0, 3, 1, 2)
        masks = None if self._masks is None else torch.from_numpy(self._masks.of(rows))
        if self._device.type != "cpu":
            planes = planes if masks is None else torch.cat([planes, masks], dim=1)
            return planes.pin_memory() if torch.cuda.is_available() else planes
        return self._changed(planes, masks, epoch, number)

    def _on_device(self, planes: torch.Tensor, epoch: int, number: int) -> torch.Tensor:
        planes = planes.to(self._device, non_blocking=True)
        masks = planes[:, 3:] if planes.shape[1] > 3 else None
        return self._changed(planes[:, :3], masks, epoch, number)

    def _changed(self, planes: torch.Tensor, masks: torch.Tensor | None, epoch: int, number: int) -> torch.Tensor:
        """(N, H, W, 3) uint8."""
        if self._augmenter is not None:
            planes = self._augmenter(planes, masks, generator(self._seed, epoch, number))
        return planes.permute(0, 2, 3, 1)


_MOST_OF_FREE: Final = 0.3  # the network and its gradients need the rest
_CHUNK: Final = 2048


class DevicePixels:
    """`pixels` (N, H, W, 3) uint8 and, of some of them, `masks` on `device`."""

    def __init__(self, pixels: Pixels, masks: Masks | None, device: torch.device) -> None:
        self._device = device
        self._pixels = _copied(pixels, device)
        self._masks = None if masks is None else _copied(masks.found, device)
        self._places = None if masks is None else masks.places

    def of(self, rows: Rows) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(N, 3, H, W) uint8, and their masks (N, count, H, W) uint8 if there are any."""
        planes = self._pixels[to_device(rows, self._device)].permute(0, 3, 1, 2)
        if self._masks is None or self._places is None:
            return planes, None
        return planes, self._masks[to_device(self._places[rows], self._device)]


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
