"""The `tune` job: find the best projection for a release's network and make a new release with it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors import safe_open

from trainer.data.dataset import Dataset
from trainer.data.extraction import decoded_pictures
from trainer.data.splits import split_rule
from trainer.evaluation.calibration import calibrate, collect_matches
from trainer.evaluation.features import FeatureCache
from trainer.evaluation.ood import build_ood_detector
from trainer.evaluation.pca_search import PcaSearch, search_pca
from trainer.evaluation.protocol import EvaluationSet, Labels, build_evaluation_set
from trainer.jobs.job import Job
from trainer.reports.pca_search import OBJECTIVE, write_pca_search
from vitrine.errors import EvaluationImpossible
from vitrine.evaluation.expansion import augment_gallery
from vitrine.evaluation.plan import EvaluationPlan
from vitrine.jobs.params.releases import TuneParams
from vitrine.releases import (
    CLASSIFIER_FILE,
    WEIGHTS_FILE,
    Augmentation,
    Calibration,
    Familiarity,
    FittedOn,
    Manifest,
)
from vitrine.releases.ancestry import parent_lineage
from vitrine.releases.lineage import Lineage
from vitrine.types import Rows, Vectors
from vitrine.vision.backbones import Loaded, restore_backbone
from vitrine.vision.pca import project
from vitrine.vision.release_builder import Training, fitted_on, make_release

_CALIBRATION_QUERIES: Final = 2000
_SEARCHING: Final = "trying every number of components"


@dataclass(frozen=True, slots=True)
class _Embedded:
    """The catalogue's products, embedded with the chosen projection."""

    vectors: Vectors
    labels: Labels
    dataset: Dataset
    ood_detector: Familiarity | None

    @property
    def searched(self) -> Rows:
        """The gallery of validation queries."""
        return self.dataset.rows("train", "validation")


@dataclass(frozen=True, slots=True)
class _Origin:
    """What the new projection was fitted on, and the lineage with it."""

    fitted_on: FittedOn
    lineage: Lineage


