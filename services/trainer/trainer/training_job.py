"""The `train` job: a recipe and a catalogue in, a release out. Its record says how far it is; its checkpoints let
another worker go on where this one was killed.
"""

from __future__ import annotations

from typing import Any

from trainer.control import JobControl
from trainer.reading import read_allowed_catalog
from trainer.settings import Settings
from trainer.training.run import TrainingRun
from vitrine.jobs import JobRecord
from vitrine.jobs.params.releases import TrainParams
from vitrine.releases import ReleaseStore


class TrainJob:
    """One run of one job."""

    def __init__(self, record: JobRecord, control: JobControl, settings: Settings) -> None:
        self._params = TrainParams.of(record)
        self._attempt = record.attempt
        self._id = record.id
        self._settings = settings
        self._control = control

    def run(self) -> dict[str, Any]:
        """Do the work and return the job's result. Raises any error of the tree; JobCancelled where asked to stop."""
        settings, control = self._settings, self._control
        recipe = self._params.recipe
        control.note(f"attempt {self._attempt} begins")
        control.phase("reading the catalogue")
        catalog = read_allowed_catalog(self._params, settings, control)
        unlabelled = None
        if self._params.unlabelled is not None:
            unlabelled = read_allowed_catalog(self._params.unlabelled, settings, control)
        store = ReleaseStore(settings.releases_url, cache_dir=settings.releases_cache_dir)
        folder = settings.work_dir / self._id
        run = TrainingRun(recipe, catalog, store, settings, folder, control, unlabelled)
        result = run.run()
        run.clean()
        return result
