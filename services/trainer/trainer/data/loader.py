"""Batches of augmented images, prepared ahead of the training step.

On a CPU a thread gathers and augments while the network works. On a GPU the images are augmented there, and the whole
cache is kept in GPU memory if it fits.
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
from trainer.data.mask_cache import Masks, compute_masks
from trainer.seeds import generator
from vitrine.types import Pixels, Rows

_AHEAD: Final = 4
_MOST_OF_FREE_MEMORY: Final = 0.3  # of the GPU: the network and its gradients need the rest
_CHUNK: Final = 2048


@dataclass(frozen=True, slots=True)
class Batch:
    """`rows` (N,) of the dataset and their `pixels` (N, H, W, 3) uint8 on the device."""

    number: int
    rows: Rows
    pixels: torch.Tensor


class BatchLoader:
    """Loads batches of a pixel cache, which has a row for each image of the dataset.

    `masks` are computed here if the augmenter needs them and none are given.
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
        self._on_device = DevicePixels(pixels, self._masks, device) if fits(pixels, self._masks, device) else None

    def epoch(self, batches: Sequence[Rows], epoch: int, *, first: int = 0) -> Generator[Batch, None, None]:
        """The batches from number `first` on, in order. Close the iterator to end its threads."""
        if self._on_device is not None:
            for number in range(first, len(batches)):
                images, masks = self._on_device.of(batches[number])
                yield Batch(number, batches[number], self._augment(images, masks, epoch, number))
            return
        on_cpu = self._device.type == "cpu"
        threads = 1 if on_cpu else min(8, os.cpu_count() or 1)
        with ThreadPoolExecutor(threads, "batches", initializer=_use_one_core) as pool:
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
                        pixels = self._send(pixels, epoch, number)
                    yield Batch(number, batches[number], pixels)
            finally:
                for _, future in ahead:
                    future.cancel()

    def _gather(self, rows: Rows, epoch: int, number: int) -> torch.Tensor:
        """For a CPU the augmented batch (N, H, W, 3); for a GPU (N, 3 or more, H, W), with the masks as channels."""
        images = torch.from_numpy(self.pixels[rows]).permute(0, 3, 1, 2)
        masks = None if self._masks is None else torch.from_numpy(self._masks.of(rows))
        if self._device.type != "cpu":
            planes = images if masks is None else torch.cat([images, masks], dim=1)
            return planes.pin_memory() if torch.cuda.is_available() else planes
        return self._augment(images, masks, epoch, number)

    def _send(self, planes: torch.Tensor, epoch: int, number: int) -> torch.Tensor:
        planes = planes.to(self._device, non_blocking=True)
        masks = planes[:, 3:] if planes.shape[1] > 3 else None
        return self._augment(planes[:, :3], masks, epoch, number)

    def _augment(self, images: torch.Tensor, masks: torch.Tensor | None, epoch: int, number: int) -> torch.Tensor:
        """(N, 3, H, W) uint8 in, (N, H, W, 3) uint8 out."""
        if self._augmenter is not None:
            images = self._augmenter(images, masks, generator(self._seed, epoch, number))
        return images.permute(0, 2, 3, 1)


class DevicePixels:
    """A copy of a pixel cache (N, H, W, 3), and of its masks, in the memory of a GPU."""

    def __init__(self, pixels: Pixels, masks: Masks | None, device: torch.device) -> None:
        self._device = device
        self._pixels = _copy(pixels, device)
        self._masks = None if masks is None else _copy(masks.found, device)
        self._places = None if masks is None else masks.places

    def of(self, rows: Rows) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(N, 3, H, W) uint8, and the masks (N, count, H, W) uint8 if there are any."""
        images = self._pixels[to_device(rows, self._device)].permute(0, 3, 1, 2)
        if self._masks is None or self._places is None:
            return images, None
        return images, self._masks[to_device(self._places[rows], self._device)]


def fits(pixels: Pixels, masks: Masks | None, device: torch.device) -> bool:
    """Whether `device` is a GPU with enough free memory for the pixels and masks."""
    if device.type != "cuda":
        return False
    needed = pixels.nbytes + (0 if masks is None else masks.found.nbytes)
    free, _ = torch.cuda.mem_get_info(device)
    return needed <= _MOST_OF_FREE_MEMORY * free


def _copy(array: Pixels, device: torch.device) -> torch.Tensor:
    """Copy in chunks, because a memory-mapped array may be larger than the host's memory."""
    copied = torch.empty(array.shape, dtype=torch.uint8, device=device)
    for start in range(0, len(array), _CHUNK):
        copied[start : start + _CHUNK] = torch.from_numpy(np.array(array[start : start + _CHUNK])).to(device)
    return copied


def _use_one_core() -> None:
    """Keep the kernels of this thread on one core, so that they do not preempt those of the network.

    torch.set_num_threads would change the default of other threads too.
    """
    torch.get_num_threads()  # makes torch set its default for this thread now, before the limit below
    threadpool_limits(1, user_api="openmp")
    cv2.setNumThreads(1)  # for the whole process; each thread works on an image of its own
