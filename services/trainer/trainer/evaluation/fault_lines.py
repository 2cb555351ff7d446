"""The protocol `faults`: a release's ladder of mended faults, as lines of a report."""

from __future__ import annotations

import numpy as np

from trainer.evaluation.contest import Contest
from trainer.evaluation.faults import faults_ladder
from trainer.evaluation.features import FeatureStore
from trainer.evaluation.lines import Line
from trainer.progress import Progress
from vitrine.errors import EvaluationImpossible
from vitrine.evaluation import Rows


def fault_lines(release_id: str, contest: Contest, store: FeatureStore, follower: Progress) -> list[Line]:
    """A line for each rung. Raises EvaluationImpossible where the queries are photographs of another catalogue, and as
    the feature store and the follower do.
    """
    if contest.outside is not None:
        raise EvaluationImpossible("the protocol faults asks with the catalogue's own test part: leave out photographs")
    features, rows = store.features(release_id, contest.gallery)
    place = np.full(len(contest.parts), -1, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    asked = np.flatnonzero(place[contest.asked] >= 0)

    def seen(chosen: Rows) -> Rows:
        return place[chosen][place[chosen] >= 0]

    follower.phase(f"measuring {release_id}, fault by fault")
    ladder = faults_ladder(
        np.asarray(features), contest.labels.relevance[rows], train=seen(contest.parts.rows("train")),
        validation=seen(contest.parts.rows("validation")), queries=place[contest.asked[asked]],
    )  # fmt: skip
    kinds = contest.query_labels.at(asked).kind
    return [
        Line(
            release=release_id, gallery="all", way=f"{rung.name}, {rung.components} components",
            measured=rung.measured, kinds=kinds, asked=asked,
            matches=np.where(rung.matches >= 0, rows[rung.matches], -1), gallery_size=len(rows),
            milliseconds=float("nan"),
        )
        for rung in ladder
    ]  # fmt: skip
