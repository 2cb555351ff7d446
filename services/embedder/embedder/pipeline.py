"""The way of a picture through the embedder: decode pool, queue, device, reply. What is in flight is bounded, so a
flood is told to come back and not queued; whatever happens on the way, every accepted picture gets exactly one result.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from embedder.call import Answer, Call, Item, Result, Space
from embedder.device import Device
from embedder.metrics import Metrics
from embedder.queue import BatchQueue
from embedder.residency import Resident
from vitrine.errors import (
    DeadlineExpired,
    Draining,
    EmbedderOverloaded,
    EmbedderUnavailable,
    EmbeddingFailed,
    ImageRejected,
    VitrineError,
)
from vitrine.telemetry import get_logger

HIGH_WATER: Final = 0.9
_LEAST_RETRY_AFTER_S: Final = 1.0
_JOIN_S: Final = 10.0


class Pipeline:
    """Pictures in, results out. `embed` is called in the event loop, the rest runs in threads of its own."""

    def __init__(
        self,
        *,
        decode_threads: int,
        max_batch: int,
        passes_at_once: int,
        max_wait_s: float,
        max_pictures: int,
        metrics: Metrics,
    ) -> None:
        self._metrics = metrics
        self._max_pictures = max_pictures
        self._queue = BatchQueue(max_wait_s=max_wait_s)
        self._pool = ThreadPoolExecutor(decode_threads or os.cpu_count() or 1, thread_name_prefix="decode")
        self._device = Device(
            self._queue,
            max_batch=max_batch,
            passes_at_once=passes_at_once,
            finish=self._finish,
            on_death=self._on_death,
            metrics=metrics,
        )
        self._lock = threading.Lock()
        self._in_flight = 0
        self._calls: set[Call] = set()
        self._closed = False
        self._dead: BaseException | None = None
        self._when_dead: Callable[[], None] = lambda: None
        self._per_picture_s = 0.01
        self._log = get_logger("pipeline")

    def start(self) -> None:
        self._device.start()

    @property
    def dead(self) -> bool:
        """Whether a thread of the device has ended by an error, after which nothing is served."""
        return self._dead is not None

    def when_dead(self, call: Callable[[], None]) -> None:
        """What to call, in a thread, when the device has died and every waiting call has been refused."""
        self._when_dead = call

    async def embed(self, resident: Resident, pictures: Sequence[bytes], *, space: Space, deadline_s: float) -> Answer:
        """A result for each picture, in order.

        `deadline_s` is on the monotonic clock. Raises EmbedderOverloaded, Draining, EmbedderUnavailable,
        DeadlineExpired where the call as a whole has no result.
        """
        at_work = self._admit(len(pictures))
        call = Call(resident, count=len(pictures), space=space, deadline_s=deadline_s, loop=asyncio.get_running_loop())
        self._calls.add(call)
        started_s = time.monotonic()
        try:
            self._queue.announce(len(pictures))
            for position, data in enumerate(pictures):
                self._pool.submit(self._decode, Item(call, position, data))
            if self._dead is not None:
                self._refuse(call)
            async with asyncio.timeout(max(0.0, deadline_s - started_s)):
                await call.done
        except TimeoutError as error:
            raise DeadlineExpired("the deadline passed before the pictures were embedded") from error
        finally:
            self._calls.discard(call)
            self._learn(at_work, time.monotonic() - started_s)
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
        self._pool.shutdown(wait=True)
        self._queue.close()
        self._device.join(_JOIN_S)

    def _admit(self, count: int) -> int:
        """Let a call in. Returns how many pictures are then at work, this call's among them."""
        if self._dead is not None:
            raise EmbedderUnavailable("the embedder has failed and is being restarted", retry_after_s=2.0)
        if self._closed:
            raise Draining("this embedder is stopping: another one answers", retry_after_s=_LEAST_RETRY_AFTER_S)
        with self._lock:
            # A call larger than the whole bound is let in when nothing else is, or it would never be.
            if self._in_flight and self._in_flight + count > self._max_pictures:
                wait_s = self._in_flight * self._per_picture_s * random.uniform(0.8, 1.4)  # noqa: S311 - spreads load
                raise EmbedderOverloaded(
                    f"{self._in_flight} pictures are being embedded already: try again in a moment",
                    retry_after_s=max(_LEAST_RETRY_AFTER_S, wait_s),
                )
            self._in_flight += count
            self._metrics.in_flight.set(self._in_flight)
            return self._in_flight

    def _decode(self, item: Item) -> None:
        """Runs in the decode pool."""
        started_s = time.monotonic()
        try:
            if item.call.expired:
                raise DeadlineExpired("the deadline passed before the picture's turn came")
            item.pixels = item.call.resident.preprocessor(item.data)
        except VitrineError as error:
            self._queue.withdraw()
            self._finish(item, error)
            return
        except BaseException as error:
            self._log.error("decode_defect", exc_info=error)
            self._queue.withdraw()
            self._finish(item, EmbeddingFailed("the picture could not be prepared"))
            return
        item.data = b""
        item.decoded_s = time.monotonic()
        item.call.note("decode", item.decoded_s - started_s)
        self._metrics.stage_s.labels("decode").observe(item.decoded_s - started_s)
        self._queue.put(item)
        if self._dead is not None:
            self._refuse(item.call)

    def _finish(self, item: Item, result: Result) -> None:
        """Give a picture its result. Runs in any of the threads, and may be told twice of one picture."""
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

    def _learn(self, at_work: int, took_s: float) -> None:
        """Keep a running mean of the time a picture takes, from which Retry-After is told.

        A call waits for the pictures before it as well, so its time is shared among all that were at work.
        """
        self._per_picture_s = 0.9 * self._per_picture_s + 0.1 * (took_s / max(at_work, 1))
