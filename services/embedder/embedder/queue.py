"""The queue before the device. It forms batches: all pictures of one release, in the order they came, never more than
the cap. An idle device takes what is there at once; only while more pictures are being decoded does it wait for them,
and then no longer than `max_wait_s`. Takers that wait side by side share what there is.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from embedder.call import Item


class BatchQueue:
    """Decoded pictures, taken in batches by the device's threads. Its bound is the pipeline's: pictures in flight."""

    def __init__(self, *, max_wait_s: float) -> None:
        self._max_wait_s = max_wait_s
        self._items: deque[Item] = deque()
        self._decoding = 0
        self._takers = 0
        self._closed = False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def quiet(self) -> bool:
        """Whether no picture waits and none is being decoded."""
        return not self._items and not self._decoding

    def announce(self, count: int) -> None:
        """So many pictures have begun to be decoded."""
        with self._changed:
            self._decoding += count

    def put(self, item: Item) -> None:
        """A picture has been decoded."""
        with self._changed:
            self._decoding -= 1
            self._items.append(item)
            self._changed.notify()

    def withdraw(self) -> None:
        """A picture that had begun will not come."""
        with self._changed:
            self._decoding -= 1
            self._changed.notify()

    def take(self, max_batch: int) -> list[Item]:
        """The next batch; empty once the queue is closed and drained."""
        with self._changed:
            self._takers += 1
            try:
                while True:
                    self._changed.wait_for(lambda: self._items or self._closed)
                    if not self._items:
                        return []
                    resident = self._items[0].call.resident
                    self._wait_for_more(resident, max_batch)
                    # Another taker may have been quicker.
                    if self._items:
                        share = -(-self._count(resident, self._takers * max_batch) // self._takers)
                        picked = self._pick(resident, max(1, min(share, max_batch)))
                        if self._items:
                            # A picture wakes one taker, and this one has left some of them to the next.
                            self._changed.notify()
                        return picked
            finally:
                self._takers -= 1

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def drain(self) -> list[Item]:
        """Everything that waits, for whoever must refuse it."""
        with self._changed:
            items = list(self._items)
            self._items.clear()
            return items

    def _wait_for_more(self, resident: object, max_batch: int) -> None:
        if not self._decoding or not self._max_wait_s:
            return
        ends_s = time.monotonic() + self._max_wait_s
        while self._items and self._decoding and not self._closed and self._count(resident, max_batch) < max_batch:
            left_s = ends_s - time.monotonic()
            if left_s <= 0 or not self._changed.wait(left_s):
                return

    def _count(self, resident: object, enough: int) -> int:
        count = 0
        for item in self._items:
            count += item.call.resident is resident
            if count >= enough:
                break
        return count

    def _pick(self, resident: object, max_batch: int) -> list[Item]:
        picked: list[Item] = []
        kept: deque[Item] = deque()
        while self._items and len(picked) < max_batch:
            item = self._items.popleft()
            (picked if item.call.resident is resident else kept).append(item)
        kept.extend(self._items)
        self._items = kept
        return picked
