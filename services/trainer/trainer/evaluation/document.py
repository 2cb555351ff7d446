"""The report of an evaluation as plain data: everything its pages and tables are written from, and what another program
reads. It names the protocol, the split, the seed, the counts and the releases.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from trainer.evaluation.contest import Contest
from trainer.evaluation.lines import Line, compared
from trainer.evaluation.strictness import strictness_of
from vitrine.evaluation.plan import EvaluationPlan
from vitrine.releases import ReleaseStore
from vitrine.splits import PARTS

FORMAT_VERSION: Final = 2
# The measures in which the lines of a gallery are compared with its first.
_COMPARED: Final = 2

Document = dict[str, Any]


def document_of(
    plan: EvaluationPlan, contest: Contest, lines: Sequence[Line], releases: ReleaseStore, *, title: str
) -> Document:
    """The report of a plan's lines."""
    named = list(dict.fromkeys([*plan.releases, *(way.fuse for way in plan.ways if way.fuse is not None)]))
    return {
        "version": FORMAT_VERSION,
        "title": title,
        "protocol": plan.protocol,
        "plan": plan.model_dump(mode="json"),
        "catalog": {
            "dataset": contest.gallery.catalog.dataset,
            "subset": plan.data.subset,
            "products": len(contest.parts),
            "parts": {part: len(contest.parts.rows(part)) for part in PARTS},
            "split": contest.rule.as_json(),
        },
        "queries": {
            "from": plan.part if contest.outside is None else contest.outside.catalog.dataset,
            "count": len(contest.asked) if contest.outside is None else len(contest.outside.products),
        },
        "releases": [
            {**_release(release_id, releases), **strictness_of(release_id, plan, contest, releases).as_json()}
            for release_id in named
        ],
        "lines": [_line(line, contest) for line in lines],
        "comparisons": _comparisons(plan, lines),
    }


def _release(release_id: str, releases: ReleaseStore) -> Document:
    manifest = releases.manifest(release_id)
    return {
        "id": release_id,
        "model": manifest.model,
        "components": manifest.dim,
        "whiten": manifest.projection.whiten,
        "explained_variance": manifest.projection.explained_variance,
        "kind": (manifest.recipe or {}).get("kind", "projected"),
        "parent": manifest.parent,
        "weights_bytes": manifest.weights.size_bytes,
    }


def strict_of(document: Document, line: Document) -> str:
    """Whether a line may be called strict: `no` if any of its releases is not, `unknown` if of any it is not known."""
    verdicts = {one["id"]: one["strict"] for one in document["releases"]}
    ways = {way["name"]: way["fuse"] for way in document["plan"]["ways"]}
    named = (line["release"], ways.get(line["way"]))
    found = [verdicts[release_id] for release_id in named if release_id is not None]
    return next((verdict for verdict in ("no", "unknown") if verdict in found), "yes")


def strictness_told(release: Document) -> str:
    """The verdict on one release as a report shows it: `yes: fitted on 0 and chosen on 0 of 120 tested products`."""
    counted = f"fitted on {release['fitted_on']:,} and chosen on {release['chosen_on']:,} of {release['tested']:,}"
    return f"{release['strict']}: {'; '.join((f'{counted} tested products', *release['why']))}"


def _line(line: Line, contest: Contest) -> Document:
    measures = {
        name: {"mean": line.measured.mean(name), "low": interval.low, "high": interval.high}
        for name in line.measured.values
        for interval in (line.measured.interval(name),)
    }
    return {
        "release": line.release,
        "gallery": line.gallery,
        "gallery_products": line.gallery_size,
        "way": line.way,
        "queries": line.measured.scored,
        "left_out": line.measured.left_out,
        "milliseconds_a_query": _number(round(line.milliseconds, 3)),
        "measures": {name: {key: _number(value) for key, value in told.items()} for name, told in measures.items()},
        "kinds": line.by_kind(contest.kinds),
    }


def _comparisons(plan: EvaluationPlan, lines: Sequence[Line]) -> list[Document]:
    """Each line against the first of its gallery, query by query."""
    told = []
    for gallery in plan.galleries:
        first, *others = [line for line in lines if line.gallery == gallery]
        for other in others:
            for name in plan.measures[:_COMPARED]:
                found = compared(first, other, name)
                told.append(
                    {
                        "gallery": gallery,
                        "measure": name,
                        "first": {"release": first.release, "way": first.way},
                        "second": {"release": other.release, "way": other.way},
                        "difference": _number(found.difference),
                        "low": _number(found.interval.low),
                        "high": _number(found.interval.high),
                        "p": _number(found.p),
                        "queries": found.queries,
                    }
                )
    return told


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None
