"""Follow jobs. The record of a followed job is read once for each change and given to all its followers. A read is
triggered by a message on the one Redis subscription of the process, or by a poll every few seconds.
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

_POLL_S: Final = 5.0  # the longest delay after a lost message
_RETRY_S: Final = 0.5
_OUTAGE_MAX_S: Final = 10.0
_READS_AT_ONCE: Final = 8  # leaves connections to Redis for other calls
_MAX_WAITING: Final = 32


@dataclass(eq=False, slots=True)
class Follower:
    """The versions of a job that one reader has not taken yet, at most `max_waiting`.

    `ended` is the reason why there will be no more. A reader that lets the queue fill up is ended as slow.
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
        """The next version. None after the last one."""
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
    """The followed jobs of a process."""

    def __init__(self, feed: RedisFeed, store: AsyncJobStore, *, poll_s: float = _POLL_S) -> None:
        self._feed = feed
        self._store = store
        self._poll_s = poll_s
        self._reads = asyncio.Semaphore(_READS_AT_ONCE)
        self._watched: dict[str, _Watched] = {}

    @contextmanager
    def follow(self, job_id: str, *, max_waiting: int = _MAX_WAITING) -> Iterator[Follower]:
        """A follower that gets the current record, then each newer version up to the finished one."""
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
        """The record of the job once it has finished. Raises JobNotFound and BrokerUnavailable."""
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
    """One followed job: reads its record and gives it to the followers."""

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
