"""Finds the picture that ends a process, the embedder's or the indexer's own. A batch that was at work when a process
ended is tried again as a whole, then in parts, then by single pictures; a picture that ends the process by itself is
quarantined, with its id and the reason, and the rest of the batch is stored.

What is known is kept in Redis after every try, so the search goes on where it was after any restart. One search goes on
at a time in the whole system: two at once could take each other's crashes for their own. Batches that were at work by
chance get through at their next try, as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from indexer.parts import Parts
from indexer.plans import Planned
from indexer.searches import Search
from vitrine.errors import EmbedderConnectionLost, TooManyCrashes, Unavailable
from vitrine.jobs import BatchOutcome
from vitrine.telemetry import get_logger

_LOCK: Final = "crash-search"
_TURN_WAIT_S: Final = 2.0

# Stores products; the same call as `Ingest.store`.
Store = Callable[[Sequence[Planned]], BatchOutcome]


class CrashSearch:
    """Stores the products of one step of a job, and finds those among them that end a process.

    `crashes` says how many tries of the step ended this worker's process.
    """

    def __init__(self, parts: Parts, *, job_id: str, step: str, crashes: int) -> None:
        self._parts = parts
        self._job_id = job_id
        self._step = step
        self._crashes = crashes
        self._tolerated = parts.settings.batch_max_crashes
        self._log = get_logger("indexer")

    def store(self, planned: Sequence[Planned], store: Store) -> BatchOutcome:
        """Store products by `store`, as a whole if nothing speaks against it.

        Raises what `store` raises; EmbedderConnectionLost after a crash whose consequences are noted, so that the step
        is to be tried again; Unavailable while another step searches; TooManyCrashes.
        """
        search = self._parts.searches.load(self._job_id, self._step)
        if search is None:
            if not self._crashes:
                try:
                    return store(planned)
                except EmbedderConnectionLost:
                    self._note_crash(Search.of(planned, crashes=1).judged("embedder", tolerated=self._tolerated))
                    raise
            # Its own worker ended: the tries that are counted are those of the batch as a whole.
            search = self._note_crash(
                Search.of(planned, crashes=self._crashes).judged("worker", tolerated=self._tolerated)
            )
        elif search.at_work:
            search = self._note_crash(search.crashed("worker", tolerated=self._tolerated))
        with self._parts.steps.hold_lock(self._job_id, _LOCK) as lock:
            if lock is None:
                raise Unavailable(
                    "another batch is being searched for a picture that ends a process", retry_after_s=_TURN_WAIT_S
                )
            return self._go_through(search.joined_by(planned), {one.product.id: one for one in planned}, store)

    def _go_through(self, search: Search, planned: dict[str, Planned], store: Store) -> BatchOutcome:
        while search.groups:
            group = [planned[one] for one in search.groups[0].ids if one in planned]
            self._save(search.begun())
            try:
                outcome = store(group) if group else BatchOutcome()
            except EmbedderConnectionLost:
                self._note_crash(search.crashed("embedder", tolerated=self._tolerated))
                raise
            except BaseException:
                self._save(search.interrupted())
                raise
            search = search.passed(outcome)
            self._save(search)
        return search.stored

    def finish(self) -> None:
        """The outcome of the step is counted: what was known is no longer needed."""
        self._parts.searches.remove(self._job_id, self._step)

    def _note_crash(self, after: tuple[Search, str | None]) -> Search:
        """Keep what a crash has shown. It brings the search nearer to its end, so it is no failure in a row."""
        search, guilty = after
        self._save(search)
        self._parts.steps.reset_crashes(self._job_id, self._step)
        self._parts.steps.clear_retries(self._job_id, self._step)
        self._log.warning("batch_crash", step=self._step, groups=len(search.groups))
        if guilty is not None:
            self._log.warning("picture_quarantine", product=guilty)
            quarantined = self._parts.searches.count_quarantined(self._job_id)
            if quarantined > self._parts.settings.quarantine_max:
                raise TooManyCrashes(
                    f"{quarantined} pictures ended a process, the last of them {guilty[:100]!r}: most likely the "
                    "release or the machine is at fault and not the pictures; if it is the pictures, raise "
                    "VITRINE_QUARANTINE_MAX"
                )
        return search

    def _save(self, search: Search) -> None:
        self._parts.searches.save(self._job_id, self._step, search)
