"""A picture's path through the embedder: decode pool, queue, device, reply. What is at work is weighed and bounded,
so a flood is refused with a time to come back, not queued. Every accepted picture gets exactly one result, whatever
happens on the way.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import numpy as np

from embedder.call import ANYBODY, Answer, Call, Item, Result, Sender, Space, Task, Upload
from embedder.decode_pool import DecodePool
from embedder.device import Device
from embedder.ledger import Ledger, Weight
from embedder.metrics import Metrics
from embedder.queue import BatchQueue
from embedder.residency import Resident
from embedder.uploads import plain
from vitrine.errors import (
    DeadlineExpired,
    Draining,
    EmbedderUnavailable,
    EmbeddingFailed,
    ImageRejected,
    VitrineError,
)
from vitrine.images.checks import DEFAULT_LIMITS
from vitrine.telemetry import get_logger

T = TypeVar("T")
HIGH_WATER: Final = 0.9
DEFAULT_DECODE_BYTES: Final = 268_000_000
_LEAST_RETRY_AFTER_S: Final = 1.0
_JOIN_S: Final = 10.0
# A call whose pictures take longer to decode is a heavy one, as one with more vectors is.
_HEAVY_DECODE_S: Final = 0.1
_HEAVY_PICTURES: Final = 2
_NOTHING: Final = np.empty(0, dtype=np.float32)


class Pipeline:
    """Pictures in, results out. `run` is called in the event loop, the rest happens in threads of its own."""

    def __init__(
        self,
        *,
        decode_threads: int,
        max_batch: int,
        passes_at_once: int,
        max_wait_s: float,
        max_pictures: int,
        metrics: Metrics,
        max_delay_s: float = 2.0,
        max_heavy: int = 4,
        decode_bytes: int = DEFAULT_DECODE_BYTES,
        short_batch: int | None = None,
    ) -> None:
        self._metrics = metrics
        self._max_pictures = max_pictures
        threads = decode_threads or os.cpu_count() or 1
        self._queue = BatchQueue(
            max_wait_s=max_wait_s, most_batch_passes=max(2, passes_at_once), short_batch=short_batch
        )
        self._pool = DecodePool(threads, memory_bytes=decode_bytes, decode=self._decode)
        self._device = Device(
            self._queue,
            max_batch=max_batch,
            passes_at_once=passes_at_once,
            finish=self._finish,
            on_death=self._on_death,
            metrics=metrics,
        )
        self._ledger = Ledger(
            cores=threads,
            pictures=lambda: self._in_flight,
            max_pictures=max_pictures,
            max_delay_s=max_delay_s,
            max_heavy=max_heavy,
            max_decode_s=DEFAULT_LIMITS.max_decode_s,
        )
        self._lock = threading.Lock()
        self._in_flight = 0
        self._calls: set[Call] = set()
        self._closed = False
        self._dead: BaseException | None = None
        self._when_dead: Callable[[], None] = lambda: None
        self._log = get_logger("pipeline")

    def start(self) -> None:
        self._pool.start()
        self._device.start()

    @property
    def dead(self) -> bool:
        """Whether a thread of the device has ended by an error, after which nothing is served."""
        return self._dead is not None

    def when_dead(self, call: Callable[[], None]) -> None:
        """What to call, in a thread, when the device has died and every waiting call has been refused."""
        self._when_dead = call

    def check_room(self, sender: Sender) -> None:
        """Refuse a call that would be refused anyway, before its body is read. Raises as `run` does."""
        self._check_alive()
        self._counted(lambda: self._ledger.check(sender))

    async def embed(
        self,
        resident: Resident,
        pictures: Sequence[bytes],
        *,
        space: Space,
        deadline_s: float,
        sender: Sender = ANYBODY,
    ) -> Answer:
        """A result for each picture as it is, in order. Raises as `run` does."""
        uploads = [plain(resident, data) for data in pictures]
        return await self.run(uploads, space=space, deadline_s=deadline_s, sender=sender)

    async def run(
        self,
        uploads: Sequence[Upload],
        *,
        space: Space,
        deadline_s: float,
        sender: Sender = ANYBODY,
        keep_features: bool = False,
    ) -> Answer:
        """A result for each vector of each upload, in order, and with `keep_features` the raw features too.

        `deadline_s` is on the monotonic clock. Cancelled, it drops what has not been done yet. Raises
        EmbedderOverloaded, EmbedderBusyWithHeavyWork, WorkTooLarge, Draining, EmbedderUnavailable, DeadlineExpired
        where the call as a whole has no result.
        """
        self._check_alive()
        weight = _weight_of(uploads)
        ticket = self._counted(lambda: self._ledger.enter(sender, weight))
        answered = False
        call = Call(
            count=weight.pictures,
            space=space,
            deadline_s=deadline_s,
            loop=asyncio.get_running_loop(),
            sender=sender,
            heavy=weight.heavy,
            keep_features=keep_features,
        )
        self._calls.add(call)
        with self._lock:
            self._in_flight += weight.pictures
            self._metrics.in_flight.set(self._in_flight)
        try:
            self._queue.announce(weight.pictures, call.work)
            first = 0
            for upload in uploads:
                self._pool.submit(Task(call, first, upload))
                first += upload.count
            if self._dead is not None:
                self._refuse(call)
            async with asyncio.timeout(max(0.0, deadline_s - time.monotonic())):
                await call.done
            answered = True
        except TimeoutError as error:
            raise DeadlineExpired("the deadline passed before the pictures were embedded") from error
        finally:
            self._calls.discard(call)
            self._ledger.leave(ticket, answered=answered)
        return call.answer()

    def state(self) -> dict[str, Any]:
        """What readiness looks at."""
        return {
            "alive": self._dead is None and self._device.alive,
            "in_flight": self._in_flight,
            "full": self._in_flight >= HIGH_WATER * self._max_pictures,
            "last_good_s": self._device.last_good_s,
        }

    def close(self) -> None:
        """Finish what was accepted and end the threads."""
        self._closed = True
        self._pool.close()
        self._queue.close()
        self._device.join(_JOIN_S)

    def _check_alive(self) -> None:
        if self._dead is not None:
            raise EmbedderUnavailable("the embedder has failed and is being restarted", retry_after_s=2.0)
        if self._closed:
            raise Draining("this embedder is stopping: another one answers", retry_after_s=_LEAST_RETRY_AFTER_S)

    def _counted(self, admit: Callable[[], T]) -> T:
        try:
            return admit()
        except VitrineError as refused:
            self._metrics.refused.labels(refused.code).inc()
            raise

    def _decode(self, task: Task) -> None:
        """Runs in the decode pool."""
        call = task.call
        started_s = time.monotonic()
        try:
            if call.expired:
                raise DeadlineExpired("the deadline passed before the picture's turn came")
            pixels = task.upload.prepare()
        except VitrineError as error:
            self._give_up(task, error)
            return
        except BaseException as error:
            self._log.error("decode_defect", exc_info=error)
            self._give_up(task, EmbeddingFailed("the picture could not be prepared"))
            return
        decoded_s = time.monotonic()
        call.note("decode", decoded_s - started_s)
        self._metrics.stage_s.labels("decode").observe(decoded_s - started_s)
        seats = zip(task.upload.residents, pixels, strict=True)
        items = [Item(call, task.first + place, *seat, decoded_s) for place, seat in enumerate(seats)]
        if items:
            self._queue.put(items)
        else:
            self._queue.withdraw(1, call.work)
            self._finish(Item(call, task.first), _NOTHING)
        if self._dead is not None:
            self._refuse(call)

    def _give_up(self, task: Task, error: VitrineError) -> None:
        count = task.upload.count
        self._queue.withdraw(count, task.call.work)
        for place in range(count):
            self._finish(Item(task.call, task.first + place), error)

    def _finish(self, item: Item, result: Result) -> None:
        """Give a picture its result. Runs in any of the threads. A second result is ignored."""
        if not item.call.resolve(item.position, result):
            return
        item.pixels = None
        with self._lock:
            self._in_flight -= 1
            self._metrics.in_flight.set(self._in_flight)
        if isinstance(result, ImageRejected | EmbeddingFailed):
            self._metrics.rejected.labels(result.code).inc()

    def _on_death(self, error: BaseException) -> None:
        """A thread of the device has ended: nothing that waits for it will be served."""
        self._dead = error
        self._queue.drain()
        for call in list(self._calls):
            self._refuse(call)
        self._when_dead()

    def _refuse(self, call: Call) -> None:
        failure = EmbedderUnavailable("the embedder has failed and is being restarted", retry_after_s=2.0)
        for position in range(call.count):
            self._finish(Item(call, position), failure)


def _weight_of(uploads: Sequence[Upload]) -> Weight:
    decode_s = sum(upload.cost.cpu_s for upload in uploads)
    networks_s = sum(resident.picture_s for upload in uploads for resident in upload.residents)
    pictures = sum(upload.count for upload in uploads)
    heavy = decode_s > _HEAVY_DECODE_S or pictures > _HEAVY_PICTURES
    return Weight(decode_s, networks_s, pictures, heavy)
