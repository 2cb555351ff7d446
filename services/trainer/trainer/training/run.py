"""A run of training from a catalogue to a release: read, decode, train, choose the projection, evaluate, write down,
publish. It knows nothing of jobs or queues; who follows it is told through `Progress`.
"""

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
from trainer.training.distributed import spawned_ranks
from trainer.training.model import TrainingModel
from trainer.training.publish import TrainingResult, publish_release
from trainer.training.setup import SetupBuilder, TrainingSetup, build_loop
from trainer.training.state import TrainState
from vitrine.catalogs import Catalog
from vitrine.recipes import Recipe
from vitrine.releases import ReleaseStore
from vitrine.vision.backbones import round_weights
from vitrine.vision.network import DeviceChoice, Vectors, choose_device


class TrainingRun:
    """One run. `folder` keeps its checkpoints: a run of the same folder goes on where the last one was."""

    def __init__(
        self,
        recipe: Recipe,
        catalog: Catalog,
        store: ReleaseStore,
        settings: Settings,
        folder: Path,
        progress: Progress,
        unlabelled: Catalog | None = None,
    ) -> None:
        self._recipe = recipe
        self._catalog = catalog
        self._store = store
        self._settings = settings
        self._folder = CheckpointFolder(folder)
        self._progress = progress
        self._unlabelled = unlabelled
        self._choice: DeviceChoice = choose_device(settings.trainer_device, settings.trainer_precision)

    def run(self) -> dict[str, Any]:
        """Train and publish. Returns what a job's result says.

        Raises any error of the tree: ParameterInvalid, TrainingImpossible, TrainingDiverged,
        ProjectionImpossible and those of reading weights and releases; and what the progress raises.
        """
        started_s = time.monotonic()
        recipe = self._recipe
        prepared = SetupBuilder(
            recipe, self._catalog, self._store, self._settings, self._choice, self._progress, self._unlabelled
        ).prepare()
        with spawned_ranks(recipe, self._catalog, self._unlabelled, self._settings, self._folder.folder):
            standing, subject = self._train(prepared)
        trained_s = time.monotonic()
        self._progress.phase("choosing the projection")
        subject.load_state_dict(self._folder.load_best())
        backbone = subject.float().cpu().eval().backbone
        if recipe.model.half:
            round_weights(backbone)
        rules, pixels = prepared.start.rules, prepared.cache.pixels
        features = raw_features(backbone, rules, pixels, self._choice, self._settings)
        familiarity = build_ood_detector(
            backbone, rules, pixels, features, prepared.examples, self._choice, self._settings, seed=recipe.seed
        )
        choice = self._projection(features, prepared)
        self._progress.phase("evaluating")
        trained = TrainingResult(
            recipe=self._recipe,
            catalog=self._catalog,
            start=prepared.start,
            backbone=backbone,
            examples=prepared.examples,
            classes=prepared.classes,
            relevance=prepared.material.relevance,
            choice=choice,
            features=features,
            familiarity=familiarity,
            history=standing.history,
            best_epoch=standing.best_epoch or 0,
            classifier=subject.classifier(),
            lineage=prepared.lineage,
        )
        self._progress.phase("publishing")
        release_id, metrics = publish_release(trained, self._store)
        result = {
            "release_id": release_id,
            "model": self._recipe.name,
            "dim": len(choice.fit.arrays.components),
            "whiten": choice.whiten,
            "best_epoch": standing.best_epoch,
            "epochs": len(standing.history),
            "trained_on": len(prepared.material.train),
            "pictures_per_second": round(
                float(np.mean([record.pictures_per_second for record in standing.history])), 1
            ),
            "training_seconds": round(sum(record.seconds for record in standing.history), 1),
            "seconds_since_start": round(time.monotonic() - started_s, 1),
            **metrics,
        }
        self._progress.note(f"published {release_id} after {time.monotonic() - trained_s:.0f} s of finishing")
        return result

    def _train(self, prepared: TrainingSetup) -> tuple[TrainState, TrainingModel]:
        recipe, progress = self._recipe, self._progress
        watch = TrainingCallbacks(progress)
        loop = build_loop(prepared, recipe, self._settings, self._choice, self._folder, watch)
        if loop.restore():
            where = f"epoch {loop.standing.epoch + 1}, batch {loop.standing.batch + 1}"
            progress.note(f"taken up from its checkpoint at {where}")
        logs = self._settings.work_dir / "tensorboard" / self._folder.folder.name
        with open_tensorboard(logs, history=loop.standing.history) as board:
            watch.begin(loop.standing.pictures, loop.pictures, board)
            standing = loop.run()
        watch.end(standing.pictures)
        return standing, loop.subject

    def clean(self) -> None:
        """Remove the checkpoints: the run has come to its end."""
        self._folder.remove()

    def _projection(self, features: Vectors, prepared: TrainingSetup) -> ProjectionChoice:
        material, recipe = prepared.material, self._recipe
        return choose_projection(
            features,
            material.relevance,
            train=prepared.examples.rows("train"),
            validation=material.validation,
            recipe=recipe.projection,
            queries=recipe.validation.queries,
            by=recipe.validation.best_by,
            seed=recipe.seed,
            step=self._progress.check,
        )
