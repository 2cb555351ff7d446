"""Setup of the street garments of a run: which of them it trains on, their classes, colors, views and teacher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from trainer.data.dataset import UNKNOWN, Classes, Dataset, classes_of
from trainer.data.extraction import embed_pixels, extraction_batch
from trainer.data.pixel_cache import PixelCache
from trainer.data.street import StreetGarment, allowed_classes, street_garments
from trainer.data.street_colors import street_colors
from trainer.progress import Progress
from trainer.settings import Settings
from trainer.training.street import StreetDomain, cached_views, plain_views
from vitrine.catalogs.street_photographs import StreetPhotographs
from vitrine.errors import ParameterInvalid, TrainingImpossible
from vitrine.recipes import Recipe
from vitrine.releases import Preprocessing
from vitrine.types import Codes, Rows, Vectors
from vitrine.vision.network import DeviceChoice, ReleaseNetwork

_COLOR: Final = "baseColour"


@dataclass(frozen=True, slots=True)
class Trained:
    """The catalogue's side of a run: its dataset with classes and pixels, the rows trained on, the input's rules."""

    dataset: Dataset
    classes: Classes
    cache: PixelCache
    train: Rows
    rules: Preprocessing


def street_domain(
    recipe: Recipe,
    photographs: StreetPhotographs | None,
    trained: Trained,
    settings: Settings,
    progress: Progress,
    *,
    seed: int,
    teacher: Callable[[list[StreetGarment]], Vectors] | None = None,
) -> StreetDomain | None:
    """The street garments that may be of a class that is trained, and their views; None if the recipe has none.

    Raises ParameterInvalid without `photographs`, TrainingImpossible if no garment is left, CatalogMalformed if one
    cannot be read, and what `progress` raises.
    """
    if recipe.street is None:
        return None
    if photographs is None:
        raise ParameterInvalid("the recipe trains on street garments: give the outlined photographs as 'street'")
    progress.phase("cutting out street garments")
    found = list(street_garments(photographs, photographs.for_training, least_share=recipe.street.least_share))
    names, label = trained.classes.names, recipe.data.label
    is_trained = np.isin(np.arange(len(names)), trained.classes.codes[trained.train])
    allowed = allowed_classes([garment.label for garment in found], label, names) & is_trained
    kept = np.flatnonzero(allowed.any(axis=1))
    if not len(kept):
        raise TrainingImpossible(
            f"none of the {len(found)} outlined street garments may have a value of {label!r} that is trained: set "
            "data.label to articleType or subCategory, of a catalogue of clothes"
        )
    garments = [found[at] for at in kept]
    views = cached_views(
        garments,
        recipe.street,
        height_px=trained.rules.height_px,
        width_px=trained.rules.width_px,
        seed=seed,
        folder=settings.work_dir / "pixels",
        step=lambda done, total: progress.progress(done, total, eta_s=None, phase="drawing street garments"),
    )
    progress.note(f"{len(garments):,} street garments, {len({one.label for one in garments})} labels")
    return StreetDomain(
        tuple(garment.label for garment in garments),
        allowed[kept],
        _colors_of(garments, trained),
        views,
        None if teacher is None else teacher(garments),
    )


def street_teacher(
    garments: list[StreetGarment],
    network: ReleaseNetwork,
    rules: Preprocessing,
    settings: Settings,
    choice: DeviceChoice,
) -> Vectors:
    """The teacher's embeddings (S, D) of the garments, each cut out as it is."""
    pixels = plain_views(garments, height_px=rules.height_px, width_px=rules.width_px)
    rows = np.arange(len(pixels), dtype=np.int64)
    return embed_pixels(network, pixels, rows, raw=False, batch=extraction_batch(settings, choice))


def color_codes(dataset: Dataset) -> Codes | None:
    """The color codes (N,) of the products, or None if the catalogue has no colors."""
    codes = classes_of(dataset, (_COLOR,)).codes
    return codes if (codes != UNKNOWN).any() else None


def _colors_of(garments: list[StreetGarment], trained: Trained) -> Codes:
    codes = color_codes(trained.dataset)
    if codes is None:
        return np.full(len(garments), UNKNOWN, dtype=np.int64)
    return street_colors(garments, trained.cache.pixels, codes, trained.train)
