"""Jobs followed by many at once. Each job that is followed is read once for each change, however many follow it, and
its record goes to every follower. What wakes the reading is the process's one subscription to Redis.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Literal

from search_api.redis_feed import RedisFeed
from vitrine.errors import BrokerUnavailable, JobNotFound
from vitrine.jobs import AsyncJobStore, JobRecord, keys

EndReason = Literal["finished", "slow", "gone", "unavailable", "draining", "age"]

_POLL_S: Final = 5.0  # bounds how late a change is seen whose message was lost
_RETRY_S: Final = 0.5
_OUTAGE_MAX_S: Final = 10.0
_READS_AT_ONCE: Final = 8  # of the connections to Redis, which the other calls need too
_MAX_WAITING: Final = 32


@dataclass(eq=False, slots=True)
class Follower:
    """Versions of one job that one reader has not taken yet, at most `max_waiting`.

    `ended` is why nothing more comes: the job finished, its record is gone, Redis stayed away, or the reader took so
    long that the bound was reached.
    """

    max_waiting: int
    waiting: deque[JobRecord] = field(default_factory=deque)
    ended: EndReason | None = None
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, record: JobRecord) -> None:
        if self.ended:
            return
        if len(self.waiting) >= self.max_waiting:
            self.waiting.clear()
            self.end("slow")
            return
        self.waiting.append(record)
        self._wake.set()

    def end(self, reason: EndReason) -> None:
        self.ended = self.ended or reason
        self._wake.set()

    async def next(self) -> JobRecord | None:
        """The next version; None once `ended` and all that was waiting has been taken."""
        while not self.waiting:
            if self.ended:
                return None
            self._wake.clear()
            await self._wake.wait()
        return self.waiting.popleft()

    async def __aiter__(self) -> AsyncIterator[JobRecord]:
        while (record := await self.next()) is not None:
            yield record


class JobFeed:
    """Follows jobs on the shared subscription."""

    def __init__(self, feed: RedisFeed, store: AsyncJobStore, *, poll_s: float = _POLL_S) -> None:
        self._feed = feed
        self._store = store
        self._poll_s = poll_s
        self._reads = asyncio.Semaphore(_READS_AT_ONCE)
        self._watched: dict[str, _Watched] = {}

    @contextmanager
    def follow(self, job_id: str, *, max_waiting: int = _MAX_WAITING) -> Iterator[Follower]:
        """A follower that sees the present record first and then each version that is read, the finished one last."""
        self._feed.start()
        watched = self._watched.get(job_id)
        if watched is None or watched.task.done():
            watched = self._watched[job_id] = _Watched(self._store, job_id, reads=self._reads, poll_s=self._poll_s)
            watched.start(self._feed)
        follower = Follower(max_waiting)
        watched.add(follower)
        try:
            yield follower
        finally:
            watched.followers.discard(follower)
            if not watched.followers:
                watched.stop()
                if self._watched.get(job_id) is watched:
                    del self._watched[job_id]

    async def finished(self, job_id: str) -> JobRecord:
        """The job once it has finished. Raises JobNotFound, and BrokerUnavailable where Redis stays away."""
        with self.follow(job_id) as follower:
            async for record in follower:
                if record.state.finished:
                    return record
        return await self._store.get(job_id)

    async def close(self) -> None:
        for watched in self._watched.values():
            watched.stop()
        await asyncio.gather(*(watched.task for watched in self._watched.values()), return_exceptions=True)


class _Watched:
    """One job that is followed."""

    task: asyncio.Task[None]

    def __init__(self, store: AsyncJobStore, job_id: str, *, reads: asyncio.Semaphore, poll_s: float) -> None:
        self._store = store
        self._job_id = job_id
        self._reads = reads
        self._poll_s = poll_s
        self._changed = asyncio.Event()
        self._latest: JobRecord | None = None
        self.followers: set[Follower] = set()

    def start(self, feed: RedisFeed) -> None:
        self._off = feed.on(keys.events(self._job_id), self._wake)
        self.task = asyncio.create_task(self._watch())

    def stop(self) -> None:
        self._off()
        self.task.cancel()

    def add(self, follower: Follower) -> None:
        self.followers.add(follower)
        if self._latest is not None:
            follower.put(self._latest)

    def _wake(self, version: bytes | None) -> None:
        seen = self._latest.version if self._latest is not None else 0
        if version is None or not version.isdigit() or int(version) > seen:
            self._changed.set()

    async def _watch(self) -> None:
        try:
            self._end(await self._read_until_finished())
        finally:
            self._off()

    async def _read_until_finished(self) -> EndReason:
        answered_s = time.monotonic()
        while True:
            self._changed.clear()
            pause_s = self._poll_s
            try:
                async with self._reads:
                    record = await self._store.get(self._job_id)
            except JobNotFound:
                return "gone"
            except BrokerUnavailable:
                if time.monotonic() - answered_s > _OUTAGE_MAX_S:
                    return "unavailable"
                pause_s = _RETRY_S
            else:
                answered_s = time.monotonic()
                self._publish(record)
                if record.state.finished:
                    return "finished"
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), pause_s)

    def _publish(self, record: JobRecord) -> None:
        if self._latest is not None and record.version == self._latest.version:
            return
        self._latest = record
        for follower in self.followers:
            follower.put(record)

    def _end(self, reason: EndReason) -> None:
        for follower in self.followers:
            follower.end(reason)