class TuneJob(Job[TuneParams]):
    Params = TuneParams

    def work(self) -> dict[str, Any]:
        params, progress = self.params, self.progress
        progress.phase("reading the catalogue")
        catalog = self.read_catalog(params)
        lineage = parent_lineage(self.releases, params.release_id)
        rule = split_rule(catalog.dataset, params.data, seed=params.seed, lineage=lineage)
        plan = EvaluationPlan(releases=(params.release_id,), data=params.data, seed=rule.seed)
        evaluation_set = build_evaluation_set(plan, catalog, lineage=lineage)
        cache = FeatureCache(self.releases, self.settings, self.device, progress)
        features, rows = cache.features(params.release_id, evaluation_set.gallery)
        dataset, labels = evaluation_set.dataset.keep(rows), evaluation_set.labels.at(rows)
        train, validation = dataset.rows("train"), dataset.rows("validation")
        if not len(validation):
            raise EvaluationImpossible("the validation part has no pictures, so no size can be chosen")
        progress.phase(_SEARCHING)
        search = search_pca(
            np.asarray(features),
            labels.relevance,
            labels.graded,
            train=train,
            validation=validation,
            objective=params.objective,
            queries=params.queries,
            seed=params.seed,
            sizes=params.sizes,
            whiten=(False, True) if params.whiten is None else (params.whiten,),
            step=self._report_search,
        )
        progress.phase("publishing")
        ids = [dataset.products[row].id for row in train]
        origin = _Origin(
            fitted_on(catalog.dataset, ids, part="train", seed=rule.seed),
            lineage.with_split(
                catalog.dataset, evaluation_set.split_rule, evaluation_set.dataset.part_of
            ).with_products(catalog.dataset, fitted=ids, chosen=dataset.ids("validation")),
        )
        vectors = project(search.fit().arrays, np.asarray(features))
        embedded = _Embedded(vectors, labels, dataset, self._ood_detector(evaluation_set, features, dataset))
        training = self._training(search, self._calibration(embedded, vectors))
        release_id = self._publish(params.name, search, origin, training)
        chosen = search.chosen
        return {
            "release_id": release_id,
            **self._publish_augmented(release_id, training, search, origin, embedded),
            "model": params.name,
            "dim": chosen.components,
            "whiten": chosen.whiten,
            "explained_variance": round(chosen.explained_variance, 6),
            "tried": len(search.points),
            "best_dim": search.best.components,
            **{f"validation_{name}": round(value, 4) for name, value in chosen.means.items()},
            "queries": search.queries,
        }

    def _report_search(self, done: int, total: int) -> None:
        """Report every tenth of the way as a phase: the record's count is of pictures, not of sizes."""
        self.progress.check()
        if done * 10 // total > (done - 1) * 10 // total:
            self.progress.phase(f"{_SEARCHING}, {done * 100 // total} %")

    def _ood_detector(self, evaluation_set: EvaluationSet, features: Vectors, dataset: Dataset) -> Familiarity | None:
        manifest, folder = self._source()
        if _trained_on_validation(manifest.recipe):
            return None
        rules, pictures = manifest.preprocessing, evaluation_set.gallery
        network = restore_backbone(manifest.architecture, folder / WEIGHTS_FILE)
        cache = decoded_pictures(pictures.catalog, pictures.products, rules, self.settings, self.progress)
        return build_ood_detector(
            network, rules, cache.pixels, features, dataset, self.device, self.settings, seed=self.params.seed
        )

    def _calibration(self, embedded: _Embedded, gallery: Vectors) -> Calibration | None:
        """The calibration of scores against `gallery`, or None if the network was trained on the validation part."""
        manifest, _ = self._source()
        if _trained_on_validation(manifest.recipe):
            return None
        matches = collect_matches(
            embedded.vectors,
            embedded.labels.kind,
            embedded.dataset.rows("validation"),
            embedded.searched,
            most=_CALIBRATION_QUERIES,
            seed=self.params.seed,
            searched=gallery,
        )
        calibration = calibrate(matches, attribute=self.params.data.label)
        return calibration and calibration.model_copy(update={"familiarity": embedded.ood_detector})

    def _training(self, search: PcaSearch, calibration: Calibration | None) -> Training:
        params = self.params
        manifest, folder = self._source()
        return Training(
            recipe={
                "kind": "tune",
                "objective": params.objective,
                "queries": search.queries,
                "data": params.data.model_dump(mode="json"),
                "trained_by": manifest.recipe,
            },
            labels=manifest.labels or (),
            metrics={
                f"validation_{name}": round(search.chosen.means[name], 4) for name in (*params.objective, OBJECTIVE)
            },
            parent=params.release_id,
            classifier=folder / CLASSIFIER_FILE if manifest.classifier_sha256 is not None else None,
            folder=None,
            half=_is_half(folder / WEIGHTS_FILE),
            calibration=calibration,
        )

    def _source(self) -> tuple[Manifest, Path]:
        """The manifest and the files of the release to start from."""
        return self.releases.manifest(self.params.release_id), self.releases.local_folder(self.params.release_id)

    def _publish_augmented(
        self, release_id: str, training: Training, search: PcaSearch, origin: _Origin, embedded: _Embedded
    ) -> dict[str, Any]:
        """Make the same release with an augmented gallery, if the parameters ask for it."""
        params = self.params
        if not params.augment:
            return {}
        augmentation = Augmentation(neighbours=params.augment, alpha=params.augment_alpha)
        gallery, rows = embedded.vectors.copy(), embedded.searched
        gallery[rows] = augment_gallery(gallery[rows], k=augmentation.neighbours, alpha=augmentation.alpha)
        calibration = self._calibration(embedded, gallery)
        training = replace(training, parent=release_id, augmentation=augmentation, calibration=calibration)
        return {"augmented_release_id": self._publish(f"{params.name}_augmented", search, origin, training)}

    def _publish(self, name: str, search: PcaSearch, origin: _Origin, training: Training) -> str:
        manifest, folder = self._source()
        network = restore_backbone(manifest.architecture, folder / WEIGHTS_FILE)
        with tempfile.TemporaryDirectory(prefix="vitrine-tuning-") as temporary:
            report = Path(temporary)
            write_pca_search(
                report,
                search.points,
                chosen=search.chosen,
                best=search.best,
                explained=search.pca.explained,
                queries=search.queries,
            )
            return make_release(
                self.releases,
                name,
                Loaded(network, manifest.architecture, f"release:{self.params.release_id}", manifest.weights.sha256),
                search.fit(),
                rules=manifest.preprocessing,
                trained_on=origin.fitted_on,
                lineage=origin.lineage,
                whiten=search.chosen.whiten,
                random_state=self.params.seed,
                training=replace(training, folder=report),
            )


def _trained_on_validation(recipe: Mapping[str, Any] | None) -> bool:
    """Whether the training of the release, or of one that it was tuned from, used the validation part."""
    while recipe is not None:
        if "validation" in (recipe.get("data") or {}).get("train_on", ()):
            return True
        recipe = recipe.get("trained_by")
    return False


def _is_half(weights: Path) -> bool:
    """Whether the weights are stored in half precision. The new release then stores them in the same way."""
    with safe_open(weights, framework="numpy") as stored:
        return any(stored.get_slice(name).get_dtype() == "F16" for name in stored.keys())  # noqa: SIM118 - no mapping
