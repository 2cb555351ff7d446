"""The `experiment` job: make the releases of an experiment, evaluate them and write a report.

A job that is started again skips what exists: releases by their parameters, features by release and pictures. A step
that fails is reported with its reason, and the others go on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trainer.jobs.adapt import AdaptJob
from trainer.jobs.evaluate import run_evaluation
from trainer.jobs.job import Job
from trainer.jobs.project import ProjectJob
from trainer.jobs.train import TrainJob
from trainer.jobs.tune import TuneJob
from trainer.reports import evaluation as evaluation_report
from trainer.reports.evaluation import Document, strict_of, strictness_text
from trainer.reports.experiment import PAGE_FILE, experiment_document, write_experiment
from vitrine.atomic_write import write_json
from vitrine.errors import JobCancelled, RecordChanged, VitrineError
from vitrine.evaluation.plan import parse_plan
from vitrine.experiments import EvaluationStep, ReleaseStep, WeightsChoice
from vitrine.jobs.params.catalog import CatalogParams
from vitrine.jobs.params.evaluation import ExperimentParams
from vitrine.jobs.params.releases import PRETRAINED
from vitrine.recipes import parse_recipe
from vitrine.splits import RULE_VERSION

_JOBS: Final[Mapping[str, type[Job[Any]]]] = {
    "project": ProjectJob,
    "train": TrainJob,
    "adapt": AdaptJob,
    "tune": TuneJob,
}


@dataclass(frozen=True, slots=True)
class _Made:
    """The release of each step, and the reason for each step without one."""

    releases: dict[str, str]
    missing: dict[str, str]


class ExperimentJob(Job[ExperimentParams]):
    Params = ExperimentParams

    def work(self) -> dict[str, Any]:
        experiment = self.params.experiment
        made = self._make_releases()
        folder = self.settings.reports_dir / f"experiment-{experiment.number}"
        evaluations = [self._evaluate(step, made.releases, folder) for step in experiment.evaluations]
        document = experiment_document(
            experiment, evaluations=evaluations, releases=made.releases, missing=made.missing
        )
        write_experiment(folder, document)
        return {
            "report": str(folder / PAGE_FILE),
            "releases": made.releases,
            "missing": made.missing,
            "rows": document["rows"],
        }

    def _make_releases(self) -> _Made:
        """Make every release that can be made."""
        made = _Made({}, {})
        for step in self.params.experiment.releases:
            reason = self._missing_input(step, made.missing)
            if reason is None:
                try:
                    made.releases[step.name] = self._make_release(step, made.releases)
                except (JobCancelled, RecordChanged):
                    raise
                except VitrineError as error:
                    if error.retryable:
                        raise
                    reason = error.detail
            if reason is not None:
                made.missing[step.name] = reason
                self.progress.note(f"{step.name}: not made: {reason}")
        return made

    def _missing_input(self, step: ReleaseStep, missing: Mapping[str, str]) -> str | None:
        if step.start is not None and step.start in missing:
            return f"{step.start}, which it starts from, could not be made"
        if self._catalog_params(step.source) is None:
            return f"there is no catalogue for {step.source} here"
        if step.model is not None and step.model not in self.params.weights and not self.params.download:
            return f"no weights of {step.model} are here, and downloading was not asked for"
        return None

    def _make_release(self, step: ReleaseStep, releases: Mapping[str, str]) -> str:
        params = self._step_params(step, releases)
        # The releases of project and adapt depend on the version of the split rule; those of older versions did not.
        made_by = [step.make, params, *([RULE_VERSION] if step.make in ("project", "adapt") else [])]
        key = hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()[:21]
        remembered = self.settings.work_dir / "experiments" / f"{key}.json"
        if remembered.exists():
            known: str = json.loads(remembered.read_text(encoding="utf-8"))["release_id"]
            if known in self.releases.ids():
                self.progress.note(f"{step.name}: made before: {known}")
                return known
        record = self.record.model_copy(update={"id": key, "params": params})
        job = _JOBS[step.make](record, self.progress.within(step.name), self.settings)
        release_id: str = job.run()["release_id"]
        remembered.parent.mkdir(parents=True, exist_ok=True)
        write_json(remembered, {"release_id": release_id, "make": step.make, "params": params}, indent=None)
        self.progress.note(f"{step.name}: made {release_id}")
        return release_id

    def _step_params(self, step: ReleaseStep, releases: Mapping[str, str]) -> dict[str, Any]:
        """The parameters of the step's job.

        Existing releases are found by them, so a field or a default that changes makes every release again.
        """
        chosen = self.params.weights.get(step.model or "", WeightsChoice(weights=PRETRAINED))
        catalog = self._catalog_json("catalogue" if step.make in ("adapt", "tune") else step.source)
        if step.make == "train":
            return {**catalog, "model": step.name, "recipe": _recipe(step, releases, chosen), "unlabelled": None}
        if step.make == "project":
            return {
                **catalog,
                "model": step.model,
                "weights": chosen.weights,
                "weights_trained_on": chosen.trained_on,
                "options": dict(chosen.options),
                "components": 128,
                "whiten": True,
                "seed": 0,
                "sample_max": 50_000,
                **step.options,
                "name": step.name,
            }
        common = {**catalog, "model": step.name, "name": step.name, "release_id": releases[step.start or ""], "seed": 0}
        if step.make == "tune":
            return {
                **common,
                "objective": {"average_precision": 1.0, "precision@15": 1.0},
                "queries": 600,
                "sizes": None,
                "whiten": None,
                "augment": 0,
                "augment_alpha": 0.0,
                "data": {},
                **step.options,
            }
        return {
            **common,
            "share": 1.0,
            "components": None,
            "whiten": None,
            "sample_max": 50_000,
            "target": self._catalog_json(step.source),
            **step.options,
        }

    def _evaluate(self, step: EvaluationStep, releases: Mapping[str, str], folder: Path) -> Document:
        """The step's part of the experiment's document. `missing` is the reason if it could not be measured."""
        names = [name for name in step.releases if name in releases]
        entry: Document = {"name": step.name, "report": None, "lines": [], "strictness": {}, "missing": None}
        if not names:
            return {**entry, "missing": "none of its releases could be made"}
        queries = self._catalog_params(step.queries)
        if queries is None:
            return {**entry, "missing": f"there is no catalogue for {step.queries} here"}
        slug = _slug(step.name)
        try:
            document = self._measure(step, [releases[name] for name in names], queries, folder / slug)
        except (JobCancelled, RecordChanged):
            raise
        except VitrineError as error:
            if error.retryable:
                raise
            self.progress.note(f"{step.name}: not measured: {error.detail}")
            return {**entry, "missing": error.detail}
        return {
            **entry,
            "report": f"{slug}/{evaluation_report.PAGE_FILE}",
            "lines": [{**line, "strict": strict_of(document, line)} for line in document["lines"]],
            "strictness": {one["id"]: strictness_text(one) for one in document["releases"]},
        }

    def _measure(self, step: EvaluationStep, release_ids: list[str], queries: CatalogParams, folder: Path) -> Document:
        experiment = self.params.experiment
        return run_evaluation(
            parse_plan({**step.plan, "releases": release_ids}),
            self.read_catalog(self.params.catalogue),
            None if step.queries == "catalogue" else self.read_catalog(queries),
            releases=self.releases,
            settings=self.settings,
            device=self.device,
            progress=self.progress.within(step.name),
            folder=folder,
            title=f"{experiment.number}. {experiment.title}: {step.name}",
        )

    def _catalog_params(self, source: str) -> CatalogParams | None:
        return self.params.catalogue if source == "catalogue" else self.params.deepfashion

    def _catalog_json(self, source: str) -> dict[str, Any]:
        params = self._catalog_params(source)
        assert params is not None  # checked by `_missing_input`
        return params.model_dump(mode="json")


def _recipe(step: ReleaseStep, releases: Mapping[str, str], chosen: WeightsChoice) -> dict[str, Any]:
    model = dict(step.recipe.get("model", {}))
    if step.start is not None:
        model["release"] = releases[step.start]
    else:
        model |= {
            "model": step.model,
            "weights": chosen.weights,
            "weights_trained_on": chosen.trained_on,
            "options": {**model.get("options", {}), **chosen.options},
        }
    return parse_recipe({**step.recipe, "name": step.name, "model": model}).as_json()


def _slug(name: str) -> str:
    return "".join(char if char.isalnum() else "-" for char in name.lower()).strip("-")
