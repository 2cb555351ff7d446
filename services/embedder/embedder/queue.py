"""The queue before the device. It forms batches of one class of work and one release, never more than the cap, from the
lanes of the callers in turn. Interactive work goes first; of the batch class only so many batches are on the device at
a time, and after a number of batches in a row of the first kind one of the second has its turn.

An idle device takes what is there at once; only while more pictures of the same class are being decoded does it wait
for them, and then no longer than `max_wait_s`. Takers that wait side by side share what there is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from embedder.call import Item, Work
from embedder.residency import Resident
from vitrine.fair_queue import FairQueue, Turns

# Of every nine passes one is left to the batch class, however much the interactive one sends.
INTERACTIVE_IN_A_ROW: Final = 8
# For so long after an interactive picture another one is expected, and passes of the batch class stay short.
_EXPECTED_S: Final = 1.0


class BatchQueue:
    """Decoded pictures, taken in batches by the device's threads. Its bound is the pipeline's: pictures in flight.

    `most_batch_passes` of the batch class may be taken and not yet `passed`. While interactive work comes too, such a
    pass has at most `short_batch` pictures.
    """

    def __init__(self, *, max_wait_s: float, most_batch_passes: int = 2, short_batch: int | None = None) -> None:
        self._max_wait_s = max_wait_s
        self._most_batch_passes = most_batch_passes
        self._short_batch = short_batch
        self._waiting: dict[Work, FairQueue[Item]] = {"interactive": FairQueue(), "batch": FairQueue()}
        self._decoding: dict[Work, int] = {"interactive": 0, "batch": 0}
        self._turns = Turns(INTERACTIVE_IN_A_ROW)
        self._batch_passes = 0
        self._interactive_s = float("-inf")
        self._takers = 0
        self._closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    @property
    def quiet(self) -> bool:
        """Whether no picture waits and none is being decoded."""
        return not len(self) and not any(self._decoding.values())

    def announce(self, count: int, work: Work = "interactive") -> None:
        """So many pictures have begun to be decoded."""
        with self._changed:
            self._decoding[work] += count

    def put(self, items: Sequence[Item]) -> None:
        """Pictures of one call have been decoded."""
        with self._changed:
            for item in items:
                work = item.call.work
                self._decoding[work] -= 1
                # A lane is of one release, so that its first picture speaks for the rest.
                self._waiting[work].put((item.call.lane, id(item.resident)), item)
                if work == "interactive":
                    self._interactive_s = time.monotonic()
            self._changed.notify(len(items))

    def withdraw(self, count: int, work: Work = "interactive") -> None:
        """So many pictures that had begun will not come."""
        with self._changed:
            self._decoding[work] -= count
            self._changed.notify()

    def take(self, max_batch: int) -> list[Item]:
        """The next batch; empty once the queue is closed and drained. One of the batch class is `passed` in the end."""
        with self._changed:
            self._takers += 1
            try:
                while True:
                    self._changed.wait_for(lambda: self._next() is not None or (self._closed and not len(self)))
                    work = self._next()
                    if work is None:
                        return []
                    self._wait_for_more(work, max_batch)
                    # Another taker may have been quicker, and what has come since may go first.
                    work = self._next()
                    if work is not None:
                        picked = self._pick(work, max_batch)
                        if self._next() is not None:
                            # A picture wakes one taker, and this one has left some of them to the next.
                            self._changed.notify()
                        return picked
            finally:
                self._takers -= 1

    def passed(self, work: Work) -> None:
        """A batch that was taken has been answered."""
        if work == "batch":
            with self._changed:
                self._batch_passes -= 1
                self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def drain(self) -> None:
        """Drop everything that waits: the device has died."""
        with self._changed:
            for waiting in self._waiting.values():
                for _ in waiting.drain():
                    pass

    def _next(self) -> Work | None:
        """The class whose turn it is, or None where nothing may be taken."""
        batch = bool(len(self._waiting["batch"])) and self._batch_passes < self._most_batch_passes
        if len(self._waiting["interactive"]) and not (batch and self._turns.other_is_due()):
            return "interactive"
        return "batch" if batch else None

    def _pick(self, work: Work, max_batch: int) -> list[Item]:
        waiting = self._waiting[work]
        if work == "batch" and self._short_batch and time.monotonic() - self._interactive_s < _EXPECTED_S:
            max_batch = min(max_batch, self._short_batch)
        first = waiting.first()
        assert first is not None
        fits = _same_release(first.resident)
        share = -(-waiting.count(fits, enough=self._takers * max_batch) // self._takers)
        picked: list[Item] = []
        while len(picked) < max(1, min(share, max_batch)) and (item := waiting.take(fits)) is not None:
            picked.append(item)
        self._turns.took(first=work == "interactive", other_waits=bool(len(self._waiting["batch"])))
        if work == "batch":
            self._batch_passes += 1
        return picked

    def _wait_for_more(self, work: Work, max_batch: int) -> None:
        waiting = self._waiting[work]
        if not self._decoding[work] or not self._max_wait_s:
            return
        ends_s = time.monotonic() + self._max_wait_s
        while (first := waiting.first()) is not None and self._decoding[work] and not self._closed:
            if waiting.count(_same_release(first.resident), enough=max_batch) >= max_batch:
                return
            left_s = ends_s - time.monotonic()
            if left_s <= 0 or not self._changed.wait(left_s):
                return


def _same_release(resident: Resident | None) -> Callable[[Item], bool]:
    """Tells whether an item is of the release `resident`."""
    return lambda item: item.resident is resident
