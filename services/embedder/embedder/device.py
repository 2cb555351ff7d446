"""The threads that run batches on the device.

One thread for a GPU, or one per core of a CPU, takes batches and starts them. Another waits for the vectors and
delivers them, so that a GPU computes one batch while the previous one is answered. A failed batch is bisected until the
picture that causes the failure is alone; the others get their vectors.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Queue
from typing import Final

import numpy as np
import torch

from embedder.batcher import Batcher
from embedder.call import BatchItem, Result
from embedder.metrics import Metrics
from embedder.model_cache import Loaded
from vitrine.errors import DeadlineExpired, EmbeddingFailed
from vitrine.telemetry import get_logger

_STARTED_AHEAD: Final = 2
_END: Final = None

# Delivers the result of a vector.
Finish = Callable[[BatchItem, Result], None]


@dataclass(slots=True)
class _Started:
    items: list[BatchItem]
    features: torch.Tensor
    vectors: torch.Tensor
    started_s: float


class Device:
    """Runs batches until the queue is closed. `on_death` is called with an error that ended one of the threads."""

    def __init__(
        self,
        queue: Batcher,
        *,
        max_batch: int,
        passes_at_once: int,
        finish: Finish,
        on_death: Callable[[BaseException], None],
        metrics: Metrics,
    ) -> None:
        self.max_batch = max_batch
        self.last_good_s = 0.0
        self._queue = queue
        self._finish = finish
        self._on_death = on_death
        self._metrics = metrics
        self._started: Queue[_Started | None] = Queue(_STARTED_AHEAD * passes_at_once)
        self._passes_at_once = passes_at_once
        # The thread that sees a batch fail runs its halves.
        self._passes = threading.BoundedSemaphore(passes_at_once)
        self._running = 0
        self._lock = threading.Lock()
        self._log = get_logger("device")
        self._threads = [
            threading.Thread(target=self._guard, args=(loop,), name=name, daemon=True)
            for name, loop in (
                *((f"device-{number}", self._run) for number in range(passes_at_once)),
                ("reply", self._reply),
            )
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    @property
    def alive(self) -> bool:
        return all(thread.is_alive() for thread in self._threads)

    def join(self, timeout_s: float) -> None:
        """Wait until the threads end. Close the queue first."""
        for thread in self._threads:
            thread.join(timeout_s)

    def _guard(self, loop: Callable[[], None]) -> None:
        try:
            loop()
        except BaseException as error:
            self._log.error("thread_death", exc_info=error)
            self._on_death(error)

    def _run(self) -> None:
        try:
            while batch := self._queue.take(self.max_batch):
                self._metrics.queue_depth.set(len(self._queue))
                priority = batch[0].call.priority
                batch = self._still_wanted(batch)
                if batch:
                    self._start(batch)
                else:
                    self._queue.passed(priority)
        finally:
            self._started.put(_END)

    def _start(self, batch: list[BatchItem]) -> None:
        now_s = time.monotonic()
        for item in batch:
            item.call.note("queue", now_s - item.decoded_s)
            self._metrics.stage_s.labels("queue").observe(now_s - item.decoded_s)
        self._metrics.batch_size.observe(len(batch))
        try:
            started = self._submit(batch)
        except Exception as error:  # the picture that causes it gets the error
            self._bisect_taken(batch, error)
            return
        if started.vectors.device.type != "cpu":
            self._started.put(started)
            return
        # A CPU has computed it already, so waking the other thread would only cost time.
        self._deliver_taken(started)

    def _deliver_taken(self, started: _Started) -> None:
        """Deliver a batch that was taken from the queue."""
        try:
            self._deliver(started)
        except Exception as error:  # a GPU reports a failed kernel only when its result is fetched
            self._bisect_taken(started.items, error)
        else:
            self._queue.passed(started.items[0].call.priority)

    def _bisect_taken(self, batch: list[BatchItem], error: Exception) -> None:
        self._bisect(batch, error)
        self._queue.passed(batch[0].call.priority)

    def _submit(self, items: list[BatchItem]) -> _Started:
        started_s = time.monotonic()
        pixels = np.stack([item.pixels for item in items if item.pixels is not None])
        with self._passes, self._counted() as running:
            alone = running == 1 and self._queue.idle
            features, vectors = _release(items).submit(pixels, alone=alone)
        return _Started(items, features, vectors, started_s)

    def _reply(self) -> None:
        running = self._passes_at_once
        while running:
            started = self._started.get()
            if started is _END:
                running -= 1
                continue
            self._deliver_taken(started)

    @contextmanager
    def _counted(self) -> Iterator[int]:
        """The number of running passes, including this one."""
        with self._lock:
            self._running += 1
            running = self._running
        try:
            yield running
        finally:
            with self._lock:
                self._running -= 1

    def _deliver(self, started: _Started) -> None:
        """Wait for a batch's vectors and deliver them. An error of the device is raised before any is delivered."""
        features, vectors = started.features.cpu().numpy(), started.vectors.cpu().numpy()
        device_s = time.monotonic() - started.started_s
        release = _release(started.items)
        self._metrics.stage_s.labels(release.stage).observe(device_s)
        finite = np.isfinite(vectors).reshape(len(vectors), -1).all(axis=1)
        release.note_pass(len(started.items), device_s)
        boundary = release.boundary
        familiar = None if boundary is None else boundary.familiar(features)
        for row, item in enumerate(started.items):
            item.call.note(release.stage, device_s)
            if finite[row]:
                if familiar is not None:
                    item.call.familiar[item.position] = bool(familiar[row])
                if item.call.keep_features:
                    item.call.features[item.position] = features[row]
                self._finish(item, (vectors if item.call.space == "projected" else features)[row])
            else:
                self._finish(item, EmbeddingFailed("the network gave no finite result for the picture"))
        if finite.any():
            self.last_good_s = time.monotonic()

    def _bisect(self, batch: list[BatchItem], error: Exception) -> None:
        """Run the halves of a failed batch one after the other. A single picture that fails gets the error."""
        if isinstance(error, torch.OutOfMemoryError) and self.max_batch > 1:
            self.max_batch = max(1, len(batch) // 2)
            torch.cuda.empty_cache()
            self._log.warning("batch_shrink", max_batch=self.max_batch)
        if len(batch) == 1:
            self._log.warning("picture_failure", error=f"{type(error).__name__}: {error}"[:300])
            self._finish(batch[0], EmbeddingFailed("the network failed on this picture"))
            return
        self._metrics.bisections.inc()
        middle = len(batch) // 2
        for half in (batch[:middle], batch[middle:]):
            try:
                self._deliver(self._submit(half))
            except Exception as again:  # the same
                self._bisect(half, again)

    def _still_wanted(self, batch: list[BatchItem]) -> list[BatchItem]:
        wanted = []
        for item in batch:
            if item.call.expired:
                self._finish(item, DeadlineExpired("the deadline passed before the picture's turn came"))
            else:
                wanted.append(item)
        return wanted


def _release(items: list[BatchItem]) -> Loaded:
    release = items[0].release
    assert release is not None, "decoded pixels have a release"
    return release
