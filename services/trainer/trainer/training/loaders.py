"""The loaders of a run: pixels of the catalogue and of street garments, or maps of the frozen modules instead."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import nn

from trainer.augmentation.pipeline import Augmenter
from trainer.data.loader import BatchLoader
from trainer.training.frozen_maps import Divided, MapLoader
from trainer.training.model import TrainingModel
from trainer.training.street import StreetDomain
from vitrine.errors import ParameterInvalid
from vitrine.recipes import AugmentRecipe, Recipe
from vitrine.types import Rows
from vitrine.vision.heads import Embedded

_STREET_SEED: Final = 7_000_003  # keeps the augmentation of street garments apart from that of the catalogue


@dataclass(frozen=True, slots=True)
class Loaders:
    """`street` is None if the recipe has no street garments."""

    catalogue: BatchLoader | MapLoader
    street: BatchLoader | MapLoader | None


def street_loader(
    street: StreetDomain, recipe: Recipe, height_px: int, width_px: int, device: torch.device
) -> BatchLoader:
    """The views of street garments, augmented as the catalogue's pictures are, but with their own backgrounds."""
    changes = recipe.augment.model_copy(update={"background": 0.0, "undress": 0.0, "alone": 0.0})
    augmenter = None
    if changes != AugmentRecipe():
        augmenter = Augmenter(changes, height_px, width_px, seed=recipe.seed, device=device)
    return BatchLoader(street.views, augmenter, device, seed=recipe.seed + _STREET_SEED)


def make_loaders(
    recipe: Recipe,
    model: TrainingModel,
    catalogue: BatchLoader,
    street: BatchLoader | None,
    *,
    train: Rows,
    weights: str,
    pixels: str,
    folder: Path,
    device: torch.device,
    precision: Callable[[], AbstractContextManager[object]],
    devices: int,
    step: Callable[[int, int], None],
) -> Loaders:
    """The loaders that the recipe says. With `maps` the model accepts maps from then on.

    `weights` and `pixels` identify the network and the pictures: maps kept in `folder` are used again only for the same
    ones. Raises ParameterInvalid if the network cannot be divided, or on several devices, which would write the same
    file.
    """
    if recipe.maps is None:
        return Loaders(catalogue, street)
    if devices != 1:
        raise ParameterInvalid("maps are kept by one device: leave out maps, or set VITRINE_TRAINER_DEVICES to 1")
    backbone = model.backbone.backbone if isinstance(model.backbone, Embedded) else model.backbone
    assert isinstance(backbone, nn.Module)
    model.to(device)
    model.divide(divided := Divided(backbone, recipe.model.frozen))
    changing = {
        name: value for name, value in recipe.as_json().items() if name in ("seed", "augment", "street", "model")
    }

    def kept(name: str, loader: BatchLoader, rows: Rows) -> MapLoader:
        return MapLoader(
            loader,
            divided,
            model.normalise,
            rows,
            copies=recipe.maps.copies if recipe.maps is not None else 1,
            path=folder / f"{name}.maps",
            key=f"{changing} {weights} {pixels} {loader.pixels.shape}",
            device=device,
            precision=precision,
            step=step,
        )

    every = None if street is None else np.arange(len(street.pixels), dtype=np.int64)
    return Loaders(
        kept("catalogue", catalogue, train),
        None if street is None or every is None else kept("street", street, every),
    )
