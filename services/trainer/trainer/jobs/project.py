"""The `project` job: extract the features of a catalogue's train part, fit a PCA on them and make a release. No network
is trained.

The work is done in chunks. Between two chunks progress is counted and a cancellation takes effect. A job that is
started again continues after its last complete chunk.
"""

from __future__ import annotations

import copy
import shutil
import time
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from trainer.data.extraction import extraction_batch
from trainer.data.splits import fitting_sample
from trainer.jobs.job import Job
from trainer.memory import admitted_batch
from trainer.progress import JobProgress
from trainer.settings import Settings
from trainer.weights import checked_weights
from vitrine.atomic_write import atomic_path, write_text
from vitrine.catalogs.downloads import Downloads
from vitrine.catalogs.roots import allowed_roots, read_picture, resolve_catalog_root
from vitrine.errors import ProjectionImpossible
from vitrine.jobs import BatchOutcome, JobFault, JobRecord
from vitrine.jobs.params.releases import ProjectParams
from vitrine.products import Product
from vitrine.releases import Architecture, Preprocessing
from vitrine.releases.ancestry import weights_lineage
from vitrine.releases.lineage import Lineage
from vitrine.types import Vectors
from vitrine.vision.backbones import Loaded, load_backbone
from vitrine.vision.extract import extract
from vitrine.vision.models import ModelEntry, ResolvedOptions, model_entry, resolve_options
from vitrine.vision.network import ReleaseNetwork
from vitrine.vision.pca import fit_projection
from vitrine.vision.preprocess import Preprocessor
from vitrine.vision.release_builder import fitted_on, make_release


