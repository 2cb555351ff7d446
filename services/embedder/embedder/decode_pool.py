"""The threads that decode pictures.

They take tasks from the callers' lanes in turn, interactive ones first. A large picture, which needs much memory or
time, starts only when there is memory for it, and small ones overtake it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from embedder.batcher import INTERACTIVE_IN_A_ROW
from embedder.call import DecodeTask, Priority
from vitrine.fair_queue import FairQueue, PriorityTurns

# Smaller pictures are not counted, because there are never more of them than threads.
_LARGE_BYTES: Final = 32_000_000
# A large JPEG that is decoded at a reduced scale needs little memory and much time.
_SLOW_S: Final = 0.25


class DecodePool:
    """Calls `decode` with each task. Thread-safe.

    Large pictures are decoded at the same time only if they fit into `memory_bytes`, and never on the last free thread,
    which is kept for small ones. One that is larger than `memory_bytes` is decoded while no other large one is.
    """

    def __init__(self, threads: int, *, memory_bytes: int, decode: Callable[[DecodeTask], None]) -> None:
        self._memory_bytes = memory_bytes
        self._max_large = max(1, threads - 1)
        self._decode = decode
        self._waiting: dict[Priority, FairQueue[DecodeTask]] = {"interactive": FairQueue(), "batch": FairQueue()}
        self._turns = PriorityTurns(INTERACTIVE_IN_A_ROW)
        self._large_bytes = 0
        self._large = 0
        self._closed = False
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._run, name=f"decode-{number}", daemon=True) for number in range(threads)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def submit(self, task: DecodeTask) -> None:
        with self._changed:
            # Large pictures have their own lane, so that small ones do not wait behind them for memory.
            self._waiting[task.call.priority].put((task.call.lane, _is_large(task)), task)
            self._changed.notify()

    def close(self) -> None:
        """Finish what was submitted and end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def _run(self) -> None:
        while (task := self._take()) is not None:
            large = _is_large(task)
            try:
                self._decode(task)
            finally:
                memory_bytes = task.upload.cost.memory_bytes
                del task
                if large:
                    with self._changed:
                        self._large_bytes -= memory_bytes
                        self._large -= 1
                        self._changed.notify_all()

    def _take(self) -> DecodeTask | None:
        with self._changed:
            while True:
                task = self._next()
                if task is not None:
                    if _is_large(task):
                        self._large_bytes += task.upload.cost.memory_bytes
                        self._large += 1
                    return task
                if self._closed and not any(map(len, self._waiting.values())):
                    return None
                self._changed.wait()

    def _next(self) -> DecodeTask | None:
        interactive_first: tuple[Priority, ...] = ("interactive", "batch")
        order = interactive_first[::-1] if self._turns.other_is_due() else interactive_first
        for priority in order:
            task = self._waiting[priority].take(self._fits)
            if task is not None:
                self._turns.took(first=priority == "interactive", other_waits=bool(len(self._waiting["batch"])))
                return task
        return None

    def _fits(self, task: DecodeTask) -> bool:
        # An expired task is only dropped.
        if not _is_large(task) or not self._large or task.call.expired:
            return True
        fits = self._large_bytes + task.upload.cost.memory_bytes <= self._memory_bytes
        return fits and self._large < self._max_large


def _is_large(task: DecodeTask) -> bool:
    cost = task.upload.cost
    return cost.memory_bytes >= _LARGE_BYTES or cost.cpu_s >= _SLOW_S
