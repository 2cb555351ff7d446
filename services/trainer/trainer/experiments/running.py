"""The evaluations of an experiment, and the one document that its report is written from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trainer.control import JobControl
from trainer.evaluation.contest import make_contest
from trainer.evaluation.document import document_of, strict_of, strictness_told
from trainer.evaluation.features import FeatureStore
from trainer.evaluation.measuring import Evaluation
from trainer.evaluation.pages import PAGE_FILE, write_report
from trainer.evaluation.strictness import split_of
from trainer.experiments.making import Made, Sources
from trainer.reading import read_allowed_catalog
from trainer.settings import Settings
from vitrine.errors import JobCancelled, RecordChanged, VitrineError
from vitrine.evaluation.plan import parse_plan
from vitrine.experiments import EvaluationStep, Experiment
from vitrine.releases import ReleaseStore
from vitrine.vision.network import choose_device

FORMAT_VERSION: Final = 2
_MEAN, _HITS = "average_precision", "precision@15"

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs the evaluations of an experiment into `folder`, a page for each."""

    experiment: Experiment
    sources: Sources
    made: Made
    control: JobControl
    settings: Settings
    folder: Path

    def run(self) -> Document:
        """The experiment's document. Raises JobCancelled and RecordChanged, and errors that pass by themselves."""
        evaluations = [self._evaluation(step) for step in self.experiment.evaluations]
        return {
            "version": FORMAT_VERSION,
            "number": self.experiment.number,
            "title": self.experiment.title,
            "question": self.experiment.question,
            "releases": dict(self.made.releases),
            "missing": dict(self.made.missing),
            "evaluations": evaluations,
            "rows": _rows(self.experiment, self.made, evaluations),
        }

    def _evaluation(self, step: EvaluationStep) -> Document:
        names = [name for name in step.releases if name in self.made.releases]
        evaluated: Document = {"name": step.name, "report": None, "lines": [], "strictness": {}, "missing": None}
        if not names:
            return {**evaluated, "missing": "none of its releases could be made"}
        if step.queries not in self.sources.catalogs:
            return {**evaluated, "missing": f"there is no catalogue for {step.queries} here"}
        try:
            document = self._measured(step, names)
        except (JobCancelled, RecordChanged):
            raise
        except VitrineError as error:
            if error.retryable:
                raise
            self.control.note(f"{step.name}: not measured: {error.detail}")
            return {**evaluated, "missing": error.detail}
        lines = [{**line, "strict": strict_of(document, line)} for line in document["lines"]]
        strictness = {one["id"]: strictness_told(one) for one in document["releases"]}
        return {**evaluated, "report": f"{_slug(step.name)}/{PAGE_FILE}", "lines": lines, "strictness": strictness}

    def _measured(self, step: EvaluationStep, names: list[str]) -> Document:
        control = self.control.within(step.name)
        plan = parse_plan({**step.plan, "releases": [self.made.releases[name] for name in names]})
        catalog = read_allowed_catalog(self.sources.catalogs["catalogue"], self.settings, control)
        photographs = None
        if step.queries != "catalogue":
            photographs = read_allowed_catalog(self.sources.catalogs[step.queries], self.settings, control)
        releases = ReleaseStore(self.settings.releases_url, cache_dir=self.settings.releases_cache_dir)
        contest = make_contest(plan, catalog, photographs, lineage=split_of(plan.releases, catalog.dataset, releases))
        choice = choose_device(self.settings.trainer_device, self.settings.trainer_precision)
        store = FeatureStore(releases, self.settings, choice, control)
        lines = Evaluation(plan, contest, store, control).lines()
        title = f"{self.experiment.number}. {self.experiment.title}: {step.name}"
        document = document_of(plan, contest, lines, releases, title=title)
        write_report(self.folder / _slug(step.name), document, lines, contest)
        return document


def _rows(experiment: Experiment, made: Made, evaluations: list[Document]) -> list[Document]:
    """Each line beside what was published for it, and each published figure of which there is no line."""
    published = {(one.evaluation, one.release, one.way): one for one in experiment.published}
    name_of = {release_id: name for name, release_id in made.releases.items()}
    rows = []
    for evaluation in evaluations:
        for line in evaluation["lines"]:
            name = name_of.get(line["release"], line["release"])
            known = published.pop((evaluation["name"], name, line["way"]), None)
            ours = {measure: line["measures"].get(measure) for measure in (_MEAN, _HITS)}
            row = _row(evaluation["name"], name, line["way"], line["gallery"], ours, known, line["release"], None)
            rows.append({**row, "strict": line["strict"]})
    for (evaluation_name, name, way), one in published.items():
        why = made.missing.get(name) or "not measured here"
        rows.append(_row(evaluation_name, name, way, "all", {_MEAN: None, _HITS: None}, one, None, why))
    return rows


def _row(
    evaluation: str,
    name: str,
    way: str,
    gallery: str,
    ours: Mapping[str, Any],
    published: Any,
    release_id: str | None,
    missing: str | None,
) -> Document:
    return {
        "evaluation": evaluation,
        "release": name,
        "release_id": release_id,
        "way": way,
        "gallery": gallery,
        "strict": None,
        "ours": dict(ours),
        "published": None
        if published is None
        else {
            "components": published.components,
            _MEAN: published.mean_average_precision,
            _HITS: published.precision_at_15,
        },
        "missing": missing,
    }


def _slug(name: str) -> str:
    return "".join(char if char.isalnum() else "-" for char in name.lower()).strip("-")
