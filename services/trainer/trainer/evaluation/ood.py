"""The OOD detector of a release: a plane in feature space between products and out-of-distribution samples.

The products are those of the catalogue, as they are and augmented; the samples are drawn pictures that show no product.
The detector marks a query that shows nothing that the catalogue has.
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
from trainer.evaluation.ood_samples import ood_samples
from trainer.seeds import OOD_SAMPLES, generator
from trainer.settings import Settings
from vitrine.evaluation.ranking import unit_rows
from vitrine.recipes import AugmentRecipe
from vitrine.releases import Familiarity, Preprocessing
from vitrine.types import Pixels, Rows, Vectors
from vitrine.vision.network import DeviceChoice
from vitrine.vision.preprocess import Preprocessor

SAMPLES: Final = 320
AUGMENTED: Final = 1000
# The plane may misjudge so large a share of the validation products, and of the samples.
OUTLIER_SHARE: Final = 0.02
# Inverse regularization strength of the logistic regression. The two sides hardly overlap.
_C: Final = 30.0
# How a shopper's photograph may differ. Without it every picture with a background would be out of distribution.
_AUGMENTATION: Final = AugmentRecipe(
    crop=(0.4, 1.0), flip=0.5, shrink=0.7, shift=0.1, rotate_degrees=20.0, brightness=0.3, contrast=0.3, saturation=0.3,
    tint=0.08, blur=0.1, background=0.85,
)  # fmt: skip
_BATCH: Final = 64
_MIN_PRODUCTS: Final = 20
_MAX_PRODUCTS: Final = 2000
_DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class OodFeatures:
    """Features of one network: `samples` (M, D) of out-of-distribution samples, `augmented` (K, D) of products."""

    samples: Vectors
    augmented: Vectors


def sample_features(backbone: nn.Module, rules: Preprocessing, device: DeviceChoice, settings: Settings) -> Vectors:
    """The features (SAMPLES, raw_dim) float32 of out-of-distribution samples."""
    fit = Preprocessor(rules).fit
    pixels = np.stack([fit(picture) for picture in ood_samples(SAMPLES)])
    return raw_features(backbone, rules, pixels, device, settings)


def augmented_features(
    backbone: nn.Module,
    rules: Preprocessing,
    pixels: Pixels,
    rows: Rows,
    device: DeviceChoice,
    settings: Settings,
    *,
    seed: int,
) -> Vectors:
    """The features (K, raw_dim) float32 of up to AUGMENTED of the `rows` of `pixels`, cropped, moved, recolored and put
    on drawn backgrounds.
    """
    chosen = np.sort(generator(OOD_SAMPLES, seed, AUGMENTED).permutation(rows)[:AUGMENTED])
    augmenter = Augmenter(_AUGMENTATION, rules.height_px, rules.width_px, seed=seed)
    loader = BatchLoader(np.ascontiguousarray(pixels[chosen]), augmenter, torch.device("cpu"), seed=seed)
    batches = np.array_split(np.arange(len(chosen), dtype=np.int64), -(-len(chosen) // _BATCH))
    augmented = np.concatenate([batch.pixels.numpy() for batch in loader.epoch(batches, 0)])
    return raw_features(backbone, rules, augmented, device, settings)


def build_ood_detector(
    backbone: nn.Module,
    rules: Preprocessing,
    pixels: Pixels,
    features: Vectors,
    dataset: Dataset,
    device: DeviceChoice,
    settings: Settings,
    *,
    seed: int,
) -> Familiarity | None:
    """Fit a detector for the dataset, to which `pixels` and `features` (N, raw_dim) belong. Returns None if the train
    or the validation part has fewer than 20 products.
    """
    train, validation = dataset.rows("train"), dataset.rows("validation")
    if min(len(train), len(validation)) < _MIN_PRODUCTS:
        return None
    ood = OodFeatures(
        sample_features(backbone, rules, device, settings),
        augmented_features(backbone, rules, pixels, train, device, settings, seed=seed),
    )
    return fit_ood_detector(features, train, validation, ood, seed=seed)


def fit_ood_detector(features: Vectors, train: Rows, validation: Rows, ood: OodFeatures, *, seed: int) -> Familiarity:
    """Fit the plane by logistic regression on unit vectors, with both sides weighted equally.

    One side are products: the `train` rows of `features` (N, D) and the augmented ones. The other side are the samples.
    The plane is then moved to the middle between the lowest OUTLIER_SHARE of the `validation` rows and the highest of
    the samples, but never excludes a larger share of the validation rows.
    """
    from sklearn.linear_model import LogisticRegression  # takes seconds to import, and only publishing needs it

    random = generator(OOD_SAMPLES, seed)
    learned, held_out = (unit_rows(features[random.permutation(rows)[:_MAX_PRODUCTS]]) for rows in (train, validation))
    inside, outside = np.concatenate([learned, unit_rows(ood.augmented)]), unit_rows(ood.samples)
    sides = np.repeat([1, 0], [len(inside), len(outside)])
    regression = LogisticRegression(C=_C, class_weight="balanced", max_iter=5000)
    regression.fit(np.concatenate([inside, outside]), sides)
    weights = np.round(regression.coef_[0].astype(np.float64), _DIGITS)
    lowest = float(np.quantile(held_out @ weights, OUTLIER_SHARE))
    highest = float(np.quantile(outside @ weights, 1 - OUTLIER_SHARE))
    bias = -min(lowest, (lowest + highest) / 2)
    return Familiarity(weights=tuple(weights.tolist()), bias=round(bias, _DIGITS), pictures=len(outside))
