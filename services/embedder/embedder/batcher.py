"""Forms batches for the device from the decoded pictures.

A batch has one priority and one release, and at most the given number of pictures, taken from the callers' lanes in
turn. Interactive work goes first. Only a few batches of the batch class are on the device at a time, and after several
interactive batches in a row one of the batch class is due.

An idle device takes what is there at once. Only while more pictures of the same priority are being decoded does it wait
for them, and at most for `max_wait_s`. Threads that wait side by side share what there is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from embedder.call import BatchItem, Priority
from embedder.model_cache import Loaded
from vitrine.fair_queue import FairQueue, PriorityTurns

# Of nine passes at least one is left for the batch class.
INTERACTIVE_IN_A_ROW: Final = 8
# For this long after an interactive picture another one is expected, and passes of the batch class stay short.
_INTERACTIVE_EXPECTED_S: Final = 1.0


class Batcher:
    """The queue between decoding and the device. The pipeline limits its size.

    `max_batch_passes` of the batch class may be taken and not yet `passed`. While interactive work arrives too, such a
    pass has at most `short_batch` pictures. Thread-safe.
    """

    def __init__(self, *, max_wait_s: float, max_batch_passes: int = 2, short_batch: int | None = None) -> None:
        self._max_wait_s = max_wait_s
        self._max_batch_passes = max_batch_passes
        self._short_batch = short_batch
        self._waiting: dict[Priority, FairQueue[BatchItem]] = {"interactive": FairQueue(), "batch": FairQueue()}
        self._decoding: dict[Priority, int] = {"interactive": 0, "batch": 0}
        self._turns = PriorityTurns(INTERACTIVE_IN_A_ROW)
        self._batch_passes = 0
        self._interactive_s = float("-inf")
        self._takers = 0
        self._closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    @property
    def idle(self) -> bool:
        """Whether no picture waits and none is being decoded."""
        return not len(self) and not any(self._decoding.values())

    def announce(self, count: int, priority: Priority = "interactive") -> None:
        """So many pictures are going to be decoded."""
        with self._changed:
            self._decoding[priority] += count

    def put(self, items: Sequence[BatchItem]) -> None:
        """Add decoded pictures of one call."""
        with self._changed:
            for item in items:
                priority = item.call.priority
                self._decoding[priority] -= 1
                # A lane has one release, so that its first picture represents the others.
                self._waiting[priority].put((item.call.lane, id(item.release)), item)
                if priority == "interactive":
                    self._interactive_s = time.monotonic()
            self._changed.notify(len(items))

    def withdraw(self, count: int, priority: Priority = "interactive") -> None:
        """So many announced pictures will not come."""
        with self._changed:
            self._decoding[priority] -= count
            self._changed.notify()

    def take(self, max_batch: int) -> list[BatchItem]:
        """Wait for the next batch. Empty if the queue is closed and drained. Call `passed` after the batch."""
        with self._changed:
            self._takers += 1
            try:
                while True:
                    self._changed.wait_for(lambda: self._next() is not None or (self._closed and not len(self)))
                    priority = self._next()
                    if priority is None:
                        return []
                    self._wait_for_more(priority, max_batch)
                    # Another thread may have been faster, and newer work may go first.
                    priority = self._next()
                    if priority is not None:
                        picked = self._pick(priority, max_batch)
                        if self._next() is not None:
                            # A picture wakes one thread, and this one has left some for the next.
                            self._changed.notify()
                        return picked
            finally:
                self._takers -= 1

    def passed(self, priority: Priority) -> None:
        """A batch that was taken is answered."""
        if priority == "batch":
            with self._changed:
                self._batch_passes -= 1
                self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def drain(self) -> None:
        """Drop everything that waits, after the device has died."""
        with self._changed:
            for waiting in self._waiting.values():
                for _ in waiting.drain():
                    pass

    def _next(self) -> Priority | None:
        """The priority whose turn it is, or None if nothing may be taken."""
        batch = bool(len(self._waiting["batch"])) and self._batch_passes < self._max_batch_passes
        if len(self._waiting["interactive"]) and not (batch and self._turns.other_is_due()):
            return "interactive"
        return "batch" if batch else None

    def _pick(self, priority: Priority, max_batch: int) -> list[BatchItem]:
        waiting = self._waiting[priority]
        recent = time.monotonic() - self._interactive_s < _INTERACTIVE_EXPECTED_S
        if priority == "batch" and self._short_batch and recent:
            max_batch = min(max_batch, self._short_batch)
        first = waiting.first()
        assert first is not None
        fits = _same_release(first.release)
        share = -(-waiting.count(fits, enough=self._takers * max_batch) // self._takers)
        picked: list[BatchItem] = []
        while len(picked) < max(1, min(share, max_batch)) and (item := waiting.take(fits)) is not None:
            picked.append(item)
        self._turns.took(first=priority == "interactive", other_waits=bool(len(self._waiting["batch"])))
        if priority == "batch":
            self._batch_passes += 1
        return picked

    def _wait_for_more(self, priority: Priority, max_batch: int) -> None:
        waiting = self._waiting[priority]
        if not self._decoding[priority] or not self._max_wait_s:
            return
        ends_s = time.monotonic() + self._max_wait_s
        while (first := waiting.first()) is not None and self._decoding[priority] and not self._closed:
            if waiting.count(_same_release(first.release), enough=max_batch) >= max_batch:
                return
            left_s = ends_s - time.monotonic()
            if left_s <= 0 or not self._changed.wait(left_s):
                return


def _same_release(release: Loaded | None) -> Callable[[BatchItem], bool]:
    return lambda item: item.release is release
