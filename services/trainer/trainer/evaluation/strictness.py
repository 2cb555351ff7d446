"""Strictness: whether a release, or one that it was made from, was fitted or chosen on the products it is tested on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from trainer.evaluation.protocol import EvaluationSet
from vitrine.errors import ReleaseCorrupt, ReleaseNotFound
from vitrine.evaluation.plan import EvaluationPlan
from vitrine.releases import ReleaseStore
from vitrine.releases.ancestry import lineage_of
from vitrine.releases.lineage import Lineage

# Another dataset with so large a share of the tested ids may be the same catalogue.
_SAME_CATALOGUE: Final = 0.9

Verdict = Literal["yes", "no", "unknown"]


@dataclass(frozen=True, slots=True)
class Strictness:
    """The number of `tested` products, how many of them the release was fitted on, how many of the others it was chosen
    on, and `why` it is not strict, or why that is unknown.
    """

    strict: Verdict
    tested: int
    fitted_on: int
    chosen_on: int
    why: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def split_lineage(release_ids: Sequence[str], dataset: str, releases: ReleaseStore) -> Lineage:
    """The lineage of the first release that has a split of `dataset`. An evaluation uses that split."""
    for release_id in release_ids:
        lineage = _lineage(releases, release_id)
        if dataset in lineage.rules:
            return lineage
    return Lineage()


def strictness_of(
    release_id: str, plan: EvaluationPlan, evaluation_set: EvaluationSet, releases: ReleaseStore
) -> Strictness:
    """The strictness of a release. Tested are the products of the queries' part, or the photographs."""
    lineage = _lineage(releases, release_id)
    tested = _tested(plan, evaluation_set)
    used = [lineage.used(dataset, ids) for dataset, ids in tested.items()]
    fitted, chosen = sum(one for one, _ in used), sum(one for _, one in used)
    why = []
    if plan.protocol != "strict":
        why.append(f"the protocol {plan.protocol} fits the projection on everything, the tested products too")
    unknown = [*lineage.unknown, *_other_names(lineage, tested)]
    strict: Verdict = "no" if why or fitted or chosen else "unknown" if unknown else "yes"
    why += [f"unknown: {what}" for what in unknown]
    return Strictness(strict, sum(map(len, tested.values())), fitted, chosen, (*why, *lineage.stated))


def _other_names(lineage: Lineage, tested: Mapping[str, Sequence[str]]) -> list[str]:
    """Datasets that may be the tested catalogue under another name, because they have nearly all of its ids."""
    return [
        f"whether {other} is another name of {dataset}: it has products with the same ids, and was fitted on"
        for dataset, ids in tested.items()
        for other, marked in lineage.products.items()
        if other != dataset and (marked.of(ids) > 0).mean() >= _SAME_CATALOGUE and lineage.seen(other, ids).any()
    ]


def _tested(plan: EvaluationPlan, evaluation_set: EvaluationSet) -> dict[str, list[str]]:
    """The ids of the tested products by dataset: those of the queries and of the gallery `unseen`."""
    photographs, gallery = evaluation_set.photographs, evaluation_set.gallery.catalog.dataset
    tested: dict[str, list[str]] = {}
    if photographs is not None:
        tested[photographs.catalog.dataset] = [product.id for product in photographs.products]
    if photographs is None or "unseen" in plan.galleries:
        tested[gallery] = [*tested.get(gallery, ()), *evaluation_set.dataset.ids(plan.part)]
    return {dataset: list(dict.fromkeys(ids)) for dataset, ids in tested.items()}


def _lineage(releases: ReleaseStore, release_id: str) -> Lineage:
    """The lineage. If it cannot be read it counts as unknown: the evaluation itself reports what is wrong."""
    try:
        return lineage_of(releases, release_id)
    except (ReleaseNotFound, ReleaseCorrupt) as error:
        return Lineage(unknown=(error.detail,))
