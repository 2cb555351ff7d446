"""The offline loop: many pictures through one network, without a service. Pictures are read and decoded in threads
while the device computes, a bounded number ahead, so memory does not grow with the catalogue.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np

from vitrine.errors import ImageRejected
from vitrine.vision.network import ReleaseNetwork, Vectors
from vitrine.vision.preprocess import Pixels, Preprocessor

# Reads a picture's bytes when a decoding thread gets to it; raises ImageRejected where there is none to read.
Read = Callable[[], bytes]
Space = Literal["raw", "projected"]
_BATCHES_AHEAD = 3


@dataclass(frozen=True, slots=True)
class Extracted:
    """One batch: the ids of the pictures that were embedded, a row for each, and what the others were refused for."""

    ids: list[str]
    rows: Vectors
    rejected: list[tuple[str, ImageRejected]]


def extract(
    pictures: Iterable[tuple[str, Read]],
    network: ReleaseNetwork,
    preprocessor: Preprocessor,
    *,
    batch: int,
    space: Space = "raw",
    threads: int | None = None,
) -> Iterator[Extracted]:
    """Embed (id, read) pairs in their order, a batch at a time. Rows are (N, raw_dim) or (N, dim) float32."""
    source = iter(pictures)

    def prepare(read: Read) -> Pixels | ImageRejected:
        try:
            return preprocessor(read())
        except ImageRejected as rejected:
            return rejected

    with ThreadPoolExecutor(threads or os.cpu_count() or 1, thread_name_prefix="decode") as pool:
        ahead: deque[list[tuple[str, Future[Pixels | ImageRejected]]]] = deque()

        def fill() -> None:
            while len(ahead) < _BATCHES_AHEAD:
                chunk = [(key, pool.submit(prepare, read)) for key, read in islice(source, batch)]
                if not chunk:
                    return
                ahead.append(chunk)

        fill()
        while ahead:
            prepared = [(key, future.result()) for key, future in ahead.popleft()]
            fill()
            yield _run(prepared, network, space)


def _run(prepared: list[tuple[str, Pixels | ImageRejected]], network: ReleaseNetwork, space: Space) -> Extracted:
    good = [(key, pixels) for key, pixels in prepared if not isinstance(pixels, ImageRejected)]
    rejected = [(key, reason) for key, reason in prepared if isinstance(reason, ImageRejected)]
    if not good:
        width = network.raw_dim if space == "raw" else network.dim
        return Extracted([], np.empty((0, width), dtype=np.float32), rejected)
    stacked = np.stack([pixels for _, pixels in good])
    rows = network.features(stacked) if space == "raw" else network.vectors(stacked)
    return Extracted([key for key, _ in good], rows, rejected)
