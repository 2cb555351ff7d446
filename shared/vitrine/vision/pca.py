"""The projection: L2, PCA with or without whitening, L2 (Jegou and Chum, "Negative evidences and co-occurrences in
image retrieval: the benefit of PCA and whitening", ECCV 2012). scikit-learn fits it; torch applies it, on the device,
as one matrix product, and both agree within 1e-5.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import load_file, save_file
from torch import nn
from torch.nn import functional

from vitrine.errors import ProjectionImpossible, ReleaseCorrupt
from vitrine.releases.files import file_bytes

Features = npt.NDArray[np.float32]
# Above this many raw components the full decomposition takes minutes; the randomized one differs in the last digits.
_FULL_SOLVER_MAX_DIM: Final = 4096
_LEAST_NORM: Final = 1e-12
_LEAST_VARIANCE: Final = 1e-12


@dataclass(frozen=True, slots=True)
class ProjectionArrays:
    """A fitted PCA: `mean` (raw_dim,), `components` (dim, raw_dim), `scale` (dim,), all float32."""

    mean: Features
    components: Features
    scale: Features

    def save(self, path: Path) -> None:
        arrays = {"mean": self.mean, "components": self.components, "scale": self.scale}
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)

    @classmethod
    def load(cls, path: Path) -> ProjectionArrays:
        """Raises ReleaseCorrupt where the file holds something else."""
        try:
            file_bytes(path)  # a regular file, or it is not opened
            stored = load_file(path)
            arrays = cls(mean=stored["mean"], components=stored["components"], scale=stored["scale"])
        except Exception as error:
            raise ReleaseCorrupt(f"{path.name} cannot be read as a projection: {error}") from error
        dim, raw_dim = arrays.components.shape
        if arrays.mean.shape != (raw_dim,) or arrays.scale.shape != (dim,):
            raise ReleaseCorrupt(f"{path.name} holds arrays whose shapes do not fit together")
        return arrays


@dataclass(frozen=True, slots=True)
class Fit:
    """What fitting gave: the arrays, the solver used, and the share of the variance that is kept."""

    arrays: ProjectionArrays
    solver: str
    explained_variance: float


def fit_projection(features: Features, *, components: int, whiten: bool, seed: int) -> Fit:
    """Fit a PCA on L2-normalised rows of `features` (N, raw_dim) float32.

    Raises ProjectionImpossible where there are fewer pictures, or fewer raw components, than `components`, or a
    feature is not finite.
    """
    count, raw_dim = features.shape
    if components > min(count, raw_dim):
        raise ProjectionImpossible(
            f"{components} components need as many pictures and raw components; there are {count} pictures "
            f"and {raw_dim} raw components: ask for fewer components or give more pictures"
        )
    if not np.isfinite(features).all():
        raise ProjectionImpossible("the features are not all finite numbers: the weights do not fit the network")
    # Imported here, since only the fitting needs it and every embedder would wait seconds for it at its start.
    from sklearn.decomposition import PCA

    unit = unit_rows(features).astype(np.float64)
    if float(unit.var(axis=0).sum()) < _LEAST_VARIANCE:
        raise ProjectionImpossible("the pictures are all alike: there is no direction in which they vary")
    solver = "covariance_eigh" if raw_dim <= _FULL_SOLVER_MAX_DIM else "randomized"
    pca = PCA(n_components=components, whiten=whiten, svd_solver=solver, random_state=seed)
    pca.fit(unit)
    variance = pca.explained_variance_
    if whiten and float(variance.min()) < _LEAST_VARIANCE:
        raise ProjectionImpossible(
            f"the pictures vary in fewer than {components} directions, which whitening would blow up: "
            "ask for fewer components or give more different pictures"
        )
    scale = 1.0 / np.sqrt(variance) if whiten else np.ones_like(variance)
    arrays = ProjectionArrays(
        mean=pca.mean_.astype(np.float32),
        components=pca.components_.astype(np.float32),
        scale=scale.astype(np.float32),
    )
    return Fit(arrays=arrays, solver=solver, explained_variance=round(float(pca.explained_variance_ratio_.sum()), 6))


def project(arrays: ProjectionArrays, features: Features) -> Features:
    """The projection of (N, raw_dim) features, as `Projection` computes it: (N, dim) float32 of length 1."""
    with torch.inference_mode():
        vectors: Features = Projection(arrays)(torch.from_numpy(features)).numpy()
    return vectors


def unit_rows(rows: Features) -> Features:
    """Rows scaled to length 1; a row of noughts stays."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: Features = rows / np.maximum(lengths, _LEAST_NORM)
    return scaled


class Projection(nn.Module):
    """The fitted projection on a device. Computes in float32 whatever the features come in."""

    def __init__(self, arrays: ProjectionArrays) -> None:
        super().__init__()
        # ((x - m) C^T) s = x (s C)^T - s (C m): the mean and the scale go into the matrix and its offset beforehand.
        components = arrays.components.astype(np.float64) * arrays.scale.astype(np.float64)[:, None]
        offset = -components @ arrays.mean.astype(np.float64)
        self.register_buffer("matrix", torch.from_numpy(components.astype(np.float32)), persistent=False)
        self.register_buffer("offset", torch.from_numpy(offset.astype(np.float32)), persistent=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(N, raw_dim) in, (N, dim) float32 of length 1 out."""
        unit = functional.normalize(features.float(), dim=1, eps=_LEAST_NORM)
        matrix: torch.Tensor = self.matrix  # type: ignore[assignment]
        offset: torch.Tensor = self.offset  # type: ignore[assignment]
        return functional.normalize(functional.linear(unit, matrix, offset), dim=1, eps=_LEAST_NORM)