class ProjectJob(Job[ProjectParams]):
    Params = ProjectParams

    def __init__(self, record: JobRecord, progress: JobProgress, settings: Settings) -> None:
        super().__init__(record, progress, settings)
        # An experiment names its releases after its steps.
        self._name: str | None = record.params.get("name")
        self._chunks = _ChunkStore(settings.work_dir / record.id)

    def work(self) -> dict[str, Any]:
        params, settings, progress = self.params, self.settings, self.progress
        progress.phase("loading the network")
        entry = model_entry(params.model)
        options = resolve_options(entry, params.options)
        weights = checked_weights(params.weights, settings)
        self._admitted_batch(entry, options, features=0)
        backbone = load_backbone(entry, weights=weights, options=options.architecture)
        progress.phase("reading the catalogue")
        sample, lineage = self._sample(backbone)
        batch = self._admitted_batch(entry, options, features=len(sample))
        # A copy is moved to the device and its precision: the release stores the weights as they were.
        working = copy.deepcopy(backbone.network)
        network = ReleaseNetwork(working, options.preprocessing, projection=None, choice=self.device)
        chunks = -(-len(sample) // settings.trainer_chunk)
        progress.plan(total=len(sample), batches=chunks, phase="extracting features")
        preprocessor = Preprocessor(options.preprocessing, limits=settings.image_limits)
        started_s = time.monotonic()
        features, ids = self._extract(sample, network, preprocessor, batch)
        extraction_s = time.monotonic() - started_s
        progress.phase("fitting the projection")
        release_id, variance = self._publish(
            self._name or entry.name, backbone, features, ids, options.preprocessing, lineage
        )
        self._chunks.remove()
        return {
            "release_id": release_id,
            "model": entry.name,
            "dim": params.components,
            "explained_variance": variance,
            "fitted_on": len(ids),
            "pictures_per_second": round(len(ids) / max(extraction_s, 1e-9), 1),
        }

    def _sample(self, backbone: Loaded) -> tuple[list[Product], Lineage]:
        """The products to fit on, and the lineage with their split. Weights of a stored release bring its lineage."""
        params = self.params
        catalog = self.read_catalog(params)
        sample = fitting_sample(
            catalog.products,
            params.data,
            lineage=weights_lineage(
                self.releases,
                backbone.weights_source,
                backbone.weights_source_sha256,
                stated=params.weights_trained_on,
            ),
            seed=params.seed,
            sample_max=params.sample_max,
            components=params.components,
        )
        return sample.products, sample.lineage

    def _admitted_batch(self, entry: ModelEntry, options: ResolvedOptions, *, features: int) -> int:
        return admitted_batch(
            Architecture(timm_name=entry.timm, options=options.architecture, cut=entry.cut, raw_dim=1),
            options.preprocessing,
            self.settings,
            self.device,
            wanted=extraction_batch(self.settings, self.device),
            features=features,
        )

    def _extract(
        self, sample: list[Product], network: ReleaseNetwork, preprocessor: Preprocessor, batch: int
    ) -> tuple[Vectors, list[str]]:
        """The features (N, raw_dim) float32 of the pictures that can be read, and the ids of their products."""
        done: list[_Chunk] = []
        remaining = iter(enumerate(sample))
        number = 0
        while part := list(islice(remaining, self.settings.trainer_chunk)):
            self.progress.check()
            chunk = self._chunks.load(number, raw_dim=network.raw_dim)
            if chunk is None:
                chunk = self._extract_chunk(part, network, preprocessor, batch)
                self._chunks.save(number, chunk)
            self.progress.finish_batch(number, chunk.outcome)
            done.append(chunk)
            number += 1
        features = np.concatenate([chunk.rows for chunk in done])
        return features, [sample[position].id for chunk in done for position in chunk.positions]

    def _extract_chunk(
        self, part: list[tuple[int, Product]], network: ReleaseNetwork, preprocessor: Preprocessor, batch: int
    ) -> _Chunk:
        root = resolve_catalog_root(self.params.root, allowed_roots(self.settings))
        read = partial(read_picture, root, downloads=Downloads(self.settings.downloads_dir))
        pictures = ((str(position), partial(read, product.picture)) for position, product in part)
        batches = list(extract(pictures, network, preprocessor, batch=batch))
        by_position = {position: product.id for position, product in part}
        faults = tuple(
            JobFault(product_id=by_position[int(position)], kind=rejected.code, detail=rejected.detail)
            for one in batches
            for position, rejected in one.rejected
        )
        positions = np.array([int(position) for one in batches for position in one.ids], dtype=np.int64)
        rows = np.concatenate([one.rows for one in batches])
        return _Chunk(positions, rows, BatchOutcome(done=len(positions), faults=faults))

    def _publish(
        self,
        model: str,
        backbone: Loaded,
        features: Vectors,
        ids: list[str],
        rules: Preprocessing,
        lineage: Lineage,
    ) -> tuple[str, float]:
        params = self.params
        if len(ids) < params.components:
            raise ProjectionImpossible(
                f"only {len(ids)} pictures of the train part could be read and {params.components} components need "
                "as many: ask for fewer components, or see the job's faults"
            )
        fit = fit_projection(features, components=params.components, whiten=params.whiten, seed=params.seed)
        self.progress.check()
        release_id = make_release(
            self.releases,
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


@dataclass(frozen=True, slots=True)
class _Chunk:
    """The features of one chunk: `rows` (N, raw_dim) float32 of the products at `positions` (N,) in the sample."""

    positions: npt.NDArray[np.int64]
    rows: npt.NDArray[np.float32]
    outcome: BatchOutcome


class _ChunkStore:
    """The chunks of one job in `folder`, two files for each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, number: int, *, raw_dim: int) -> _Chunk | None:
        """The chunk, or None if it is missing, incomplete or of another network."""
        arrays_path, outcome_path = self._paths(number)
        try:
            outcome = BatchOutcome.model_validate_json(outcome_path.read_bytes())
            arrays = load_file(arrays_path)
        except (OSError, ValueError, SafetensorError):
            return None
        positions, rows = arrays.get("positions"), arrays.get("rows")
        if positions is None or rows is None or rows.shape != (len(positions), raw_dim):
            return None
        return _Chunk(positions, rows, outcome)

    def save(self, number: int, chunk: _Chunk) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        arrays_path, outcome_path = self._paths(number)
        with atomic_path(arrays_path) as temporary:
            save_file({"positions": chunk.positions, "rows": chunk.rows}, temporary)
        write_text(outcome_path, chunk.outcome.model_dump_json())  # last: it makes the chunk count as complete

    def remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _paths(self, number: int) -> tuple[Path, Path]:
        return self._folder / f"{number}.safetensors", self._folder / f"{number}.json"
