"""The threads that decode. They take from the callers' lanes in turn, interactive work first, and a large
picture only while there is memory for it: small ones overtake it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from embedder.call import Task, Work
from embedder.queue import INTERACTIVE_IN_A_ROW
from vitrine.fair_queue import FairQueue, Turns

# A picture that needs less is not counted: there are never more of them than threads.
_LARGE_BYTES: Final = 32_000_000


class DecodePool:
    """Runs `decode` with each task. Of the large pictures so many are decoded at once as fit into `memory_bytes`, and
    never on the last thread: it is left to the small ones. One that is larger than all of it is decoded alone.
    """

    def __init__(self, threads: int, *, memory_bytes: int, decode: Callable[[Task], None]) -> None:
        self._memory_bytes = memory_bytes
        self._most_large = max(1, threads - 1)
        self._decode = decode
        self._waiting: dict[Work, FairQueue[Task]] = {"interactive": FairQueue(), "batch": FairQueue()}
        self._turns = Turns(INTERACTIVE_IN_A_ROW)
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

    def submit(self, task: Task) -> None:
        with self._changed:
            # Large pictures have a lane of their own, so that small ones do not wait behind them for memory.
            self._waiting[task.call.work].put((task.call.lane, _is_large(task)), task)
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

    def _take(self) -> Task | None:
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

    def _next(self) -> Task | None:
        order: tuple[Work, ...] = ("batch", "interactive") if self._turns.other_is_due() else ("interactive", "batch")
        for work in order:
            task = self._waiting[work].take(self._has_room)
            if task is not None:
                self._turns.took(first=work == "interactive", other_waits=bool(len(self._waiting["batch"])))
                return task
        return None

    def _has_room(self, task: Task) -> bool:
        # An expired one is only dropped.
        if not _is_large(task) or not self._large or task.call.expired:
            return True
        room = self._large_bytes + task.upload.cost.memory_bytes <= self._memory_bytes
        return room and self._large < self._most_large


def _is_large(task: Task) -> bool:
    return task.upload.cost.memory_bytes >= _LARGE_BYTES
