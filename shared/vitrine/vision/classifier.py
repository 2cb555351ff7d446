"""The classifier of a release: the probability of each label for a raw feature.

A classifier trained by cross-entropy is linear in the feature. One trained by a margin loss has a direction for each
label; its logits are the cosines to them, times the scale of the loss, which is in the recipe.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors.numpy import load_file

from vitrine.errors import ReleaseCorrupt
from vitrine.evaluation.ranking import unit_rows
from vitrine.releases import CLASSIFIER_FILE, Manifest
from vitrine.safe_read import file_bytes
from vitrine.types import Values, Vectors

# The default scale of margin losses.
MARGIN_SCALE: Final = 24.0


@dataclass(frozen=True, slots=True)
class LabelClassifier:
    """`weight` (labels, raw_dim) and `bias` (labels,) float32. Without a bias the logits are `scale` times cosines."""

    labels: tuple[str, ...]
    weight: Vectors
    bias: Vectors | None
    scale: float = 1.0

    @classmethod
    def load(cls, folder: Path, manifest: Manifest) -> LabelClassifier | None:
        """The classifier of a release whose files are in `folder` and have been checked.

        None if the release has none, or if its scale is unknown. Raises ReleaseCorrupt if the file is not valid.
        """
        if manifest.classifier_sha256 is None or not manifest.labels:
            return None
        path = folder / CLASSIFIER_FILE
        try:
            file_bytes(path)  # refuses a file that is not regular, before it is opened
            stored = load_file(path)
        except Exception as error:
            raise ReleaseCorrupt(f"{path.name} cannot be read as a classifier: {error}") from error
        weight, bias = stored.get("weight"), stored.get("bias")
        expected = (len(manifest.labels), manifest.architecture.raw_dim)
        if weight is None or weight.shape != expected or (bias is not None and bias.shape != expected[:1]):
            raise ReleaseCorrupt(f"{path.name} does not hold {expected[0]} labels of {expected[1]} components")
        if not all(np.isfinite(array).all() for array in (weight, bias) if array is not None):
            raise ReleaseCorrupt(f"{path.name} holds numbers that are not finite")
        if bias is not None:
            return cls(manifest.labels, weight.astype(np.float32), bias.astype(np.float32))
        scale = _scale(manifest)
        return None if scale is None else cls(manifest.labels, unit_rows(weight.astype(np.float32)), None, scale)

    def probabilities(self, feature: Vectors) -> Values:
        """The probability of each label, (labels,), sum 1, for a raw feature (raw_dim,) of any length."""
        if self.bias is None:
            scores = self.scale * (self.weight @ unit_rows(feature[None])[0]).astype(np.float64)
        else:
            scores = (self.weight @ feature + self.bias).astype(np.float64)
        shares = np.exp(scores - scores.max())
        found: Values = shares / shares.sum()
        return found

    def likeliest(self, feature: Vectors, count: int) -> list[tuple[str, float]]:
        """The `count` most likely labels with their probabilities, most likely first; ties keep their order.

        Probabilities are rounded down to six decimals, so their sum is at most 1.
        """
        probabilities = self.probabilities(feature)
        order = np.argsort(-probabilities, kind="stable")[:count]
        return [(self.labels[number], math.floor(probabilities[number] * 1e6) / 1e6) for number in order]


def _scale(manifest: Manifest) -> float | None:
    """The scale of the first loss on the release's label that has directions, by the recipe."""
    recipe = manifest.recipe
    while recipe is not None and "trained_by" in recipe:  # adapted or tuned since
        recipe = recipe["trained_by"]
    data = (recipe or {}).get("data") or {}
    for term in (recipe or {}).get("terms") or ():
        of_label = tuple(term.get("on") or (data.get("label"),)) == (data.get("label"),)
        # A release with an embedding has the classifier of the embedding; one on the feature before it is not stored.
        kept = manifest.architecture.embedding is None or term.get("of") != "feature"
        scale = _scale_of(term) if of_label and kept else None
        if scale is not None:
            return scale
    return None


def _scale_of(term: Mapping[str, Any]) -> float | None:
    """None for a loss without directions."""
    if term.get("kind") in ("arcface", "cosface"):
        scale = float((term.get("options") or {}).get("scale", MARGIN_SCALE))
        return scale if math.isfinite(scale) else None
    # Proxies are scored by their plain cosines, as in validation.
    return 1.0 if term.get("kind") == "proxy_anchor" else None
