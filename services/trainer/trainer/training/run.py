"""A training run from a catalog to a published release. It knows nothing about jobs and queues."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from trainer.data.extraction import raw_features
from trainer.evaluation.ood import build_ood_detector
from trainer.evaluation.projection_choice import ProjectionChoice, choose_projection
from trainer.progress import Progress
from trainer.settings import Settings
from trainer.training.callbacks import TrainingCallbacks, open_tensorboard
from trainer.training.checkpoint import CheckpointFolder
from trainer.training.distributed import TrainingSources, spawned_ranks
from trainer.training.model import TrainingModel
from trainer.training.publish import TrainingResult, publish_release
from trainer.training.setup import SetupBuilder, TrainingSetup, build_loop
from trainer.training.state import TrainState
from vitrine.catalogs import Catalog
from vitrine.catalogs.street_photographs import StreetPhotographs
from vitrine.recipes import Recipe
from vitrine.releases import ReleaseStore
from vitrine.types import Vectors
from vitrine.vision.backbones import round_weights
from vitrine.vision.network import DeviceChoice, choose_device


class TrainingRun:
    """One run. Checkpoints are stored in `folder`: a run with the same folder resumes the previous one."""

    def __init__(
        self,
        recipe: Recipe,
        catalog: Catalog,
        store: ReleaseStore,
        settings: Settings,
        folder: Path,
        progress: Progress,
        unlabelled: Catalog | None = None,
        street: StreetPhotographs | None = None,
    ) -> None:
        self._recipe = recipe
        self._catalog = catalog
        self._store = store
        self._settings = settings
        self._folder = CheckpointFolder(folder)
        self._progress = progress
        self._unlabelled = unlabelled
        self._street = street
        self._choice: DeviceChoice = choose_device(settings.trainer_device, settings.trainer_precision)

    def run(self) -> dict[str, Any]:
        """Train and publish. Returns the result of the job.

        Raises ParameterInvalid, TrainingImpossible, TrainingDiverged, ProjectionImpossible, the errors of reading
        weights and releases, and what `progress` raises.
        """
        started_s = time.monotonic()
        recipe = self._recipe
        setup = SetupBuilder(
            recipe,
            self._catalog,
            self._store,
            self._settings,
            self._choice,
            self._progress,
            self._unlabelled,
            self._street,
        ).prepare()
        sources = TrainingSources(self._catalog, self._unlabelled, self._street)
        with spawned_ranks(recipe, sources, self._settings, self._folder.folder):
            state, model = self._train(setup)
        trained_s = time.monotonic()
        self._progress.phase("choosing the projection")
        model.load_state_dict(self._folder.load_best())
        backbone = model.float().cpu().eval().backbone
        if recipe.model.half:
            round_weights(backbone)
        rules, pixels = setup.initial.rules, setup.cache.pixels
        features = raw_features(backbone, rules, pixels, self._choice, self._settings)
        familiarity = build_ood_detector(
            backbone, rules, pixels, features, setup.dataset, self._choice, self._settings, seed=recipe.seed
        )
        choice = self._projection(features, setup)
        self._progress.phase("evaluating")
        trained = TrainingResult(
            recipe=self._recipe,
            catalog=self._catalog,
            initial=setup.initial,
            backbone=backbone,
            dataset=setup.dataset,
            classes=setup.classes,
            relevance=setup.data.relevance,
            choice=choice,
            features=features,
            familiarity=familiarity,
            history=state.history,
            best_epoch=state.best_epoch or 0,
            classifier=model.classifier(),
            lineage=setup.lineage,
        )
        self._progress.phase("publishing")
        release_id, metrics = publish_release(trained, self._store)
        result = {
            "release_id": release_id,
            "model": self._recipe.name,
            "dim": len(choice.fit.arrays.components),
            "whiten": choice.whiten,
            "best_epoch": state.best_epoch,
            "epochs": len(state.history),
            "trained_on": len(setup.data.train),
            "pictures_per_second": round(float(np.mean([record.pictures_per_second for record in state.history])), 1),
            "training_seconds": round(sum(record.seconds for record in state.history), 1),
            "seconds_since_start": round(time.monotonic() - started_s, 1),
            **metrics,
        }
        self._progress.note(f"published {release_id} after {time.monotonic() - trained_s:.0f} s of evaluation")
        return result

    def _train(self, setup: TrainingSetup) -> tuple[TrainState, TrainingModel]:
        recipe, progress = self._recipe, self._progress
        callbacks = TrainingCallbacks(progress)
        loop = build_loop(setup, recipe, self._settings, self._choice, self._folder, callbacks)
        if loop.restore():
            where = f"epoch {loop.state.epoch + 1}, batch {loop.state.batch + 1}"
            progress.note(f"resumed from the checkpoint at {where}")
        logs = self._settings.work_dir / "tensorboard" / self._folder.folder.name
        with open_tensorboard(logs, history=loop.state.history) as tensorboard:
            callbacks.begin(loop.state.images, loop.images, tensorboard)
            state = loop.run()
        callbacks.end(state.images)
        return state, loop.model

    def clean(self) -> None:
        """Remove the checkpoints of a finished run."""
        self._folder.remove()

    def _projection(self, features: Vectors, setup: TrainingSetup) -> ProjectionChoice:
        data, recipe = setup.data, self._recipe
        return choose_projection(
            features,
            data.relevance,
            train=setup.dataset.rows("train"),
            validation=data.validation,
            recipe=recipe.projection,
            queries=recipe.validation.queries,
            by=recipe.validation.best_by,
            seed=recipe.seed,
            step=self._progress.check,
        )
