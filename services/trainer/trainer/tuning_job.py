"""The `tune` job: a release's network with the projection that serves it best, chosen on validation queries from every
number of components, as a new release.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors import safe_open

from trainer.control import JobControl
from trainer.data.dataset import Dataset
from trainer.data.extraction import decoded_pictures
from trainer.data.splits import split_rule
from trainer.evaluation.calibrating import calibrate, matched_pairs
from trainer.evaluation.contest import Contest, Labels, make_contest
from trainer.evaluation.familiarity import learn_familiarity
from trainer.evaluation.features import FeatureStore
from trainer.evaluation.tuning import OBJECTIVE, Tuning, tune
from trainer.reading import read_allowed_catalog
from trainer.reports.tuning import write_tuning
from trainer.settings import Settings
from vitrine.errors import EvaluationImpossible
from vitrine.evaluation import Rows, Vectors
from vitrine.evaluation.expansion import augment_gallery
from vitrine.evaluation.plan import EvaluationPlan
from vitrine.jobs import JobRecord
from vitrine.jobs.params.releases import TuneParams
from vitrine.releases import (
    CLASSIFIER_FILE,
    WEIGHTS_FILE,
    Augmentation,
    Calibration,
    Familiarity,
    FittedOn,
    Manifest,
    ReleaseStore,
)
from vitrine.releases.ancestry import parent_lineage
from vitrine.releases.lineage import Lineage
from vitrine.vision.backbones import Loaded, restore_backbone
from vitrine.vision.network import DeviceChoice, choose_device
from vitrine.vision.pca import project
from vitrine.vision.release_builder import Training, fitted_on, make_release

_CALIBRATION_QUERIES: Final = 2000
_TRYING: Final = "trying every number of components"


@dataclass(frozen=True, slots=True)
class _Products:
    """The products that a tuning works with, as the projection that it kept sees them."""

    vectors: Vectors
    labels: Labels
    parts: Dataset
    familiarity: Familiarity | None

    @property
    def searched(self) -> Rows:
        """Those that validation queries are asked of."""
        return self.parts.rows("train", "validation")


@dataclass(frozen=True, slots=True)
class _Fitted:
    """What the new projection was fitted on, and the lineage with it."""

    on: FittedOn
    lineage: Lineage


class TuneJob:
    """One run of one job."""

    def __init__(self, record: JobRecord, control: JobControl, settings: Settings) -> None:
        self._params = TuneParams.of(record)
        self._control = control
        self._settings = settings
        self._store = ReleaseStore(settings.releases_url, cache_dir=settings.releases_cache_dir)
        self._data = self._params.data

    def run(self) -> dict[str, Any]:
        """Do the work and return the job's result. Raises any error of the tree; JobCancelled where asked to stop."""
        params, control = self._params, self._control
        started_s = time.monotonic()
        control.phase("reading the catalogue")
        catalog = read_allowed_catalog(params, self._settings, control)
        lineage = parent_lineage(self._store, params.release_id)
        rule = split_rule(catalog.dataset, self._data, seed=params.seed, lineage=lineage)
        plan = EvaluationPlan(releases=(params.release_id,), data=self._data, seed=rule.seed)
        contest = make_contest(plan, catalog, lineage=lineage)
        choice = choose_device(self._settings.trainer_device, self._settings.trainer_precision)
        features, rows = FeatureStore(self._store, self._settings, choice, control).features(
            params.release_id, contest.gallery
        )
        parts, labels = contest.parts.keep(rows), contest.labels.at(rows)
        train, validation = parts.rows("train"), parts.rows("validation")
        if not len(validation):
            raise EvaluationImpossible("the validation part has no pictures, so no size could be chosen")
        control.phase(_TRYING)
        tuning = tune(
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
            step=self._tried,
        )
        control.phase("publishing")
        ids = [parts.products[row].id for row in train]
        trained_on = fitted_on(catalog.dataset, ids, part="train", seed=rule.seed)
        vectors = project(tuning.fit().arrays, np.asarray(features))
        products = _Products(vectors, labels, parts, self._familiarity(contest, features, parts, choice))
        lineage = lineage.with_split(catalog.dataset, contest.rule, contest.parts.part_of).with_products(
            catalog.dataset, fitted=ids, chosen=parts.ids("validation")
        )
        fitted = _Fitted(trained_on, lineage)
        tuned = self._training(tuning, self._calibrated(products, vectors))
        release_id = self._publish(params.name, tuning, fitted, tuned)
        more = self._augmented(release_id, tuned, tuning, fitted, products)
        kept = tuning.chosen
        return {
            "release_id": release_id,
            **more,
            "model": params.name,
            "dim": kept.components,
            "whiten": kept.whiten,
            "explained_variance": round(kept.explained_variance, 6),
            "tried": len(tuning.points),
            "best_dim": tuning.best.components,
            **{f"validation_{name}": round(value, 4) for name, value in kept.means.items()},
            "queries": tuning.queries,
            "seconds": round(time.monotonic() - started_s, 1),
        }

    def _tried(self, done: int, total: int) -> None:
        """Tell every tenth of the way. Sizes are no pictures, so the record's count of those stays as it is."""
        self._control.check()
        if done * 10 // total > (done - 1) * 10 // total:
            self._control.phase(f"{_TRYING}, {done * 100 // total} %")

    def _augmented(
        self,
        release_id: str,
        tuned: Training,
        tuning: Tuning,
        fitted: _Fitted,
        products: _Products,
    ) -> dict[str, Any]:
        """The same release once more, with a gallery that is augmented, where that was asked for."""
        params = self._params
        if not params.augment:
            return {}
        augmentation = Augmentation(neighbours=params.augment, alpha=params.augment_alpha)
        gallery, rows = products.vectors.copy(), products.searched
        gallery[rows] = augment_gallery(gallery[rows], k=augmentation.neighbours, alpha=augmentation.alpha)
        training = replace(
            tuned,
            parent=release_id,
            augmentation=augmentation,
            calibration=self._calibrated(products, gallery),
        )
        name = f"{params.name}_augmented"
        return {"augmented_release_id": self._publish(name, tuning, fitted, training)}

    def _familiarity(
        self, contest: Contest, features: Vectors, parts: Dataset, choice: DeviceChoice
    ) -> Familiarity | None:
        manifest, folder = self._source()
        if _knows_validation(manifest.recipe):
            return None
        rules, pictures = manifest.preprocessing, contest.gallery
        network = restore_backbone(manifest.architecture, folder / WEIGHTS_FILE)
        cache = decoded_pictures(pictures.catalog, pictures.products, rules, self._settings, self._control)
        seed = self._params.seed
        return learn_familiarity(network, rules, cache.pixels, features, parts, choice, self._settings, seed=seed)

    def _calibrated(self, products: _Products, gallery: Vectors) -> Calibration | None:
        """What scores against a gallery say, unless the network was trained on the validation part, which it then knows
        by heart.
        """
        manifest, _ = self._source()
        if _knows_validation(manifest.recipe):
            return None
        pairs = matched_pairs(
            products.vectors,
            products.labels.kind,
            products.parts.rows("validation"),
            products.searched,
            most=_CALIBRATION_QUERIES,
            seed=self._params.seed,
            searched=gallery,
        )
        calibration = calibrate(pairs, attribute=self._data.label)
        return calibration and calibration.model_copy(update={"familiarity": products.familiarity})

    def _training(self, tuning: Tuning, calibration: Calibration | None) -> Training:
        params, parent = self._params, self._params.release_id
        manifest, folder = self._source()
        return Training(
            recipe={
                "kind": "tune",
                "objective": params.objective,
                "queries": tuning.queries,
                "data": self._data.model_dump(mode="json"),
                "trained_by": manifest.recipe,
            },
            labels=manifest.labels or (),
            metrics={
                f"validation_{name}": round(tuning.chosen.means[name], 4) for name in (*params.objective, OBJECTIVE)
            },
            parent=parent,
            classifier=folder / CLASSIFIER_FILE if manifest.classifier_sha256 is not None else None,
            folder=None,
            half=_is_half(folder / WEIGHTS_FILE),
            calibration=calibration,
        )

    def _source(self) -> tuple[Manifest, Path]:
        """The release that is tuned, and where its files lie."""
        source = self._params.release_id
        return self._store.manifest(source), self._store.local_folder(source)

    def _publish(self, name: str, tuning: Tuning, fitted: _Fitted, training: Training) -> str:
        source = self._params.release_id
        manifest, folder = self._source()
        network = restore_backbone(manifest.architecture, folder / WEIGHTS_FILE)
        with tempfile.TemporaryDirectory(prefix="vitrine-tuning-") as made:
            write_tuning(Path(made), tuning)
            return make_release(
                self._store,
                name,
                Loaded(network, manifest.architecture, f"release:{source}", manifest.weights.sha256),
                tuning.fit(),
                rules=manifest.preprocessing,
                trained_on=fitted.on,
                lineage=fitted.lineage,
                whiten=tuning.chosen.whiten,
                random_state=self._params.seed,
                training=replace(training, folder=Path(made)),
            )


def _knows_validation(recipe: Mapping[str, Any] | None) -> bool:
    """Whether the training, or the one that a tuning went on from, had the validation part among its pictures."""
    while recipe is not None:
        if "validation" in (recipe.get("data") or {}).get("train_on", ()):
            return True
        recipe = recipe.get("trained_by")
    return False


def _is_half(weights: Path) -> bool:
    """Whether the release stores its weights in half precision, as the new one then does."""
    with safe_open(weights, framework="numpy") as stored:
        return any(stored.get_slice(name).get_dtype() == "F16" for name in stored.keys())  # noqa: SIM118 - no mapping
