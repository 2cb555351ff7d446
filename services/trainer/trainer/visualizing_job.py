"""The `visualize` job: a map of a catalogue as a release sees it, as PNG and as a page that shows the pictures."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from trainer.control import JobControl
from trainer.evaluation.contest import make_contest
from trainer.evaluation.features import FeatureStore, Pictures
from trainer.evaluation.map_page import PAGE_FILE, write_maps
from trainer.reading import read_allowed_catalog
from trainer.seeds import VISUALIZED_PRODUCTS, generator
from trainer.settings import Settings
from vitrine.evaluation.expansion import augment_gallery
from vitrine.evaluation.plan import EvaluationPlan
from vitrine.jobs import JobRecord
from vitrine.jobs.params.evaluation import VisualizeParams
from vitrine.releases import PROJECTION_FILE, ReleaseStore
from vitrine.vision.network import choose_device
from vitrine.vision.pca import ProjectionArrays, project


class VisualizeJob:
    """One run of one job."""

    def __init__(self, record: JobRecord, control: JobControl, settings: Settings) -> None:
        self._params = VisualizeParams.of(record)
        self._control = control
        self._settings = settings

    def run(self) -> dict[str, Any]:
        """Do the work and return the job's result. Raises any error of the tree; JobCancelled where asked to stop."""
        params, settings, control = self._params, self._settings, self._control
        started_s = time.monotonic()
        plan = EvaluationPlan(releases=(params.release_id,), data=params.data, seed=params.seed)
        control.phase("reading the catalogue")
        contest = make_contest(plan, read_allowed_catalog(params, settings, control))
        releases = ReleaseStore(settings.releases_url, cache_dir=settings.releases_cache_dir)
        choice = choose_device(settings.trainer_device, settings.trainer_precision)
        every = contest.gallery.products
        chosen = np.sort(generator(VISUALIZED_PRODUCTS, params.seed).permutation(len(every))[: params.count])
        pictures = Pictures(contest.gallery.catalog, tuple(every[row] for row in chosen))
        features, rows = FeatureStore(releases, settings, choice, control).features(params.release_id, pictures)
        projection = ProjectionArrays.load(releases.local_folder(params.release_id) / PROJECTION_FILE)
        vectors = project(projection, np.asarray(features))
        if params.expand:
            vectors = augment_gallery(vectors, k=min(params.expand, len(vectors) - 1))
        expanded = f", each with its {params.expand} nearest" if params.expand else ""
        folder = settings.reports_dir / control.job_id
        write_maps(
            folder,
            pictures,
            rows.tolist(),
            vectors,
            methods=params.methods,
            colour=params.colour,
            seed=params.seed,
            title=f"{params.release_id}: {len(rows):,} products by {params.colour}{expanded}",
            step=control.phase,
        )
        return {
            "report": str(folder / PAGE_FILE),
            "pictures": len(rows),
            "methods": params.methods,
            "seconds": round(time.monotonic() - started_s, 1),
        }
