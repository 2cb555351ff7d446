"""Whether a measured release may be called strict: whether anything in it, or in what it was made from, was fitted or
chosen on what it is tested on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from trainer.evaluation.contest import Contest
from vitrine.errors import ReleaseCorrupt, ReleaseNotFound
from vitrine.evaluation.plan import EvaluationPlan
from vitrine.releases import ReleaseStore
from vitrine.releases.ancestry import lineage_of
from vitrine.releases.lineage import Lineage

# Of the tested ids this share is in another dataset too, where that is the same catalogue.
_SAME_CATALOGUE: Final = 0.9

Verdict = Literal["yes", "no", "unknown"]


@dataclass(frozen=True, slots=True)
class Strictness:
    """`tested` products, how many of them the release was fitted on, and of the others chosen on, and `why` it is not
    strict or not known to be.
    """

    strict: Verdict
    tested: int
    fitted_on: int
    chosen_on: int
    why: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def split_of(release_ids: Sequence[str], dataset: str, releases: ReleaseStore) -> Lineage:
    """The lineage whose split of `dataset` an evaluation works with: that of the first release that has one."""
    for release_id in release_ids:
        lineage = _lineage(releases, release_id)
        if dataset in lineage.rules:
            return lineage
    return Lineage()


def strictness_of(release_id: str, plan: EvaluationPlan, contest: Contest, releases: ReleaseStore) -> Strictness:
    """Measured on the queries' part, which is the gallery of unseen products too, or on photographs."""
    lineage = _lineage(releases, release_id)
    tested = _tested(plan, contest)
    used = [lineage.used(dataset, ids) for dataset, ids in tested.items()]
    fitted, chosen = sum(one for one, _ in used), sum(one for _, one in used)
    why = []
    if plan.protocol != "strict":
        why.append(f"the protocol {plan.protocol} fits the projection on everything, the tested products too")
    unknown = [*lineage.unknown, *_other_names(lineage, tested)]
    verdict: Verdict = "no" if why or fitted or chosen else "unknown" if unknown else "yes"
    why += [f"unknown: {what}" for what in unknown]
    return Strictness(verdict, sum(map(len, tested.values())), fitted, chosen, (*why, *lineage.stated))


def _other_names(lineage: Lineage, tested: Mapping[str, Sequence[str]]) -> list[str]:
    """Ids tell products apart within a dataset alone. Where another dataset has nearly all of the tested ones, it may
    be the same catalogue, under a name that it had before.
    """
    return [
        f"whether {other} is another name of {dataset}: it has products with the same ids, and was fitted on"
        for dataset, ids in tested.items()
        for other, marked in lineage.products.items()
        if other != dataset and (marked.of(ids) > 0).mean() >= _SAME_CATALOGUE and lineage.seen(other, ids).any()
    ]


def _tested(plan: EvaluationPlan, contest: Contest) -> dict[str, list[str]]:
    """The ids of the products that are asked for, or that a gallery calls unseen, by dataset."""
    tested: dict[str, list[str]] = {}
    if contest.outside is not None:
        _add(tested, contest.outside.catalog.dataset, (one.id for one in contest.outside.products))
    if contest.outside is None or "unseen" in plan.galleries:
        _add(tested, contest.gallery.catalog.dataset, contest.parts.ids(plan.part))
    return tested


def _add(tested: dict[str, list[str]], dataset: str, ids: Iterable[str]) -> None:
    tested[dataset] = list(dict.fromkeys((*tested.get(dataset, ()), *ids)))


def _lineage(releases: ReleaseStore, release_id: str) -> Lineage:
    """What cannot be read counts as unknown: an evaluation reads the release itself too, and says what is wrong."""
    try:
        return lineage_of(releases, release_id)
    except (ReleaseNotFound, ReleaseCorrupt) as error:
        return Lineage(unknown=(error.detail,))
