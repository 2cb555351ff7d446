"""Runs an evaluation plan: every release, gallery and search variant gives one row of results."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from trainer.evaluation.ablation import protocol_ablation
from trainer.evaluation.features import FeatureCache
from trainer.evaluation.protocol import EvaluationSet
from trainer.evaluation.variants import Projector, embed, in_common, milliseconds_per_query, variant_scores
from trainer.progress import Progress
from vitrine.errors import EvaluationImpossible
from vitrine.evaluation import Comparison, Evaluator, Measured, compare, equal_labels, shared_labels, unequal_labels
from vitrine.evaluation.plan import EvaluationPlan, Gallery, Way
from vitrine.evaluation.ranking import blocks
from vitrine.releases import PARSER_MODEL, PROJECTION_FILE, ReleaseStore
from vitrine.types import Rows
from vitrine.vision.pca import ProjectionArrays, fit_projection, project

# The original system used PCA with whitening to this size for every network.
REFERENCE_COMPONENTS: Final = 128
_SHOWN: Final = 15


@dataclass(frozen=True, slots=True)
class ResultRow:
    """The results of one release with one search variant in one gallery.

    `query_rows` (Q,) are the evaluation set's queries that could be measured, `kinds` (Q,) their classes, and `matches`
    (Q, 15) the rows of the set's gallery that they find first, -1 where there are fewer.
    """

    release: str
    gallery: Gallery
    variant: str
    measured: Measured
    kinds: Rows
    query_rows: Rows
    matches: Rows
    gallery_size: int
    milliseconds_per_query: float

    def by_kind(self, names: tuple[str, ...]) -> dict[str, dict[str, float]]:
        """The means of each class that has queries, with their number."""
        means = {}
        for code, name in enumerate(names):
            measured = self.measured.of_queries(self.kinds == code)
            if measured.scored:
                means[name] = {"queries": float(measured.scored), **measured.means()}
        return means


def compare_rows(first: ResultRow, second: ResultRow, measure: str) -> Comparison:
    """Compare two rows on the queries that both have."""
    _, left, right = np.intersect1d(first.query_rows, second.query_rows, return_indices=True)
    return compare(first.measured.values[measure][left], second.measured.values[measure][right])


def with_parser(plan: EvaluationPlan, releases: ReleaseStore) -> EvaluationPlan:
    """The plan with the parser that its ways need: by default the newest one.

    Raises EvaluationImpossible if no parser is stored, ReleaseNotFound, and ReleaseOfOtherKind if the named release
    is not a parser.
    """
    way = next((way for way in plan.ways if way.cutout), None)
    if way is None:
        return plan
    parser_id = plan.parser or releases.newest(PARSER_MODEL)
    if parser_id is None:
        raise EvaluationImpossible(
            f"the way {way.name!r} cuts garments out, and no release of {PARSER_MODEL} is stored: train one with "
            "recipes/parser.toml, or name another one as parser"
        )
    return plan.model_copy(update={"parser": releases.parser_manifest(parser_id).release_id})


class EvaluationRunner:
    """Runs one plan on one evaluation set. Every call may raise what `progress` raises to stop."""

    def __init__(
        self, plan: EvaluationPlan, evaluation_set: EvaluationSet, features: FeatureCache, progress: Progress
    ) -> None:
        self._plan = plan
        self._set = evaluation_set
        self._features = features
        self._progress = progress

    def run(self) -> list[ResultRow]:
        """All rows of the report: by release, then gallery, then variant.

        Raises ReleaseNotFound, ReleaseCorrupt, and EvaluationImpossible if no query has a relevant product.
        """
        plan = self._plan
        if plan.protocol == "faults":
            return [row for release_id in plan.releases for row in self._ablation(release_id)]
        rows = []
        for release_id in plan.releases:
            projector = self._projector(release_id)
            for gallery in plan.galleries:
                for variant in plan.ways:
                    self._progress.phase(f"measuring {release_id}, {gallery}, {variant.name}")
                    rows.append(self._measure(release_id, projector, gallery, variant))
        if not any(row.measured.scored for row in rows):
            raise EvaluationImpossible("no query has a relevant product in its gallery: check data.relevance")
        return rows

    def _measure(self, release_id: str, projector: Projector, gallery: Gallery, variant: Way) -> ResultRow:
        evaluation_set, plan = self._set, self._plan
        variant = self._as_served(release_id, variant)
        searched = evaluation_set.searched_rows(gallery, plan.part)
        first = embed(self._features, evaluation_set, release_id, projector, views=variant.views, searched=searched)
        second = None
        if variant.fuse is not None:
            other = self._projector(variant.fuse)
            second = embed(self._features, evaluation_set, variant.fuse, other, views=variant.views, searched=searched)
            first, second = in_common(first, second)
        labels = evaluation_set.labels.at(first.gallery_rows)
        query_labels = evaluation_set.query_labels.at(first.query_rows)
        ignore = unequal_labels(query_labels.within, labels.within) if plan.within else None
        relevant = equal_labels(query_labels.relevance, labels.relevance)
        grades = shared_labels(query_labels.graded, labels.graded)
        scores = variant_scores(variant, first, second, ignore)
        # The original kept the query in its gallery, and dropped rank 1 from its precision only.
        keeps_query = plan.protocol == "reference"
        with_query = [name for name in plan.measures if keeps_query and not name.startswith("precision@")]
        without_query = [name for name in plan.measures if name not in with_query]
        counts = len(first.queries), len(first.gallery)
        judges = [
            Evaluator(names, *counts, relevant, own=own, ignore=ignore, grades=grades, shown=_SHOWN)
            for names, own in ((with_query, None), (without_query, first.own))
            if names
        ]
        for block in blocks(*counts):
            self._progress.check()
            for judge in judges:
                judge.add(block, scores(block))
        values = {name: value for judge in judges for name, value in judge.measured().values.items()}
        return ResultRow(
            release=release_id,
            gallery=gallery,
            variant=variant.name,
            measured=Measured({name: values[name] for name in plan.measures}),
            kinds=query_labels.kind,
            query_rows=first.query_rows,
            matches=np.where(judges[-1].first >= 0, first.gallery_rows[judges[-1].first], -1),
            gallery_size=counts[1],
            milliseconds_per_query=milliseconds_per_query(variant, first, second),
        )

    def _as_served(self, release_id: str, variant: Way) -> Way:
        """The variant, with the gallery augmentation that is part of the release."""
        augmentation = self._features.releases.manifest(release_id).augmentation
        if augmentation is None or variant.augment or self._plan.protocol != "strict":
            return variant
        return variant.model_copy(update={"augment": augmentation.neighbours, "augment_alpha": augmentation.alpha})

    def _projector(self, release_id: str) -> Projector:
        """The release's own projection or, in the protocol `reference`, one that is fitted on all products, the tested
        ones too, as the original did.
        """
        if self._plan.protocol == "strict":
            folder = self._features.releases.local_folder(release_id)
            return partial(project, ProjectionArrays.load(folder / PROJECTION_FILE))
        features, _ = self._features.features(release_id, self._set.gallery)
        components = min(REFERENCE_COMPONENTS, *features.shape)
        fit = fit_projection(np.asarray(features), components=components, whiten=True, seed=self._plan.drawn_by)
        return partial(project, fit.arrays)

    def _ablation(self, release_id: str) -> list[ResultRow]:
        """A row for each step of the protocol ablation. Raises EvaluationImpossible if the queries are photographs."""
        evaluation_set = self._set
        if evaluation_set.photographs is not None:
            raise EvaluationImpossible(
                "the protocol faults takes its queries from the catalogue's test part: leave out the photographs"
            )
        features, rows = self._features.features(release_id, evaluation_set.gallery)
        place = np.full(len(evaluation_set.dataset), -1, dtype=np.int64)
        place[rows] = np.arange(len(rows))
        query_rows = np.flatnonzero(place[evaluation_set.query_rows] >= 0)

        def readable(chosen: Rows) -> Rows:
            return place[chosen][place[chosen] >= 0]

        self._progress.phase(f"measuring {release_id}, fault by fault")
        steps = protocol_ablation(
            np.asarray(features),
            evaluation_set.labels.relevance[rows],
            train=readable(evaluation_set.dataset.rows("train")),
            validation=readable(evaluation_set.dataset.rows("validation")),
            queries=place[evaluation_set.query_rows[query_rows]],
        )
        kinds = evaluation_set.query_labels.at(query_rows).kind
        return [
            ResultRow(
                release=release_id,
                gallery="all",
                variant=f"{step.name}, {step.components} components",
                measured=step.measured,
                kinds=kinds,
                query_rows=query_rows,
                matches=np.where(step.matches >= 0, rows[step.matches], -1),
                gallery_size=len(rows),
                milliseconds_per_query=float("nan"),
            )
            for step in steps
        ]
