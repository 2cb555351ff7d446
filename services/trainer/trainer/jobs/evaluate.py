"""The `evaluate` job: measure releases on a catalogue and write a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainer.evaluation.document import evaluation_document, write_evaluation
from trainer.evaluation.features import FeatureCache
from trainer.evaluation.protocol import build_evaluation_set
from trainer.evaluation.runner import EvaluationRunner, with_parser
from trainer.evaluation.strictness import split_lineage
from trainer.jobs.job import Job
from trainer.progress import Progress
from trainer.reports.evaluation import PAGE_FILE, Document, strict_of
from trainer.settings import Settings
from vitrine.catalogs import Catalog
from vitrine.evaluation.plan import EvaluationPlan
from vitrine.jobs.params.evaluation import EvaluateParams
from vitrine.releases import PARSER_MODEL, ReleaseStore
from vitrine.vision.cut_out import GarmentCutter
from vitrine.vision.network import DeviceChoice

_STRICTNESS_FIELDS = ("strict", "tested", "fitted_on", "chosen_on", "why")


class EvaluateJob(Job[EvaluateParams]):
    """Features are cached, so a job that is started again does not compute them again."""

    Params = EvaluateParams

    def work(self) -> dict[str, Any]:
        params, progress = self.params, self.progress
        progress.phase("reading the catalogue")
        catalog = self.read_catalog(params)
        photographs = None if params.queries is None else self.read_catalog(params.queries)
        folder = self.settings.reports_dir / progress.job_id
        document = run_evaluation(
            params.plan,
            catalog,
            photographs,
            releases=self.releases,
            settings=self.settings,
            device=self.device,
            progress=progress,
            folder=folder,
            title=params.title,
        )
        return {
            "report": str(folder / PAGE_FILE),
            "lines": [
                {
                    "release": line["release"],
                    "gallery": line["gallery"],
                    "way": line["way"],
                    "strict": strict_of(document, line),
                    **{name: values["mean"] for name, values in line["measures"].items()},
                }
                for line in document["lines"]
            ],
            "strictness": {one["id"]: {name: one[name] for name in _STRICTNESS_FIELDS} for one in document["releases"]},
            "queries": document["queries"]["count"],
        }


def run_evaluation(
    plan: EvaluationPlan,
    catalog: Catalog,
    photographs: Catalog | None,
    *,
    releases: ReleaseStore,
    settings: Settings,
    device: DeviceChoice,
    progress: Progress,
    folder: Path,
    title: str,
) -> Document:
    """Run a plan, write its report into `folder` and return the document.

    Raises as `with_parser`, `build_evaluation_set` and `EvaluationRunner.run` do.
    """
    plan = with_parser(plan, releases)
    lineage = split_lineage(plan.releases, catalog.dataset, releases)
    evaluation_set = build_evaluation_set(plan, catalog, photographs, lineage=lineage)
    features = FeatureCache(releases, settings, device, progress, parser_id=plan.parser)
    rows = EvaluationRunner(plan, evaluation_set, features, progress).run()
    progress.phase("writing the report")
    document = evaluation_document(plan, evaluation_set, rows, releases, title=title)
    # People's own photographs are shown without their faces.
    blurring = None if photographs is None else plan.parser or releases.newest(PARSER_MODEL)
    shown = None if blurring is None else GarmentCutter.load(releases, blurring, device, fused=False).without_faces
    write_evaluation(folder, document, rows[0], evaluation_set, edit_query=shown)
    return document
