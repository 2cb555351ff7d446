"""Feature extraction of many pictures without a service.

On a GPU, threads read and decode while the device computes; on a CPU, each core processes whole batches. The number of
batches ahead is bounded, so memory does not grow with the catalogue.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Literal, TypeVar

import numpy as np

from vitrine.errors import ImageRejected
from vitrine.types import Pixels, Vectors
from vitrine.vision.network import ReleaseNetwork
from vitrine.vision.preprocess import Preprocessor

# Reads a picture's bytes, in a worker thread; raises ImageRejected if it cannot be read.
Read = Callable[[], bytes]
Space = Literal["raw", "projected"]
T = TypeVar("T")
_Chunk = list[tuple[str, Read]]
_BATCHES_AHEAD = 3


@dataclass(frozen=True, slots=True)
class Extracted:
    """One batch: the ids of the embedded pictures, a row for each, and the errors of the others by id."""

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
) -> Iterator[Extracted]:
    """Embed (id, read) pairs in order, `batch` at a time. Rows are (N, raw_dim) or (N, dim) float32."""

    def prepare(read: Read) -> Pixels | ImageRejected:
        try:
            return preprocessor(read())
        except ImageRejected as rejected:
            return rejected

    def run(chunk: _Chunk) -> Extracted:
        return _run([(key, prepare(read)) for key, read in chunk], network, space)

    def decode(chunk: _Chunk) -> list[tuple[str, Future[Pixels | ImageRejected]]]:
        return [(key, pool.submit(prepare, read)) for key, read in chunk]

    source = iter(pictures)
    chunks = iter(lambda: list(islice(source, batch)), [])
    cores = network.passes_at_once
    with ThreadPoolExecutor(cores if cores > 1 else os.cpu_count(), thread_name_prefix="extract") as pool:
        if cores > 1:
            for future in _started_ahead(chunks, lambda chunk: pool.submit(run, chunk), count=cores + 1):
                yield future.result()
            return
        for decoding in _started_ahead(chunks, decode, count=_BATCHES_AHEAD):
            yield _run([(key, future.result()) for key, future in decoding], network, space)


def _started_ahead(chunks: Iterator[_Chunk], start: Callable[[_Chunk], T], *, count: int) -> Iterator[T]:
    """The results of `start` for each chunk, in order, with `count` of them started ahead."""
    started = deque(start(chunk) for chunk in islice(chunks, count))
    while started:
        yield started.popleft()
        started.extend(start(chunk) for chunk in islice(chunks, 1))


def _run(prepared: list[tuple[str, Pixels | ImageRejected]], network: ReleaseNetwork, space: Space) -> Extracted:
    good = [(key, pixels) for key, pixels in prepared if not isinstance(pixels, ImageRejected)]
    rejected = [(key, reason) for key, reason in prepared if isinstance(reason, ImageRejected)]
    if not good:
        width = network.raw_dim if space == "raw" else network.dim
        return Extracted([], np.empty((0, width), dtype=np.float32), rejected)
    stacked = np.stack([pixels for _, pixels in good])
    rows = network.features(stacked) if space == "raw" else network.vectors(stacked)
    return Extracted([key for key, _ in good], rows, rejected)
