"""Small real releases, made in a second or two without downloads, and pictures to embed."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from vitrine.releases import (
    CLASSIFIER_FILE,
    PROJECTION_FILE,
    WEIGHTS_FILE,
    Augmentation,
    Calibration,
    ReleaseStore,
    file_sha256,
)
from vitrine.releases.lineage import Lineage
from vitrine.vision.backbones import load_backbone
from vitrine.vision.extract import extract
from vitrine.vision.models import model_entry, resolve_options
from vitrine.vision.network import ReleaseNetwork, choose_device
from vitrine.vision.pca import fit_projection
from vitrine.vision.preprocess import Preprocessor
from vitrine.vision.release_builder import Training, fitted_on, make_release

TINY_MODEL = "timm:test_efficientnet"
_FITTED_ON_COUNT = 64


def picture(number: int, *, size: tuple[int, int] = (60, 80), kind: str = "JPEG") -> bytes:
    """A picture file of coloured spots, different for each number and the same in every run."""
    noise = np.random.default_rng(number).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).save(buffer, kind)
    return buffer.getvalue()


def store_of(folder: Path) -> ReleaseStore:
    return ReleaseStore(f"file:{folder}", cache_dir=folder.parent / "release-cache")


def build_tiny_release(
    store_folder: Path,
    *,
    model: str = TINY_MODEL,
    weights: str = "seed:0",
    components: int = 16,
    whiten: bool = False,
    input_px: int = 64,
    name: str | None = None,
    calibration: Calibration | None = None,
    parent: str | None = None,
    augmentation: Augmentation | None = None,
    lineage: Lineage | None = None,
) -> str:
    """Make a release of a tiny network with random weights in the store at `store_folder`.

    Returns its id. Other `weights` (`seed:1`) or `components` make another release of the same model. `name` gives the
    model another name.
    """
    entry = model_entry(model)
    options = resolve_options(entry, {"input_px": input_px})
    backbone = load_backbone(entry, weights=weights, options=options.architecture)
    network = ReleaseNetwork(backbone.network, options.preprocessing, projection=None, choice=choose_device("cpu"))
    numbers = [str(number) for number in range(_FITTED_ON_COUNT)]
    pictures = ((number, partial(picture, int(number))) for number in numbers)
    batches = extract(pictures, network, Preprocessor(options.preprocessing), batch=16)
    features = np.concatenate([batch.rows for batch in batches])
    return make_release(
        store_of(store_folder),
        name or entry.name,
        backbone,
        fit_projection(features, components=components, whiten=whiten, seed=0),
        rules=options.preprocessing,
        trained_on=fitted_on("blotches", numbers, part="all", seed=0),
        whiten=whiten,
        random_state=0,
        lineage=lineage,
        training=Training({}, (), {}, parent, None, None, calibration=calibration, augmentation=augmentation)
        if calibration or parent
        else None,
    )


def with_classifier(
    store_folder: Path,
    release_id: str,
    stored: Mapping[str, torch.Tensor],
    *,
    labels: tuple[str, ...],
    recipe: dict[str, Any],
    into: Path | None = None,
) -> str:
    """Store the same release with a classifier, in the store at `into` if given. Returns its id."""
    folder = store_of(store_folder).local_folder(release_id)
    file = store_folder.parent / CLASSIFIER_FILE
    save_file({name: tensor.contiguous().clone() for name, tensor in stored.items()}, file)
    manifest = store_of(store_folder).manifest(release_id)
    update = {"labels": labels, "recipe": recipe, "classifier_sha256": file_sha256(file)}
    return store_of(into or store_folder).publish(
        manifest.model_copy(update=update),
        weights=folder / WEIGHTS_FILE,
        projection=folder / PROJECTION_FILE,
        classifier=file,
    )
