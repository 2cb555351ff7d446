"""The releases of an experiment, each made by the job that makes such releases, unless the same was made before. What
cannot be made is told with its reason, and the rest goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from trainer.adapting import AdaptJob
from trainer.control import JobControl
from trainer.project import ProjectJob
from trainer.settings import Settings
from trainer.training_job import TrainJob
from trainer.tuning_job import TuneJob
from vitrine.errors import JobCancelled, RecordChanged, VitrineError
from vitrine.experiments import Experiment, ReleaseStep, WeightsChoice
from vitrine.jobs import JobRecord
from vitrine.jobs.params.catalog import CatalogParams
from vitrine.recipes import parse_recipe
from vitrine.releases import ReleaseStore
from vitrine.splits import RULE_VERSION

_PRETRAINED: Final = "pretrained"


class _Job(Protocol):
    def run(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class Sources:
    """The catalogues of a run by source; and the weights given for networks. Without `download`
    networks whose weights are not given are left out.
    """

    catalogs: Mapping[str, CatalogParams]
    weights: Mapping[str, WeightsChoice]
    download: bool


@dataclass(frozen=True, slots=True)
class Made:
    """The releases by step, and why others could not be made."""

    releases: Mapping[str, str]
    missing: Mapping[str, str]


class Maker:
    """Makes the releases of an experiment. What it has made is remembered below the work folder."""

    def __init__(
        self, experiment: Experiment, sources: Sources, record: JobRecord, control: JobControl, settings: Settings
    ) -> None:
        self._experiment = experiment
        self._sources = sources
        self._record = record
        self._control = control
        self._settings = settings
        self._store = ReleaseStore(settings.releases_url, cache_dir=settings.releases_cache_dir)
        self._folder = settings.work_dir / "experiments"

    def make(self) -> Made:
        """Every release that can be made. Raises JobCancelled and RecordChanged alone."""
        releases: dict[str, str] = {}
        missing: dict[str, str] = {}
        for step in self._experiment.releases:
            reason = self._impossible(step, missing)
            if reason is not None:
                missing[step.name] = reason
                self._control.note(f"{step.name}: not made: {reason}")
                continue
            try:
                releases[step.name] = self._release(step, releases)
            except (JobCancelled, RecordChanged):
                raise
            except VitrineError as error:
                if error.retryable:
                    raise
                missing[step.name] = error.detail
                self._control.note(f"{step.name}: not made: {error.detail}")
        return Made(releases, missing)

    def _impossible(self, step: ReleaseStep, missing: Mapping[str, str]) -> str | None:
        if step.start is not None and step.start in missing:
            return f"{step.start}, which it starts from, could not be made"
        if step.source not in self._sources.catalogs:
            return f"there is no catalogue for {step.source} here"
        if step.model is not None and step.model not in self._sources.weights and not self._sources.download:
            return f"no weights of {step.model} are here, and downloading was not asked for"
        return None

    def _release(self, step: ReleaseStep, releases: Mapping[str, str]) -> str:
        params = self._params(step, releases)
        # What project and adapt make depends on the split's rule too, which they did not follow once.
        made_by = [step.make, params, *([RULE_VERSION] if step.make in ("project", "adapt") else [])]
        key = hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()[:21]
        remembered = self._folder / f"{key}.json"
        if remembered.exists():
            known: str = json.loads(remembered.read_text(encoding="utf-8"))["release_id"]
            if known in self._store.ids():
                self._control.note(f"{step.name}: made before: {known}")
                return known
        record = self._record.model_copy(update={"id": key, "params": params})
        control = self._control.within(step.name)
        job: _Job
        match step.make:
            case "project":
                job = ProjectJob(record, control, self._settings)
            case "train":
                job = TrainJob(record, control, self._settings)
            case "adapt":
                job = AdaptJob(record, control, self._settings)
            case "tune":
                job = TuneJob(record, control, self._settings)
        release_id: str = job.run()["release_id"]
        _remember(remembered, {"release_id": release_id, "make": step.make, "params": params})
        self._control.note(f"{step.name}: made {release_id}")
        return release_id

    def _params(self, step: ReleaseStep, releases: Mapping[str, str]) -> dict[str, Any]:
        """The parameters of the step's job, as the search API would have made them."""
        source = "catalogue" if step.make in ("adapt", "tune") else step.source
        catalog = self._sources.catalogs[source].model_dump(mode="json")
        chosen = self._sources.weights.get(step.model or "", WeightsChoice(weights=_PRETRAINED))
        if step.make == "train":
            return {**catalog, "model": step.name, "recipe": self._recipe(step, releases, chosen), "unlabelled": None}
        if step.make == "project":
            defaults: dict[str, Any] = {"components": 128, "whiten": True, "seed": 0, "sample_max": 50_000}
            own = {
                "model": step.model,
                "weights": chosen.weights,
                "weights_trained_on": chosen.trained_on,
                "options": dict(chosen.options),
            }
            return {**catalog, **own, **defaults, **step.options, "name": step.name}
        common = {**catalog, "model": step.name, "name": step.name, "release_id": releases[step.start or ""], "seed": 0}
        if step.make == "tune":
            defaults = {"objective": {"average_precision": 1.0, "precision@15": 1.0}, "queries": 600}
            return {
                **common,
                **defaults,
                "sizes": None,
                "whiten": None,
                "augment": 0,
                "augment_alpha": 0.0,
                "data": {},
                **step.options,
            }
        defaults = {"share": 1.0, "components": None, "whiten": None, "sample_max": 50_000}
        return {
            **common,
            **defaults,
            "target": self._sources.catalogs[step.source].model_dump(mode="json"),
            **step.options,
        }

    def _recipe(self, step: ReleaseStep, releases: Mapping[str, str], chosen: WeightsChoice) -> dict[str, Any]:
        model = dict(step.recipe.get("model", {}))
        if step.start is not None:
            model["release"] = releases[step.start]
        else:
            options = {**model.get("options", {}), **chosen.options}
            model |= {
                "model": step.model,
                "weights": chosen.weights,
                "weights_trained_on": chosen.trained_on,
                "options": options,
            }
        return parse_recipe({**step.recipe, "name": step.name, "model": model}).as_json()


def _remember(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".tmp")
    aside.write_text(json.dumps(content), encoding="utf-8")
    aside.replace(path)
