"""One evaluation: every release of a plan, searched in every way, in every gallery, judged by every measure."""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np

from trainer.evaluation.contest import Contest
from trainer.evaluation.fault_lines import fault_lines
from trainer.evaluation.features import FeatureStore
from trainer.evaluation.lines import Line
from trainer.evaluation.searching import Projected, in_common, look, milliseconds_a_query, scores_of
from trainer.progress import Progress
from vitrine.errors import EvaluationImpossible
from vitrine.evaluation import Judge, Measured, equal_labels, shared_labels, unequal_labels
from vitrine.evaluation.plan import EvaluationPlan, Gallery, Way
from vitrine.evaluation.ranking import blocks
from vitrine.vision.pca import ProjectionArrays, fit_projection, project

# What the original system used for every network: PCA with whitening to so many components.
REFERENCE_COMPONENTS: Final = 128
_SHOWN: Final = 15


class Evaluation:
    """Measures a plan. Every call may raise what the follower raises to stop."""

    def __init__(self, plan: EvaluationPlan, contest: Contest, store: FeatureStore, follower: Progress) -> None:
        self._plan = plan
        self._contest = contest
        self._store = store
        self._follower = follower

    def lines(self) -> list[Line]:
        """Every line of the report: by release, then gallery, then way.

        Raises ReleaseNotFound, ReleaseCorrupt, and EvaluationImpossible where no query has anything to find.
        """
        plan = self._plan
        found = []
        if plan.protocol == "faults":
            parts = [fault_lines(one, self._contest, self._store, self._follower) for one in plan.releases]
            return [line for part in parts for line in part]
        for release_id in plan.releases:
            projected = self._projected(release_id)
            for gallery in plan.galleries:
                for way in plan.ways:
                    self._follower.phase(f"measuring {release_id}, {gallery}, {way.name}")
                    found.append(self._line(release_id, projected, gallery, way))
        if not any(line.measured.scored for line in found):
            raise EvaluationImpossible("no query has anything to find in its gallery: look at data.relevance")
        return found

    def _line(self, release_id: str, projected: Projected, gallery: Gallery, way: Way) -> Line:
        contest, plan = self._contest, self._plan
        way = self._as_served(release_id, way)
        searched = contest.rows_of(gallery, plan.part)
        sight = look(self._store, contest, release_id, projected, views=way.views, searched=searched)
        second = None
        if way.fuse is not None:
            other = self._projected(way.fuse)
            second = look(self._store, contest, way.fuse, other, views=way.views, searched=searched)
            sight, second = in_common(sight, second)
        labels, asked = contest.labels.at(sight.rows), contest.query_labels.at(sight.asked)
        ignore = unequal_labels(asked.within, labels.within) if plan.within else None
        relevant = equal_labels(asked.relevance, labels.relevance)
        grades = shared_labels(asked.graded, labels.graded)
        scores = scores_of(way, sight, second, ignore)
        # The reference leaves the query in its gallery, where it finds itself, and drops rank 1 of its hits alone.
        kept_in = plan.protocol == "reference"
        inside = [name for name in plan.measures if kept_in and not name.startswith("precision@")]
        outside = [name for name in plan.measures if name not in inside]
        count, size = len(sight.queries), len(sight.gallery)
        judges = [
            Judge(names, count, size, relevant, own=own, ignore=ignore, grades=grades, shown=_SHOWN)
            for names, own in ((inside, None), (outside, sight.own))
            if names
        ]
        for block in blocks(count, size):
            self._follower.check()
            for judge in judges:
                judge.add(block, scores(block))
        values = {name: value for judge in judges for name, value in judge.measured().values.items()}
        return Line(
            release=release_id,
            gallery=gallery,
            way=way.name,
            measured=Measured({name: values[name] for name in plan.measures}),
            kinds=asked.kind,
            asked=sight.asked,
            matches=np.where(judges[-1].first >= 0, sight.rows[judges[-1].first], -1),
            gallery_size=size,
            milliseconds=milliseconds_a_query(way, sight, second),
        )

    def _as_served(self, release_id: str, way: Way) -> Way:
        """The way, with the augmentation that the release's gallery has anyhow."""
        own = self._store.releases.manifest(release_id).augmentation
        if own is None or way.augment or self._plan.protocol != "strict":
            return way
        return way.model_copy(update={"augment": own.neighbours, "augment_alpha": own.alpha})

    def _projected(self, release_id: str) -> Projected:
        """How the release's features become vectors: by its own projection, or, as the reference did, by one fitted on
        everything, the measured part too.
        """
        if self._plan.protocol == "strict":
            folder = self._store.releases.local_folder(release_id)
            return partial(project, ProjectionArrays.load(folder / "projection.safetensors"))
        features, _ = self._store.features(release_id, self._contest.gallery)
        components = min(REFERENCE_COMPONENTS, *features.shape)
        fit = fit_projection(np.asarray(features), components=components, whiten=True, seed=self._plan.drawn_by)
        return partial(project, fit.arrays)
