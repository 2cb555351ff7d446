"""Raw features of a release, computed once for each set of pictures and cached in the work folder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np

from trainer.data.extraction import decoded_pictures, embed_pixels, extraction_batch
from trainer.memory import admitted_batch
from trainer.progress import Progress
from trainer.settings import Settings
from vitrine.atomic_write import atomic_open
from vitrine.catalogs import Catalog
from vitrine.images.views import AS_IT_IS, View
from vitrine.products import Product
from vitrine.releases import Manifest, ReleaseStore
from vitrine.types import Rows, Vectors
from vitrine.vision.cut_out import GarmentCutter
from vitrine.vision.network import DeviceChoice, load_release

_CHUNK: Final = 2048


@dataclass(frozen=True, slots=True)
class Pictures:
    """Products of a catalogue whose pictures are embedded."""

    catalog: Catalog
    products: tuple[Product, ...]


class FeatureCache:
    """Features by release and pictures. Every call may raise what `progress` raises to stop.

    Views of garments are cut out by the release `parser_id`, which is loaded when it is needed.
    """

    def __init__(
        self,
        releases: ReleaseStore,
        settings: Settings,
        device: DeviceChoice,
        progress: Progress,
        *,
        parser_id: str | None = None,
    ) -> None:
        self.releases = releases
        self._settings = settings
        self._device = device
        self._progress = progress
        self._folder = settings.work_dir / "features"
        self._parser_id = parser_id
        self._cut_out: GarmentCutter | None = None

    def features(self, release_id: str, pictures: Pictures, *, view: View = AS_IT_IS) -> tuple[Vectors, Rows]:
        """Raw features (N, raw_dim) float32 of the pictures that can be read, and their rows (N,) in `pictures`. The
        others are reported to `progress`.

        Raises ReleaseNotFound, ReleaseCorrupt, and TrainingImpossible if no picture can be read.
        """
        if view.cutout and self._cut_out is None and self._parser_id is not None:
            self._cut_out = GarmentCutter.load(self.releases, self._parser_id, self._device)
        manifest = self.releases.manifest(release_id)
        cache = decoded_pictures(
            pictures.catalog,
            pictures.products,
            manifest.preprocessing,
            self._settings,
            self._progress,
            view=view,
            cut_out=self._cut_out if view.cutout else None,
        )
        file = self._folder / f"{_key(manifest, cache.key)}.npy"
        if not file.exists():
            batch = admitted_batch(
                manifest.architecture,
                manifest.preprocessing,
                self._settings,
                self._device,
                wanted=extraction_batch(self._settings, self._device),
                features=len(cache.pixels),
            )
            network = load_release(self.releases.local_folder(release_id), manifest, self._device)
            parts = []
            for start in range(0, len(cache.pixels), _CHUNK):
                self._progress.progress(start, len(cache.pixels), eta_s=None, phase=f"embedding with {release_id}")
                pixels = cache.pixels[start : start + _CHUNK]
                rows = np.arange(len(pixels), dtype=np.int64)
                parts.append(embed_pixels(network, pixels, rows, raw=True, batch=batch))
            self._folder.mkdir(parents=True, exist_ok=True)
            with atomic_open(file) as stored:
                np.save(stored, np.concatenate(parts))
        features: Vectors = np.load(file, mmap_mode="c")
        return features, cache.rows


def _key(manifest: Manifest, pixels: str) -> str:
    """The hash of everything that features depend on: the network and the decoded pictures."""
    parts = (manifest.weights.sha256, manifest.architecture.model_dump_json(), pixels)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]
