"""The `project` job: extract the raw features of a catalogue's train part with a backbone, fit the PCA on them, write a
release. It is cut into chunks: progress is counted, a cancellation seen, and a restart picks up after each.
"""

from __future__ import annotations

import copy
import time
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from trainer.admission import admitted_batch
from trainer.checkpoints import Checkpoints, Chunk
from trainer.control import JobControl
from trainer.data.extraction import extraction_batch
from trainer.reading import read_allowed_catalog
from trainer.sample import fitting_sample
from trainer.settings import Settings
from trainer.weights import checked_weights
from vitrine.catalogs.roots import allowed_roots, read_picture, resolve_catalog_root
from vitrine.errors import ProjectionImpossible
from vitrine.jobs import BatchOutcome, JobFault, JobRecord
from vitrine.jobs.params.releases import ProjectParams
from vitrine.products import Product
from vitrine.releases import Architecture, ReleaseStore
from vitrine.releases.ancestry import weights_lineage
from vitrine.releases.lineage import Lineage
from vitrine.vision.backbones import Loaded, load_backbone
from vitrine.vision.extract import extract
from vitrine.vision.models import ModelEntry, ResolvedOptions, model_entry, resolve_options
from vitrine.vision.network import DeviceChoice, ReleaseNetwork, choose_device
from vitrine.vision.pca import fit_projection
from vitrine.vision.preprocess import Preprocessor
from vitrine.vision.release_builder import fitted_on, make_release


class ProjectJob:
    """One run of one job."""

    def __init__(self, record: JobRecord, control: JobControl, settings: Settings) -> None:
        self._params = ProjectParams.of(record)
        # An experiment names its releases after its steps.
        self._name: str | None = record.params.get("name")
        self._control = control
        self._settings = settings
        self._checkpoints = Checkpoints(settings.work_dir / record.id)
        self._store = ReleaseStore(settings.releases_url, cache_dir=settings.releases_cache_dir)

    def run(self) -> dict[str, Any]:
        """Do the work and return the job's result. Raises any error of the tree; JobCancelled where asked to stop."""
        params = self._params
        started_s = time.monotonic()
        self._control.phase("loading the network")
        entry = model_entry(params.model)
        options = resolve_options(entry, params.options)
        weights = checked_weights(params.weights, self._settings)
        choice = choose_device(self._settings.trainer_device, self._settings.trainer_precision)
        self._admitted(entry, options, choice, features=0)
        backbone = load_backbone(entry, weights=weights, options=options.architecture)
        self._control.phase("reading the catalogue")
        sample, lineage = self._sample(backbone)
        batch = self._admitted(entry, options, choice, features=len(sample))
        # A copy moves to the device and its precision; the release keeps the weights as they were.
        working = copy.deepcopy(backbone.network)
        network = ReleaseNetwork(working, options.preprocessing, projection=None, choice=choice)
        chunks = -(-len(sample) // self._settings.trainer_chunk)
        self._control.plan(total=len(sample), batches=chunks, phase="extracting features")
        preprocessor = Preprocessor(options.preprocessing, limits=self._settings.image_limits)
        extracting_s = time.monotonic()
        features, ids = self._extract(sample, network, preprocessor, batch)
        extracted_s = time.monotonic() - extracting_s
        self._control.phase("fitting the projection")
        release_id, variance = self._release(
            self._name or entry.name, backbone, features, ids, options.preprocessing, lineage
        )
        self._checkpoints.remove()
        return {
            "release_id": release_id,
            "model": entry.name,
            "dim": params.components,
            "explained_variance": variance,
            "fitted_on": len(ids),
            "pictures_per_second": round(len(ids) / max(extracted_s, 1e-9), 1),
            "seconds": round(time.monotonic() - started_s, 1),
        }

    def _sample(self, backbone: Loaded) -> tuple[list[Product], Lineage]:
        """The products to fit on, and the lineage with the split. Weights that were trained here bring theirs along."""
        params = self._params
        catalog = read_allowed_catalog(params, self._settings, self._control)
        sample = fitting_sample(
            catalog.products,
            params.data,
            lineage=weights_lineage(
                self._store,
                backbone.weights_source,
                backbone.weights_source_sha256,
                stated=params.weights_trained_on,
            ),
            seed=params.seed,
            sample_max=params.sample_max,
            components=params.components,
        )
        return sample.products, sample.lineage

    def _admitted(self, entry: ModelEntry, options: ResolvedOptions, choice: DeviceChoice, *, features: int) -> int:
        """Pictures in one pass. Raises JobTooLarge."""
        return admitted_batch(
            Architecture(timm_name=entry.timm, options=options.architecture, cut=entry.cut, raw_dim=1),
            options.preprocessing,
            self._settings,
            choice,
            wanted=extraction_batch(self._settings, choice),
            features=features,
        )

    def _extract(
        self, sample: list[Product], network: ReleaseNetwork, preprocessor: Preprocessor, batch: int
    ) -> tuple[np.ndarray[Any, np.dtype[np.float32]], list[str]]:
        """The features of every picture that could be read, (N, raw_dim) float32, and the products' ids."""
        done: list[Chunk] = []
        remaining = iter(enumerate(sample))
        number = 0
        while part := list(islice(remaining, self._settings.trainer_chunk)):
            self._control.check()
            chunk = self._checkpoints.load(number, raw_dim=network.raw_dim)
            if chunk is None:
                chunk = self._extract_chunk(part, network, preprocessor, batch)
                self._checkpoints.save(number, chunk)
            self._control.finish_batch(number, chunk.outcome)
            done.append(chunk)
            number += 1
        features = np.concatenate([chunk.rows for chunk in done])
        return features, [sample[position].id for chunk in done for position in chunk.positions]

    def _extract_chunk(
        self, part: list[tuple[int, Product]], network: ReleaseNetwork, preprocessor: Preprocessor, batch: int
    ) -> Chunk:
        root = resolve_catalog_root(self._params.root, allowed_roots(self._settings))
        pictures = ((str(position), partial(read_picture, root, product.picture)) for position, product in part)
        batches = list(extract(pictures, network, preprocessor, batch=batch))
        by_position = {position: product.id for position, product in part}
        faults = tuple(
            JobFault(product_id=by_position[int(position)], kind=rejected.code, detail=rejected.detail)
            for one in batches
            for position, rejected in one.rejected
        )
        positions = np.array([int(position) for one in batches for position in one.ids], dtype=np.int64)
        rows = np.concatenate([one.rows for one in batches])
        return Chunk(positions, rows, BatchOutcome(done=len(positions), faults=faults))

    def _release(
        self,
        model: str,
        backbone: Loaded,
        features: np.ndarray[Any, np.dtype[np.float32]],
        ids: list[str],
        rules: Any,
        lineage: Lineage,
    ) -> tuple[str, float]:
        params = self._params
        if len(ids) < params.components:
            raise ProjectionImpossible(
                f"only {len(ids)} pictures of the train part could be read and {params.components} components need "
                "as many: ask for fewer components, or see the job's faults"
            )
        fit = fit_projection(features, components=params.components, whiten=params.whiten, seed=params.seed)
        self._control.check()
        release_id = make_release(
            self._store,
            model,
            backbone,
            fit,
            rules=rules,
            trained_on=fitted_on(params.dataset, ids, part="train", seed=lineage.rules[params.dataset].seed),
            whiten=params.whiten,
            random_state=params.seed,
            lineage=lineage.with_products(params.dataset, fitted=ids),
        )
        return release_id, fit.explained_variance
