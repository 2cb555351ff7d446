"""A release's features of a catalogue's pictures, computed once and kept below the work folder, so that a second
evaluation, or one that goes on after a kill, begins with them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from trainer.admission import admitted_batch
from trainer.data.extraction import decoded_pictures, embed_pixels, extraction_batch
from trainer.progress import Progress
from trainer.settings import Settings
from trainer.whole_files import whole_file
from vitrine.catalogs import Catalog
from vitrine.evaluation import Rows, Vectors
from vitrine.images.views import AS_IT_IS, View
from vitrine.products import Product
from vitrine.releases import Manifest, ReleaseStore
from vitrine.vision.network import DeviceChoice, load_release

_CHUNK: Final = 2048


@dataclass(frozen=True, slots=True)
class Pictures:
    """Products whose pictures are looked at."""

    catalog: Catalog
    products: tuple[Product, ...]


class FeatureStore:
    """Features by release and pictures. Every call may raise what the follower raises to stop."""

    def __init__(self, releases: ReleaseStore, settings: Settings, choice: DeviceChoice, follower: Progress) -> None:
        self.releases = releases
        self._settings = settings
        self._choice = choice
        self._follower = follower
        self._folder = settings.work_dir / "features"

    def features(self, release_id: str, pictures: Pictures, *, view: View = AS_IT_IS) -> tuple[Vectors, Rows]:
        """(N, raw_dim) float32 raw features of the pictures that can be read, in one view, and their places (N,)
        among the products. The others are told as faults.

        Raises ReleaseNotFound, ReleaseCorrupt, and TrainingImpossible where not one picture can be read.
        """
        manifest = self.releases.manifest(release_id)
        cache = decoded_pictures(
            pictures.catalog, pictures.products, manifest.preprocessing, self._settings, self._follower, view=view
        )
        file = self._folder / f"{_key(manifest, cache.key)}.npy"
        if not file.exists():
            batch = admitted_batch(
                manifest.architecture,
                manifest.preprocessing,
                self._settings,
                self._choice,
                wanted=extraction_batch(self._settings, self._choice),
                features=len(cache.pixels),
            )
            network = load_release(self.releases.local_folder(release_id), manifest, self._choice)
            parts = []
            for start in range(0, len(cache.pixels), _CHUNK):
                self._follower.progress(start, len(cache.pixels), eta_s=None, phase=f"embedding with {release_id}")
                pixels = cache.pixels[start : start + _CHUNK]
                every = np.arange(len(pixels), dtype=np.int64)
                parts.append(embed_pixels(network, pixels, every, raw=True, batch=batch))
            self._keep(file, np.concatenate(parts))
        stored: Vectors = np.load(file, mmap_mode="c")
        return stored, cache.rows

    def _keep(self, file: Path, features: Vectors) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as written:
            np.save(written, features)


def _key(manifest: Manifest, pixels: str) -> str:
    """What features depend on: the network, and the pictures as it sees them."""
    told = (manifest.weights.sha256, manifest.architecture.model_dump_json(), pixels)
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:24]
