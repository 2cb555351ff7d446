"""A picture's way through the embedder: admission, decode pool, batcher, device, answer.

The amount of work is limited, so excess calls are refused with a time to try again, not queued. Every admitted picture
gets exactly one result, whatever happens.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import numpy as np

from embedder.admission import AdmissionControl, AdmittedCall, CallCost
from embedder.batcher import Batcher
from embedder.call import ANY_CALLER, Answer, BatchItem, Call, Caller, DecodeTask, Result, Space, Upload, whole_picture
from embedder.decode_pool import DecodePool
from embedder.device import Device
from embedder.metrics import Metrics
from embedder.model_cache import LoadedRelease
from vitrine.errors import (
    DeadlineExpired,
    Draining,
    EmbedderOverloaded,
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
# A call is heavy if its pictures take longer to decode, or if it has more vectors, unless it is for all garments.
_HEAVY_DECODE_S: Final = 0.1
_HEAVY_PICTURES: Final = 2
_EMPTY: Final = np.empty(0, dtype=np.float32)


class Steps:
    """An admitted call whose work comes in several steps, each of which depends on the one before."""

    def __init__(self, pipeline: Pipeline, caller: Caller, *, heavy: bool, deadline_s: float) -> None:
        self._pipeline = pipeline
        self._caller = caller
        self._heavy = heavy
        self._deadline_s = deadline_s
        # The milliseconds of each stage, over all steps so far.
        self.timings_ms: dict[str, float] = {}

    async def run(
        self, uploads: Sequence[Upload], *, space: Space = "projected", keep_features: bool = False
    ) -> Answer:
        """One step: one result for each vector of each upload, in order, as `Pipeline.run` has them."""
        call = Call(
            count=sum(upload.count for upload in uploads),
            space=space,
            deadline_s=self._deadline_s,
            loop=asyncio.get_running_loop(),
            caller=self._caller,
            heavy=self._heavy,
            keep_features=keep_features,
        )
        answer = await self._pipeline.work(call, uploads)
        for stage, took_ms in answer.timings_ms.items():
            self.timings_ms[stage] = self.timings_ms.get(stage, 0.0) + took_ms
        return answer


class Pipeline:
    """Pictures in, results out. `run` is called in the event loop; the work is done in threads."""

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
        held_bytes: int = DEFAULT_DECODE_BYTES,
    ) -> None:
        self._max_held_bytes = held_bytes
        self._held_bytes = 0
        self.metrics = metrics
        self._max_pictures = max_pictures
        threads = decode_threads or os.cpu_count() or 1
        self._queue = Batcher(max_wait_s=max_wait_s, max_batch_passes=max(2, passes_at_once), short_batch=short_batch)
        self._pool = DecodePool(threads, memory_bytes=decode_bytes, decode=self._decode)
        self._device = Device(
            self._queue,
            max_batch=max_batch,
            passes_at_once=passes_at_once,
            finish=self._finish,
            on_death=self._on_death,
            metrics=metrics,
        )
        self._admission = AdmissionControl(
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
        """Whether an error has ended a thread of the device. Then nothing is served any more."""
        return self._dead is not None

    def when_dead(self, call: Callable[[], None]) -> None:
        """Set a function to call, in a thread, after the device has died and every waiting call was refused."""
        self._when_dead = call

    def check_capacity(self, caller: Caller) -> None:
        """Check if a call would be refused, before its body is read. Raises as `run` does."""
        self._check_alive()
        self._count_refusal(lambda: self._admission.check(caller))

    async def embed(
        self,
        release: LoadedRelease,
        pictures: Sequence[bytes],
        *,
        space: Space,
        deadline_s: float,
        caller: Caller = ANY_CALLER,
    ) -> Answer:
        """One result for each whole picture, in order. Raises as `run` does."""
        uploads = [whole_picture(release, data) for data in pictures]
        return await self.run(uploads, space=space, deadline_s=deadline_s, caller=caller)

    async def run(
        self,
        uploads: Sequence[Upload],
        *,
        space: Space,
        deadline_s: float,
        caller: Caller = ANY_CALLER,
        keep_features: bool = False,
    ) -> Answer:
        """One result for each vector of each upload, in order, and with `keep_features` the raw features too.

        `deadline_s` is on the monotonic clock. If it is cancelled, the remaining work is dropped. Errors of the whole
        call: EmbedderOverloaded, EmbedderBusyWithHeavyWork, WorkTooLarge, Draining, EmbedderUnavailable,
        DeadlineExpired.
        """
        async with self.admitted(_cost_of(uploads), deadline_s=deadline_s, caller=caller) as steps:
            return await steps.run(uploads, space=space, keep_features=keep_features)

    @asynccontextmanager
    async def admitted(
        self, cost: CallCost, *, deadline_s: float, caller: Caller = ANY_CALLER, held_bytes: int = 0
    ) -> AsyncIterator[Steps]:
        """Admit a call of several steps, which is over at the end of the block. `cost` is that of all steps, and
        `held_bytes` the memory of what one step leaves for the next. Raises as `run` does.
        """
        self._check_alive()
        admitted = self._count_refusal(lambda: self._enter(caller, cost, held_bytes))
        self._held_bytes += held_bytes
        answered = False
        try:
            yield Steps(self, caller, heavy=cost.heavy, deadline_s=deadline_s)
            answered = True
        finally:
            self._held_bytes -= held_bytes
            self._admission.leave(admitted, answered=answered)

    async def work(self, call: Call, uploads: Sequence[Upload]) -> Answer:
        """The work of a call that is admitted. For `Steps`."""
        self._calls.add(call)
        with self._lock:
            self._in_flight += call.count
            self.metrics.in_flight.set(self._in_flight)
        try:
            self._queue.announce(call.count, call.priority)
            first = 0
            for upload in uploads:
                self._pool.submit(DecodeTask(call, first, upload))
                first += upload.count
            if self._dead is not None:
                self._refuse(call)
            async with asyncio.timeout(max(0.0, call.deadline_s - time.monotonic())):
                await call.done
        except TimeoutError as error:
            raise DeadlineExpired("the deadline passed before the pictures were embedded") from error
        finally:
            self._calls.discard(call)
        return call.answer()

    def state(self) -> dict[str, Any]:
        """The facts for readiness."""
        return {
            "alive": self._dead is None and self._device.alive,
            "in_flight": self._in_flight,
            "full": self._in_flight >= HIGH_WATER * self._max_pictures,
            "last_good_s": self._device.last_good_s,
        }

    def close(self) -> None:
        """Finish the admitted work and end the threads."""
        self._closed = True
        self._pool.close()
        self._queue.close()
        self._device.join(_JOIN_S)

    def _check_alive(self) -> None:
        if self._dead is not None:
            raise EmbedderUnavailable("the embedder has failed and is being restarted", retry_after_s=2.0)
        if self._closed:
            raise Draining("this embedder is stopping: another one answers", retry_after_s=_LEAST_RETRY_AFTER_S)

    def _enter(self, caller: Caller, cost: CallCost, held_bytes: int) -> AdmittedCall:
        if self._held_bytes and self._held_bytes + held_bytes > self._max_held_bytes:
            raise EmbedderOverloaded(
                "the memory for pictures whose garments are looked for is in use: try again in a moment",
                retry_after_s=_LEAST_RETRY_AFTER_S,
            )
        return self._admission.enter(caller, cost)

    def _count_refusal(self, admit: Callable[[], T]) -> T:
        try:
            return admit()
        except VitrineError as refused:
            self.metrics.refused.labels(refused.code).inc()
            raise

    def _decode(self, task: DecodeTask) -> None:
        """Runs in the decode pool."""
        call = task.call
        started_s = time.monotonic()
        try:
            if call.expired:
                raise DeadlineExpired("the deadline passed before the picture's turn came")
            pixels = task.upload.prepare()
        except VitrineError as error:
            self._fail(task, error)
            return
        except BaseException as error:
            self._log.error("decode_defect", exc_info=error)
            self._fail(task, EmbeddingFailed("the picture could not be prepared"))
            return
        decoded_s = time.monotonic()
        stage = task.upload.stage
        call.note(stage, decoded_s - started_s)
        self.metrics.stage_s.labels(stage).observe(decoded_s - started_s)
        decoded = enumerate(zip(task.upload.releases, pixels, strict=True), start=task.first)
        items = [BatchItem(call, position, release, fitted, decoded_s) for position, (release, fitted) in decoded]
        if items:
            self._queue.put(items)
        else:
            self._queue.withdraw(1, call.priority)
            self._finish(BatchItem(call, task.first), _EMPTY)
        if self._dead is not None:
            self._refuse(call)

    def _fail(self, task: DecodeTask, error: VitrineError) -> None:
        count = task.upload.count
        self._queue.withdraw(count, task.call.priority)
        for position in range(task.first, task.first + count):
            self._finish(BatchItem(task.call, position), error)

    def _finish(self, item: BatchItem, result: Result) -> None:
        """Deliver a result, from any thread. A second result for the same vector is ignored."""
        if not item.call.resolve(item.position, result):
            return
        item.pixels = None
        with self._lock:
            self._in_flight -= 1
            self.metrics.in_flight.set(self._in_flight)
        if isinstance(result, ImageRejected | EmbeddingFailed):
            self.metrics.rejected.labels(result.code).inc()

    def _on_death(self, error: BaseException) -> None:
        """A thread of the device has ended: everything that waits for it is refused."""
        self._dead = error
        self._queue.drain()
        for call in list(self._calls):
            self._refuse(call)
        self._when_dead()

    def _refuse(self, call: Call) -> None:
        failure = EmbedderUnavailable("the embedder has failed and is being restarted", retry_after_s=2.0)
        for position in range(call.count):
            self._finish(BatchItem(call, position), failure)


def _cost_of(uploads: Sequence[Upload]) -> CallCost:
    decode_s = sum(upload.cost.cpu_s for upload in uploads)
    networks_s = sum(release.picture_s for upload in uploads for release in upload.releases)
    pictures = sum(upload.count for upload in uploads)
    return CallCost(decode_s, networks_s, pictures, is_heavy(decode_s, pictures))


def is_heavy(decode_s: float, pictures: int, *, most: int = _HEAVY_PICTURES) -> bool:
    """Whether a call is heavy: its pictures take long to decode, or it has more than `most` vectors."""
    return decode_s > _HEAVY_DECODE_S or pictures > most
