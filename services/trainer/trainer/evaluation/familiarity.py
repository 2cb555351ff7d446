"""What tells a query that shows nothing of a catalogue's kind: a plane between the features of its products, as they
are and on other backgrounds, and those of drawn pictures of nothing, halfway from the last of the ones to the last of
the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import nn

from trainer.augmentation.pipeline import Augmenter
from trainer.data.dataset import Dataset
from trainer.data.extraction import raw_features
from trainer.data.loader import BatchLoader
from trainer.data.pixel_cache import Pixels
from trainer.evaluation.nothing import pictures_of_nothing
from trainer.seeds import OOD_SAMPLES, generator
from trainer.settings import Settings
from vitrine.evaluation import Rows, Vectors
from vitrine.evaluation.ranking import unit_rows
from vitrine.recipes import AugmentRecipe
from vitrine.releases import Familiarity, Preprocessing
from vitrine.vision.network import DeviceChoice
from vitrine.vision.preprocess import Preprocessor

PICTURES: Final = 320
# Of the products that were not learned from, and of the pictures of nothing, this share counts as stray.
STRAY: Final = 0.02
# How little the logistic regression is held back; the two sides hardly touch.
_FREEDOM: Final = 30.0
# What a shopper's own picture may do to a garment: without it, whatever stands on no white background is strange.
_CHANGES: Final = AugmentRecipe(
    crop=(0.4, 1.0), flip=0.5, shrink=0.7, shift=0.1, rotate_degrees=20.0, brightness=0.3, contrast=0.3, saturation=0.3,
    tint=0.08, blur=0.1, background=0.85,
)  # fmt: skip
CHANGED: Final = 1000
_BATCH: Final = 64
_LEAST_PRODUCTS: Final = 20
_MOST_PRODUCTS: Final = 2000
_DIGITS: Final = 6


def features_of_nothing(backbone: nn.Module, rules: Preprocessing, choice: DeviceChoice, settings: Settings) -> Vectors:
    """The features (PICTURES, raw_dim) float32 that drawn pictures of nothing get."""
    fit = Preprocessor(rules).fit
    pixels = np.stack([fit(picture) for picture in pictures_of_nothing(PICTURES)])
    return raw_features(backbone, rules, pixels, choice, settings)


def features_of_changed(
    backbone: nn.Module,
    rules: Preprocessing,
    pixels: Pixels,
    rows: Rows,
    choice: DeviceChoice,
    settings: Settings,
    *,
    seed: int,
) -> Vectors:
    """The features (up to CHANGED, raw_dim) float32 of some of the `rows` of a cache of pixels, cut out, put on drawn
    backgrounds, moved and recoloured by chance.
    """
    chosen = np.sort(generator(OOD_SAMPLES, seed, CHANGED).permutation(rows)[:CHANGED])
    augmenter = Augmenter(_CHANGES, rules.height_px, rules.width_px, seed=seed)
    loader = BatchLoader(np.ascontiguousarray(pixels[chosen]), augmenter, torch.device("cpu"), seed=seed)
    batches = np.array_split(np.arange(len(chosen), dtype=np.int64), -(-len(chosen) // _BATCH))
    changed = np.concatenate([batch.pixels.numpy() for batch in loader.epoch(batches, 0)])
    return raw_features(backbone, rules, changed, choice, settings)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a network makes of pictures that are no product as it is: features (M, D) of pictures of `nothing`, and
    those (K, D) of products `changed`.
    """

    nothing: Vectors
    changed: Vectors


def learn_familiarity(
    backbone: nn.Module,
    rules: Preprocessing,
    pixels: Pixels,
    features: Vectors,
    examples: Dataset,
    choice: DeviceChoice,
    settings: Settings,
    *,
    seed: int,
) -> Familiarity | None:
    """What tells pictures of nothing from those of the examples, whose `pixels` and `features` (N, raw_dim) these are.
    None where there are too few products to tell.
    """
    train, validation = examples.rows("train"), examples.rows("validation")
    if min(len(train), len(validation)) < _LEAST_PRODUCTS:
        return None
    seen = Seen(
        features_of_nothing(backbone, rules, choice, settings),
        features_of_changed(backbone, rules, pixels, train, choice, settings, seed=seed),
    )
    return fit_familiarity(features, train, validation, seen, seed=seed)


def fit_familiarity(features: Vectors, train: Rows, validation: Rows, seen: Seen, *, seed: int) -> Familiarity:
    """The plane by logistic regression between some of the `train` rows of the products' `features` (N, D) with the
    changed ones, and pictures of nothing, all brought to length 1 and both sides weighing the same.

    It is moved to halfway between where all but the STRAY of the `validation` rows begin and all but those of the
    pictures of nothing end, and never so far in that it costs more products than those.
    """
    from sklearn.linear_model import LogisticRegression  # takes seconds to import, and only publishing needs it

    chance = generator(OOD_SAMPLES, seed)
    learned, held_out = (unit_rows(features[chance.permutation(rows)[:_MOST_PRODUCTS]]) for rows in (train, validation))
    inside, others = np.concatenate([learned, unit_rows(seen.changed)]), unit_rows(seen.nothing)
    sides = np.repeat([1, 0], [len(inside), len(others)])
    fitted = LogisticRegression(C=_FREEDOM, class_weight="balanced", max_iter=5000)
    fitted.fit(np.concatenate([inside, others]), sides)
    weights = np.round(fitted.coef_[0].astype(np.float64), _DIGITS)
    begins = float(np.quantile(held_out @ weights, STRAY))
    ends = float(np.quantile(others @ weights, 1 - STRAY))
    bias = -min(begins, (begins + ends) / 2)
    return Familiarity(weights=tuple(weights.tolist()), bias=round(bias, _DIGITS), pictures=len(others))
