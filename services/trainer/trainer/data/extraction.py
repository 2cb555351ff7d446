"""Features and embeddings of a catalogue's images: decode once, then run a network without training it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
from torch import nn

from trainer.data.pixel_cache import PixelCache, cached_pixels, trim_cache
from trainer.progress import Progress
from trainer.settings import Settings
from vitrine.catalogs import Catalog
from vitrine.errors import TrainingImpossible
from vitrine.images.views import AS_IT_IS, View
from vitrine.jobs import JobFault
from vitrine.products import Product
from vitrine.releases import Preprocessing
from vitrine.types import Pixels, Rows, Vectors
from vitrine.vision.cut_out import GarmentCutter
from vitrine.vision.network import DeviceChoice, ReleaseNetwork

_BATCH_CPU: Final = 4
_BATCH_GPU: Final = 128
# Optimizing a network for the CPU takes up to a minute, so it pays off from this many images.
_LEAST_TO_FUSE: Final = 2_000


def decoded_pictures(
    catalog: Catalog,
    products: Sequence[Product],
    rules: Preprocessing,
    settings: Settings,
    progress: Progress,
    *,
    view: View = AS_IT_IS,
    cut_out: GarmentCutter | None = None,
) -> PixelCache:
    """The images of the products in one view, which needs `cut_out` if it is one of the garment. Unreadable ones are
    left out and reported as faults.

    Raises TrainingImpossible if no image can be read, and what `progress` raises.
    """
    folder, total = settings.work_dir / "pixels", len(products)
    cache = cached_pixels(
        products,
        catalog.root,
        rules,
        folder=folder,
        view=view,
        cut_out=cut_out,
        limits=settings.image_limits,
        downloads=catalog.downloads,
        step=lambda done: progress.progress(done, total, eta_s=None, phase="decoding pictures"),
    )
    trim_cache(folder, keep_bytes=int(settings.trainer_pixels_gib * 2**30))
    if cache.unreadable:
        faults = [JobFault(product_id=one.product_id, kind=one.kind, detail=one.detail) for one in cache.unreadable]
        progress.faults(f"{catalog.dataset} at {rules.height_px}x{rules.width_px}", faults)
    if not len(cache.rows):
        raise TrainingImpossible(f"not one picture of {catalog.dataset} could be read: see the job's faults")
    return cache


def raw_features(
    backbone: nn.Module, rules: Preprocessing, pixels: Pixels, choice: DeviceChoice, settings: Settings
) -> Vectors:
    """The features (N, raw_dim) of `pixels` (N, H, W, 3). `backbone` is copied, not changed."""
    network = ReleaseNetwork(
        copy.deepcopy(backbone), rules, projection=None, choice=choice, fused=len(pixels) >= _LEAST_TO_FUSE
    )
    rows = np.arange(len(pixels), dtype=np.int64)
    return embed_pixels(network, pixels, rows, raw=True, batch=extraction_batch(settings, choice))


def embed_pixels(network: ReleaseNetwork, pixels: Pixels, rows: Rows, *, raw: bool, batch: int) -> Vectors:
    """The features (N, raw_dim) with `raw`, else the embeddings (N, dim), of `rows`. Uses every core."""

    def run(start: int) -> Vectors:
        part = np.ascontiguousarray(pixels[rows[start : start + batch]])
        return network.features(part) if raw else network.vectors(part)

    starts = range(0, len(rows), batch)
    with ThreadPoolExecutor(network.passes_at_once, thread_name_prefix="embed") as pool:
        parts = list(pool.map(run, starts))
    width = network.raw_dim if raw else network.dim
    return np.concatenate(parts) if parts else np.empty((0, width), dtype=np.float32)


def extraction_batch(settings: Settings, choice: DeviceChoice) -> int:
    """Images per forward pass without gradients."""
    return settings.trainer_batch or (_BATCH_CPU if choice.device.type == "cpu" else _BATCH_GPU)
