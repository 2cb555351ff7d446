"""What a search for a picture that ends a process knows of one batch, and how it goes on from there: values, and their
store in Redis.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Literal

import redis
from pydantic import BaseModel, ConfigDict

from indexer.plans import Planned
from vitrine.errors import PictureCrashes, PictureCrashesEmbedder, PictureCrashesWorker
from vitrine.jobs import BatchOutcome, JobFault, keys
from vitrine.jobs.redis import broker_errors

# Each crash costs the searches of the system seconds, a request only milliseconds: so a few large steps, not halves.
PARTS: Final = 16
# A picture is judged on this many crashes by itself: fewer may come by chance.
CRASHES_ALONE: Final = 3
_QUARANTINED: Final = "quarantined"

Victim = Literal["embedder", "worker"]
_ERRORS: Final[dict[Victim, type[PictureCrashes]]] = {
    "embedder": PictureCrashesEmbedder,
    "worker": PictureCrashesWorker,
}
_DETAILS: Final[dict[Victim, str]] = {
    "embedder": "the embedder's process ended each time it worked on this picture, so the picture is left out",
    "worker": "the indexer's process ended each time it worked on this picture, so the picture is left out",
}


class Group(BaseModel):
    """Products that are tried together. `crashes` counts the processes that ended while just they were at work."""

    model_config = ConfigDict(frozen=True)

    ids: tuple[str, ...]
    crashes: int = 0

    def crashed(self) -> Group:
        return self.model_copy(update={"crashes": self.crashes + 1})

    def divided(self) -> list[Group]:
        """Up to PARTS groups of nearly the same size."""
        size = -(-len(self.ids) // PARTS)
        return [Group(ids=self.ids[start : start + size]) for start in range(0, len(self.ids), size)]


class Search(BaseModel):
    """What is known of one batch, whose products are `ids`. `groups` are still to be tried, in this order; `at_work` is
    set while the first is. `stored` is the outcome of the others.
    """

    model_config = ConfigDict(frozen=True)

    ids: tuple[str, ...]
    groups: tuple[Group, ...]
    at_work: bool = False
    stored: BatchOutcome = BatchOutcome()

    @classmethod
    def of(cls, planned: Collection[Planned], *, crashes: int) -> Search:
        ids = tuple(one.product.id for one in planned)
        return cls(ids=ids, groups=(Group(ids=ids, crashes=crashes),))

    def joined_by(self, planned: Collection[Planned]) -> Search:
        """This search, with the products that belong to the step only since it began."""
        more = tuple(one.product.id for one in planned if one.product.id not in frozenset(self.ids))
        if not more:
            return self
        return self.model_copy(update={"ids": (*self.ids, *more), "groups": (*self.groups, Group(ids=more))})

    def begun(self) -> Search:
        return self.model_copy(update={"at_work": True})

    def interrupted(self) -> Search:
        return self.model_copy(update={"at_work": False})

    def passed(self, outcome: BatchOutcome) -> Search:
        """The first group is stored."""
        return self._after(self.groups[1:], _sum(self.stored, outcome))

    def crashed(self, victim: Victim, *, tolerated: int) -> tuple[Search, str | None]:
        """A process ended while the first group was at work. Returns the picture that is now judged, if any.

        What is under suspicion goes on first: a release that crashes on every picture shows that soon.
        """
        return self._judged(self.groups[0].crashed(), victim, tolerated)

    def judged(self, victim: Victim, *, tolerated: int) -> tuple[Search, str | None]:
        """The same for crashes that the group counts already."""
        return self._judged(self.groups[0], victim, tolerated)

    def _judged(self, group: Group, victim: Victim, tolerated: int) -> tuple[Search, str | None]:
        rest = self.groups[1:]
        if len(group.ids) == 1:
            if group.crashes < CRASHES_ALONE:
                return self._after((group, *rest), self.stored), None
            guilty = group.ids[0]
            fault = JobFault(product_id=guilty, kind=_ERRORS[victim].code, detail=_DETAILS[victim])
            return self._after(rest, _sum(self.stored, BatchOutcome(faults=(fault,)))), guilty
        if len(group.ids) == len(self.ids) and group.crashes < tolerated:
            return self._after((group, *rest), self.stored), None
        return self._after((*group.divided(), *rest), self.stored), None

    def _after(self, groups: tuple[Group, ...], stored: BatchOutcome) -> Search:
        return self.model_copy(update={"groups": groups, "stored": stored, "at_work": False})


class SearchStore:
    """The searches of jobs' steps, in Redis. Every call may raise BrokerUnavailable."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client

    def load(self, job_id: str, step: str) -> Search | None:
        with broker_errors():
            stored = self._redis.hget(keys.part(job_id, "suspects"), step)
        return None if stored is None else Search.model_validate_json(stored)

    def save(self, job_id: str, step: str, search: Search) -> None:
        with broker_errors():
            self._redis.hset(keys.part(job_id, "suspects"), step, search.model_dump_json())

    def remove(self, job_id: str, step: str) -> None:
        with broker_errors():
            self._redis.hdel(keys.part(job_id, "suspects"), step)

    def count_quarantined(self, job_id: str) -> int:
        """Count one more quarantined picture of the job, and return how many there are."""
        with broker_errors():
            return int(self._redis.hincrby(keys.part(job_id, "suspects"), _QUARANTINED, 1))


def _sum(one: BatchOutcome, other: BatchOutcome) -> BatchOutcome:
    return BatchOutcome(
        done=one.done + other.done, skipped=one.skipped + other.skipped, faults=(*one.faults, *other.faults)
    )
