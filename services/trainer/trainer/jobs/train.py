"""The `train` job: train a network by a recipe and make a release of it."""

from __future__ import annotations

from typing import Any

from trainer.jobs.job import Job
from trainer.parser.run import ParserRun
from trainer.training.run import TrainingRun
from vitrine.catalogs.roots import allowed_roots, resolve_catalog_root
from vitrine.catalogs.street_photographs import read_street_photographs
from vitrine.jobs.params.releases import TrainParams
from vitrine.parse_recipes import ParseRecipe


class TrainJob(Job[TrainParams]):
    """Continues from the last checkpoint if it is started again."""

    Params = TrainParams

    def work(self) -> dict[str, Any]:
        params, progress = self.params, self.progress
        progress.note(f"attempt {self.record.attempt} begins")
        folder = self.settings.work_dir / self.record.id
        if isinstance(params.recipe, ParseRecipe):
            allowed = allowed_roots(self.settings)
            root = resolve_catalog_root(params.root, allowed)
            outlined = None if params.outlined is None else resolve_catalog_root(params.outlined, allowed)
            return _finished(ParserRun(params.recipe, root, self.releases, self.settings, folder, progress, outlined))
        progress.phase("reading the catalogue")
        catalog = self.read_catalog(params)
        unlabelled = None if params.unlabelled is None else self.read_catalog(params.unlabelled)
        street = None
        if params.street is not None:
            street = read_street_photographs(resolve_catalog_root(params.street, allowed_roots(self.settings)))
        return _finished(
            TrainingRun(params.recipe, catalog, self.releases, self.settings, folder, progress, unlabelled, street)
        )


def _finished(run: TrainingRun | ParserRun) -> dict[str, Any]:
    result = run.run()
    run.clean()
    return result
