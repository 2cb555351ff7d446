"""A run of training from a catalogue to a release: read, decode, train, choose the projection, evaluate, write down,
publish. It knows nothing of jobs or queues; who follows it is told through `Progress`.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from trainer.evaluation.familiarity import learn_familiarity
from trainer.progress import Progress
from trainer.settings import Settings
from trainer.training.assembling import assemble
from trainer.training.board import open_board
from trainer.training.checkpoint import RunFolder
from trainer.training.extracting import raw_features
from trainer.training.following import Watch
from trainer.training.preparing import Preparation, Prepared
from trainer.training.projecting import Choice, choose_projection
from trainer.training.publishing import Trained, publish_trained
from trainer.training.ranks import other_ranks
from trainer.training.standing import Standing
from trainer.training.subject import Subject
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
        follower: Progress,
        unlabelled: Catalog | None = None,
    ) -> None:
        self._recipe = recipe
        self._catalog = catalog
        self._store = store
        self._settings = settings
        self._folder = RunFolder(folder)
        self._follower = follower
        self._unlabelled = unlabelled
        self._choice: DeviceChoice = choose_device(settings.trainer_device, settings.trainer_precision)

    def run(self) -> dict[str, Any]:
        """Train and publish. Returns what a job's result says.

        Raises any error of the tree: ParameterInvalid, TrainingImpossible, TrainingDiverged,
        ProjectionImpossible and those of reading weights and releases; and what the follower raises.
        """
        started_s = time.monotonic()
        recipe = self._recipe
        prepared = Preparation(
            recipe, self._catalog, self._store, self._settings, self._choice, self._follower, self._unlabelled
        ).prepare()
        with other_ranks(recipe, self._catalog, self._unlabelled, self._settings, self._folder.folder):
            standing, subject = self._train(prepared)
        trained_s = time.monotonic()
        self._follower.phase("choosing the projection")
        subject.load_state_dict(self._folder.load_best())
        backbone = subject.float().cpu().eval().backbone
        if recipe.model.half:
            round_weights(backbone)
        rules, pixels = prepared.start.rules, prepared.cache.pixels
        features = raw_features(backbone, rules, pixels, self._choice, self._settings)
        familiarity = learn_familiarity(
            backbone, rules, pixels, features, prepared.examples, self._choice, self._settings, seed=recipe.seed
        )
        choice = self._projection(features, prepared)
        self._follower.phase("evaluating")
        trained = Trained(
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
        self._follower.phase("publishing")
        release_id, metrics = publish_trained(trained, self._store)
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
        self._follower.note(f"published {release_id} after {time.monotonic() - trained_s:.0f} s of finishing")
        return result

    def _train(self, prepared: Prepared) -> tuple[Standing, Subject]:
        recipe, follower = self._recipe, self._follower
        watch = Watch(follower)
        loop = assemble(prepared, recipe, self._settings, self._choice, self._folder, watch)
        if loop.restore():
            where = f"epoch {loop.standing.epoch + 1}, batch {loop.standing.batch + 1}"
            follower.note(f"taken up from its checkpoint at {where}")
        logs = self._settings.work_dir / "tensorboard" / self._folder.folder.name
        with open_board(logs, history=loop.standing.history) as board:
            watch.begin(loop.standing.pictures, loop.pictures, board)
            standing = loop.run()
        watch.end(standing.pictures)
        return standing, loop.subject

    def clean(self) -> None:
        """Remove the checkpoints: the run has come to its end."""
        self._folder.remove()

    def _projection(self, features: Vectors, prepared: Prepared) -> Choice:
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
            step=self._follower.check,
        )
