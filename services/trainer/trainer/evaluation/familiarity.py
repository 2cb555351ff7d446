"""What tells a query that shows nothing of a catalogue's kind: a plane between the features of its products and those
of drawn pictures of nothing, halfway from the last of the ones to the last of the others.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from torch import nn

from trainer.evaluation.nothing import pictures_of_nothing
from trainer.settings import Settings
from trainer.training.extracting import raw_features
from trainer.training.sampling import generator
from vitrine.evaluation import Rows, Vectors
from vitrine.evaluation.expansion import unit
from vitrine.releases import Familiarity, Preprocessing
from vitrine.vision.network import DeviceChoice
from vitrine.vision.preprocess import Preprocessor

PICTURES: Final = 320
# Of the products that were not learned from, and of the pictures of nothing, this share counts as stray.
STRAY: Final = 0.02
# How little the logistic regression is held back; the two sides hardly touch.
_FREEDOM: Final = 100.0
_LEAST_PRODUCTS: Final = 20
_MOST_PRODUCTS: Final = 2000
_SEED: Final = 607
_DIGITS: Final = 6


def features_of_nothing(backbone: nn.Module, rules: Preprocessing, choice: DeviceChoice, settings: Settings) -> Vectors:
    """The features (PICTURES, raw_dim) float32 that drawn pictures of nothing get."""
    fit = Preprocessor(rules).fit
    pixels = np.stack([fit(picture) for picture in pictures_of_nothing(PICTURES)])
    return raw_features(backbone, rules, pixels, choice, settings)


def fit_familiarity(
    features: Vectors, train: Rows, validation: Rows, nothing: Vectors, *, seed: int
) -> Familiarity | None:
    """The plane by logistic regression between some of the `train` rows of the products' `features` (N, D) and those of
    pictures of nothing, (M, D), all brought to length 1 and both sides weighing the same.

    It is moved to halfway between where all but the STRAY of the `validation` rows begin and all but those of the
    pictures of nothing end, and never so far in that it costs more products than those. None where there are too few
    products to tell.
    """
    if min(len(train), len(validation)) < _LEAST_PRODUCTS or not len(nothing):
        return None
    from sklearn.linear_model import LogisticRegression  # takes seconds to import, and only publishing needs it

    chance = generator(_SEED, seed)
    learned, held_out = (unit(features[chance.permutation(rows)[:_MOST_PRODUCTS]]) for rows in (train, validation))
    sides = np.repeat([1, 0], [len(learned), len(nothing)])
    others = unit(nothing)
    fitted = LogisticRegression(C=_FREEDOM, class_weight="balanced", max_iter=5000)
    fitted.fit(np.concatenate([learned, others]), sides)
    weights = np.round(fitted.coef_[0].astype(np.float64), _DIGITS)
    begins = float(np.quantile(held_out @ weights, STRAY))
    ends = float(np.quantile(others @ weights, 1 - STRAY))
    bias = -min(begins, (begins + ends) / 2)
    return Familiarity(weights=tuple(weights.tolist()), bias=round(bias, _DIGITS), pictures=len(nothing))
