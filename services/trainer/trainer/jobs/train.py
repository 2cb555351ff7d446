"""The `train` job: train a network by a recipe and make a release of it."""

from __future__ import annotations

from typing import Any

from trainer.jobs.job import Job
from trainer.training.run import TrainingRun
from vitrine.jobs.params.releases import TrainParams


class TrainJob(Job[TrainParams]):
    """Continues from the last checkpoint if it is started again."""

    Params = TrainParams

    def work(self) -> dict[str, Any]:
        params, progress = self.params, self.progress
        progress.note(f"attempt {self.record.attempt} begins")
        progress.phase("reading the catalogue")
        catalog = self.read_catalog(params)
        unlabelled = None if params.unlabelled is None else self.read_catalog(params.unlabelled)
        folder = self.settings.work_dir / self.record.id
        run = TrainingRun(params.recipe, catalog, self.releases, self.settings, folder, progress, unlabelled)
        result = run.run()
        run.clean()
        return result
