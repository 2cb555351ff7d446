"""The state of a crash search: what is still to be tried of a batch, in which groups, and what was found so far."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from indexer.plan import PlannedProduct
from vitrine.errors import PictureCrashes, PictureCrashesEmbedder, PictureCrashesWorker
from vitrine.jobs import BatchOutcome, JobFault

# A crash costs searches seconds, a request only milliseconds. So a few large steps, not halves.
GROUPS: Final = 16
# Fewer crashes of a single picture may be accidental.
CRASHES_ALONE: Final = 3

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
    """Products that are tried together, or some `pictures` of a single product, beside those that are stored already.

    `crashes` counts the crashes while exactly these were processed.
    """

    model_config = ConfigDict(frozen=True)

    ids: tuple[str, ...]
    pictures: tuple[str, ...] = ()
    crashes: int = 0

    @property
    def size(self) -> int:
        return len(self.pictures or self.ids)

    def crashed(self) -> Group:
        return self.model_copy(update={"crashes": self.crashes + 1})

    def divided(self) -> list[Group]:
        """Up to GROUPS groups of nearly equal size."""
        size = -(-self.size // GROUPS)
        starts = range(0, self.size, size)
        if self.pictures:
            return [Group(ids=self.ids, pictures=self.pictures[start : start + size]) for start in starts]
        return [Group(ids=self.ids[start : start + size]) for start in starts]


class PictureSearch(BaseModel):
    """The search among the pictures of one product: the `stored` ones, its outcome with them, and the faults so far."""

    model_config = ConfigDict(frozen=True)

    stored: tuple[str, ...] = ()
    outcome: BatchOutcome = BatchOutcome()
    faults: tuple[JobFault, ...] = ()

    def passed(self, pictures: tuple[str, ...], outcome: BatchOutcome) -> PictureSearch:
        """The product is stored with these pictures as well. Its outcome is that of the last time, counted once."""
        embedded = {"pictures": self.outcome.pictures + outcome.pictures}
        if self.outcome.done and outcome.skipped:
            embedded |= {"done": outcome.skipped, "skipped": 0}
        outcome = outcome.model_copy(update=embedded)
        return self.model_copy(update={"stored": (*self.stored, *pictures), "outcome": outcome})

    def result(self) -> BatchOutcome:
        """The outcome of the product: rejected if none of its pictures is left."""
        if self.stored:
            return self.outcome.plus(BatchOutcome(picture_faults=self.faults))
        first = self.faults[0]
        detail = f"none of its {len(self.faults)} pictures can be used: {first.detail}"
        return BatchOutcome(faults=(first.model_copy(update={"detail": detail}),))


class SearchState(BaseModel):
    """The state of one batch, with the products `ids`.

    `groups` are still to be tried, in this order. `at_work` is set while the first of them is processed. `stored` is
    the outcome of the products that are done. `several` has the pictures of the products with more than one, and
    `pictures` is the search among those of the product that is tried, if there is one.
    """

    model_config = ConfigDict(frozen=True)

    ids: tuple[str, ...]
    groups: tuple[Group, ...]
    at_work: bool = False
    stored: BatchOutcome = BatchOutcome()
    several: Mapping[str, tuple[str, ...]] = {}
    pictures: PictureSearch | None = None

    @classmethod
    def of(cls, planned: Collection[PlannedProduct], *, crashes: int) -> SearchState:
        ids = tuple(one.product.id for one in planned)
        return cls(ids=ids, groups=(Group(ids=ids, crashes=crashes),), several=_several(planned))

    def with_new(self, planned: Collection[PlannedProduct]) -> SearchState:
        """Add the products that joined the step after the search began."""
        new = tuple(one.product.id for one in planned if one.product.id not in frozenset(self.ids))
        if not new:
            return self
        several = {**self.several, **_several(one for one in planned if one.product.id in new)}
        groups = (*self.groups, Group(ids=new))
        return self.model_copy(update={"ids": (*self.ids, *new), "groups": groups, "several": several})

    def first_of(self, planned: Mapping[str, PlannedProduct]) -> list[PlannedProduct]:
        """What the first group stores. A product with some of its pictures also has those that are stored already."""
        group = self.groups[0]
        found = [planned[one] for one in group.ids if one in planned]
        if not group.pictures:
            return found
        wanted = {*group.pictures, *(self.pictures.stored if self.pictures else ())}
        return [
            _with_pictures(one, left) for one in found if (left := [p for p in one.product.pictures if p in wanted])
        ]

    def started(self) -> SearchState:
        return self.model_copy(update={"at_work": True})

    def interrupted(self) -> SearchState:
        return self.model_copy(update={"at_work": False})

    def passed(self, outcome: BatchOutcome) -> SearchState:
        """The first group is stored."""
        first, *rest = self.groups
        if not first.pictures:
            return self._with(tuple(rest), self.stored.plus(outcome))
        search = (self.pictures or PictureSearch()).passed(first.pictures, outcome)
        return self._with_search(tuple(rest), search)

    def crashed(self, victim: Victim, *, tolerated: int) -> tuple[SearchState, str | None]:
        """A process crashed while the first group was processed. Returns the picture that is quarantined now, if any.

        Suspects go first, so that a release that crashes on every picture is recognised soon.
        """
        return self._judged(self.groups[0].crashed(), victim, tolerated)

    def judged(self, victim: Victim, *, tolerated: int) -> tuple[SearchState, str | None]:
        """The same, for crashes that the group has counted already."""
        return self._judged(self.groups[0], victim, tolerated)

    def _judged(self, group: Group, victim: Victim, tolerated: int) -> tuple[SearchState, str | None]:
        rest = self.groups[1:]
        if 1 < len(group.ids) == len(self.ids) and group.crashes < tolerated:
            return self._with((group, *rest), self.stored), None
        pictures = () if group.pictures or len(group.ids) > 1 else self.several.get(group.ids[0], ())
        if pictures:
            return self._with((*Group(ids=group.ids, pictures=pictures).divided(), *rest), self.stored), None
        if group.size > 1:
            return self._with((*group.divided(), *rest), self.stored), None
        if group.crashes < CRASHES_ALONE:
            return self._with((group, *rest), self.stored), None
        guilty, detail = group.ids[0], _DETAILS[victim]
        if group.pictures:
            detail = f"the picture {group.pictures[0][:200]!r}: {detail}"
        fault = JobFault(product_id=guilty, kind=_ERRORS[victim].code, detail=detail)
        if not group.pictures:
            return self._with(rest, self.stored.plus(BatchOutcome(faults=(fault,)))), guilty
        search = self.pictures or PictureSearch()
        search = search.model_copy(update={"faults": (*search.faults, fault)})
        return self._with_search(rest, search), f"{guilty}: {group.pictures[0]}"

    def _with_search(self, groups: tuple[Group, ...], search: PictureSearch) -> SearchState:
        """Go on with the other pictures of the product, or count the product after the last of them."""
        if groups and groups[0].pictures:
            return self._with(groups, self.stored).model_copy(update={"pictures": search})
        return self._with(groups, self.stored.plus(search.result())).model_copy(update={"pictures": None})

    def _with(self, groups: tuple[Group, ...], stored: BatchOutcome) -> SearchState:
        return self.model_copy(update={"groups": groups, "stored": stored, "at_work": False})


def _with_pictures(planned: PlannedProduct, pictures: Sequence[str]) -> PlannedProduct:
    """The product with these pictures alone."""
    face, *others = pictures
    return replace(planned, product=replace(planned.product, picture=face, more_pictures=tuple(others)))


def _several(planned: Iterable[PlannedProduct]) -> dict[str, tuple[str, ...]]:
    """The pictures, each once, of the products with more than one, by the product's id."""
    pictures = {one.product.id: tuple(dict.fromkeys(one.product.pictures)) for one in planned}
    return {product_id: own for product_id, own in pictures.items() if len(own) > 1}
