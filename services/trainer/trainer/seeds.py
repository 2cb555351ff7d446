"""Deterministic random generators, and the number that keeps the draws of each purpose apart."""

from __future__ import annotations

from typing import Final

import numpy as np

VALIDATION_QUERIES: Final = 600
EVALUATION_QUERIES: Final = 601
PCA_SEARCH_QUERIES: Final = 602
CALIBRATION_QUERIES: Final = 603
VISUALIZED_PRODUCTS: Final = 604
OOD_SAMPLES: Final = 607
STREET_COLORS: Final = 608
STREET_VIEWS: Final = 609
STREET_BATCHES: Final = 610


def generator(*keys: int) -> np.random.Generator:
    """A generator whose numbers depend on `keys` only: a purpose, a seed, an epoch."""
    return np.random.default_rng(np.random.SeedSequence(list(keys)))
