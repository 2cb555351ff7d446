"""Finds the pictures that crash a process, the embedder's or the indexer's own, by bisecting a batch.

A batch that was being processed during a crash is tried again as a whole, then in groups, then product by product. A
product with several pictures is then stored with more and more of them. A picture that repeatedly crashes a process by
itself is quarantined, with its product's id and the reason, and the others are stored. The state is saved in Redis
after every try, so a search continues after any restart. Only one search runs in the whole system, because two could
not tell their crashes apart. A batch that was merely affected by another's crash succeeds as a whole at its next try.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import redis

from indexer.crash_state import SearchState
from indexer.plan import PlannedProduct
from indexer.settings import Settings
from vitrine.errors import EmbedderConnectionLost, TooManyCrashes, Unavailable
from vitrine.jobs import BatchOutcome, StepStore, keys
from vitrine.jobs.redis import broker_errors
from vitrine.telemetry import get_logger

_LOCK: Final = "crash-search"
_LOCK_RETRY_S: Final = 2.0
_QUARANTINED: Final = "quarantined"

# Stores products; `Ingest.store`.
Store = Callable[[Sequence[PlannedProduct]], BatchOutcome]


class CrashSearches:
    """Creates the crash search of a step."""

    def __init__(self, searches: SearchStore, steps: StepStore, settings: Settings) -> None:
        self._searches = searches
        self._steps = steps
        self._settings = settings

    def of(self, job_id: str, step: str, *, crashes: int = 0) -> CrashSearch:
        return CrashSearch(self._searches, self._steps, self._settings, job_id=job_id, step=step, crashes=crashes)


class CrashSearch:
    """Stores the products of one step of a job, and searches for those that crash a process.

    `crashes` is the number of tries of the step that ended this worker's process.
    """

    def __init__(
        self, searches: SearchStore, steps: StepStore, settings: Settings, *, job_id: str, step: str, crashes: int
    ) -> None:
        self._searches = searches
        self._steps = steps
        self._job_id = job_id
        self._step = step
        self._crashes = crashes
        self._max_batch_crashes = settings.batch_max_crashes
        self._max_quarantined = settings.quarantine_max
        self._log = get_logger("indexer")

    @property
    def has_begun(self) -> bool:
        """Whether an earlier try of the step crashed."""
        return self._crashes > 0 or self._searches.load(self._job_id, self._step) is not None

    def store(self, planned: Sequence[PlannedProduct], store: Store) -> BatchOutcome:
        """Store the products with `store`: all at once, unless an earlier try crashed.

        Raises the errors of `store`; EmbedderConnectionLost after a crash, which is recorded: try the step again;
        Unavailable while another step searches; TooManyCrashes.
        """
        search = self._searches.load(self._job_id, self._step)
        if search is None:
            if not self._crashes or not planned:
                try:
                    return store(planned)
                except EmbedderConnectionLost:
                    self._record_crash(
                        SearchState.of(planned, crashes=1).judged("embedder", tolerated=self._max_batch_crashes)
                    )
                    raise
            # The worker itself crashed: the counted tries are those of the whole batch.
            search = self._record_crash(
                SearchState.of(planned, crashes=self._crashes).judged("worker", tolerated=self._max_batch_crashes)
            )
        elif search.at_work:
            search = self._record_crash(search.crashed("worker", tolerated=self._max_batch_crashes))
        with self._steps.hold_lock(self._job_id, _LOCK) as lock:
            if lock is None:
                raise Unavailable(
                    "another batch is being searched for a picture that ends a process", retry_after_s=_LOCK_RETRY_S
                )
            return self._store_groups(search.with_new(planned), {one.product.id: one for one in planned}, store)

    def finish(self) -> None:
        """Remove the state. Called after the outcome of the step is counted."""
        self._searches.remove(self._job_id, self._step)

    def _store_groups(self, search: SearchState, planned: dict[str, PlannedProduct], store: Store) -> BatchOutcome:
        while search.groups:
            group = search.first_of(planned)
            self._save(search.started())
            try:
                outcome = store(group) if group else BatchOutcome()
            except EmbedderConnectionLost:
                self._record_crash(search.crashed("embedder", tolerated=self._max_batch_crashes))
                raise
            except BaseException:
                self._save(search.interrupted())
                raise
            search = search.passed(outcome)
            self._save(search)
        return search.stored

    def _record_crash(self, judgement: tuple[SearchState, str | None]) -> SearchState:
        """Save what a crash has shown. It is progress of the search, so it does not count as a failed try."""
        search, guilty = judgement
        self._save(search)
        self._steps.reset_crashes(self._job_id, self._step)
        self._steps.clear_retries(self._job_id, self._step)
        self._log.warning("batch_crash", step=self._step, groups=len(search.groups))
        if guilty is not None:
            self._log.warning("picture_quarantine", picture=guilty)
            quarantined = self._searches.count_quarantined(self._job_id)
            if quarantined > self._max_quarantined:
                raise TooManyCrashes(
                    f"{quarantined} pictures ended a process, the last of them {guilty[:100]!r}: most likely the "
                    "release or the machine is at fault and not the pictures; if it is the pictures, raise "
                    "VITRINE_QUARANTINE_MAX"
                )
        return search

    def _save(self, search: SearchState) -> None:
        self._searches.save(self._job_id, self._step, search)


class SearchStore:
    """The crash searches of jobs' steps, in Redis. Every call raises BrokerUnavailable if Redis cannot answer."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client

    def load(self, job_id: str, step: str) -> SearchState | None:
        with broker_errors():
            stored = self._redis.hget(keys.part(job_id, "suspects"), step)
        return None if stored is None else SearchState.model_validate_json(stored)

    def save(self, job_id: str, step: str, search: SearchState) -> None:
        with broker_errors():
            self._redis.hset(keys.part(job_id, "suspects"), step, search.model_dump_json())

    def remove(self, job_id: str, step: str) -> None:
        with broker_errors():
            self._redis.hdel(keys.part(job_id, "suspects"), step)

    def count_quarantined(self, job_id: str) -> int:
        """Count another quarantined picture of the job. Returns the total."""
        with broker_errors():
            return int(self._redis.hincrby(keys.part(job_id, "suspects"), _QUARANTINED, 1))
