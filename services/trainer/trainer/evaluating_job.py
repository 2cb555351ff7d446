"""The `evaluate` job: releases and a catalogue in, a report out. Features are kept, so that a job that goes on after a
kill begins where they end.
"""

from __future__ import annotations

import time
from typing import Any

from trainer.control import JobControl
from trainer.evaluation.contest import make_contest
from trainer.evaluation.document import document_of, strict_of
from trainer.evaluation.features import FeatureStore
from trainer.evaluation.measuring import Evaluation
from trainer.evaluation.pages import PAGE_FILE, write_report
from trainer.evaluation.strictness import split_of
from trainer.reading import read_allowed_catalog
from trainer.settings import Settings
from vitrine.jobs import JobRecord
from vitrine.jobs.params.evaluation import EvaluateParams
from vitrine.releases import ReleaseStore
from vitrine.vision.network import choose_device


class EvaluateJob:
    """One run of one job."""

    def __init__(self, record: JobRecord, control: JobControl, settings: Settings) -> None:
        self._params = EvaluateParams.of(record)
        self._control = control
        self._settings = settings

    def run(self) -> dict[str, Any]:
        """Do the work and return the job's result. Raises any error of the tree; JobCancelled where asked to stop."""
        params, settings, control = self._params, self._settings, self._control
        started_s = time.monotonic()
        plan = params.plan
        control.phase("reading the catalogue")
        catalog = read_allowed_catalog(params, settings, control)
        photographs = None
        if params.queries is not None:
            photographs = read_allowed_catalog(params.queries, settings, control)
        releases = ReleaseStore(settings.releases_url, cache_dir=settings.releases_cache_dir)
        contest = make_contest(plan, catalog, photographs, lineage=split_of(plan.releases, catalog.dataset, releases))
        choice = choose_device(settings.trainer_device, settings.trainer_precision)
        store = FeatureStore(releases, settings, choice, control)
        lines = Evaluation(plan, contest, store, control).lines()
        control.phase("writing the report")
        document = document_of(plan, contest, lines, releases, title=params.title)
        folder = settings.reports_dir / control.job_id
        write_report(folder, document, lines, contest)
        return {
            "report": str(folder / PAGE_FILE),
            "lines": [
                {
                    "release": line["release"],
                    "gallery": line["gallery"],
                    "way": line["way"],
                    "strict": strict_of(document, line),
                    **{name: told["mean"] for name, told in line["measures"].items()},
                }
                for line in document["lines"]
            ],
            "strictness": {
                one["id"]: {name: one[name] for name in ("strict", "tested", "fitted_on", "chosen_on", "why")}
                for one in document["releases"]
            },
            "queries": document["queries"]["count"],
            "seconds": round(time.monotonic() - started_s, 1),
        }
