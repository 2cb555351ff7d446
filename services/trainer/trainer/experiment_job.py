"""The `experiment` job: releases made, evaluated and reported, as an experiment's file says. Run again, it skips what
exists: releases by their parameters, features by release and pictures.
"""

from __future__ import annotations

import time
from typing import Any

from trainer.control import JobControl
from trainer.experiments.making import Maker, Sources
from trainer.experiments.report import PAGE_FILE, write_experiment
from trainer.experiments.running import Runner
from trainer.settings import Settings
from vitrine.jobs import JobRecord
from vitrine.jobs.params.evaluation import ExperimentParams


class ExperimentJob:
    """One run of one job."""

    def __init__(self, record: JobRecord, control: JobControl, settings: Settings) -> None:
        self._record = record
        self._params = ExperimentParams.of(record)
        self._control = control
        self._settings = settings

    def run(self) -> dict[str, Any]:
        """Do the work and return the job's result. Raises any error of the tree; JobCancelled where asked to stop."""
        params, settings, control = self._params, self._settings, self._control
        started_s = time.monotonic()
        experiment = params.experiment
        catalogs = {"catalogue": params.catalogue, "deepfashion": params.deepfashion}
        sources = Sources(
            catalogs={name: catalog for name, catalog in catalogs.items() if catalog is not None},
            weights=params.weights,
            download=params.download,
        )
        made = Maker(experiment, sources, self._record, control, settings).make()
        folder = settings.reports_dir / f"experiment-{experiment.number}"
        document = Runner(experiment, sources, made, control, settings, folder).run()
        write_experiment(folder, document)
        return {
            "report": str(folder / PAGE_FILE),
            "releases": dict(made.releases),
            "missing": dict(made.missing),
            "rows": document["rows"],
            "seconds": round(time.monotonic() - started_s, 1),
        }
