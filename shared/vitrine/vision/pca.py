"""The projection of a release: L2, PCA with or without whitening, L2 (Jegou and Chum, "Negative evidences and
co-occurrences in image retrieval: the benefit of PCA and whitening", ECCV 2012).

scikit-learn fits the PCA and torch applies it on the device as one matrix product. Both agree within 1e-5.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import nn
from torch.nn import functional

from vitrine.errors import ProjectionImpossible, ReleaseCorrupt
from vitrine.evaluation.ranking import unit_rows
from vitrine.safe_read import file_bytes
from vitrine.types import Values, Vectors

# Above this many raw components the full decomposition takes minutes; the randomized one differs in the last digits.
_FULL_SOLVER_MAX_DIM: Final = 4096
_FULL_SOLVER: Final = "covariance_eigh"
_MIN_NORM: Final = 1e-12
_MIN_VARIANCE: Final = 1e-12
_MIN_RELATIVE_VARIANCE: Final = 1e-10


@dataclass(frozen=True, slots=True)
class ProjectionArrays:
    """A projection as it is stored: `mean` (raw_dim,), `components` (dim, raw_dim), `scale` (dim,), all float32."""

    mean: Vectors
    components: Vectors
    scale: Vectors

    def save(self, path: Path) -> None:
        arrays = {"mean": self.mean, "components": self.components, "scale": self.scale}
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)

    @classmethod
    def load(cls, path: Path) -> ProjectionArrays:
        """Raises ReleaseCorrupt if the file is not a projection."""
        try:
            file_bytes(path)  # refuses a file that is not regular, before it is opened
            stored = load_file(path)
            arrays = cls(mean=stored["mean"], components=stored["components"], scale=stored["scale"])
        except Exception as error:
            raise ReleaseCorrupt(f"{path.name} cannot be read as a projection: {error}") from error
        dim, raw_dim = arrays.components.shape
        if arrays.mean.shape != (raw_dim,) or arrays.scale.shape != (dim,):
            raise ReleaseCorrupt(f"{path.name} holds arrays whose shapes do not match")
        return arrays


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted projection: its arrays, the solver, and the share of the variance that it keeps, from 0 to 1."""

    arrays: ProjectionArrays
    solver: str
    explained_variance: float


@dataclass(frozen=True, slots=True)
class Pca:
    """A PCA of L2-normalised features, by falling variance, all float64.

    `mean` (raw_dim,), `components` (n, raw_dim), `variance` (n,), and `explained` (n,): shares of the total variance.
    """

    mean: Values
    components: Values
    variance: Values
    explained: Values
    solver: str

    def __len__(self) -> int:
        """The number of components."""
        return len(self.components)

    def truncate(self, components: int) -> Pca:
        """The first `components` components: the same as a PCA that was fitted with that many."""
        return replace(
            self,
            components=self.components[:components],
            variance=self.variance[:components],
            explained=self.explained[:components],
        )

    def transform(self, features: Vectors, *, whiten: bool) -> Vectors:
        """Raw features (N, raw_dim) in, (N, n) float32 out, not normalised."""
        matrix = (self.components * self._scale(whiten)[:, None]).T.astype(np.float32)
        projected: Vectors = (unit_rows(features) - self.mean.astype(np.float32)) @ matrix
        return projected

    def projection(self, *, whiten: bool) -> Fit:
        """Raises ProjectionImpossible if `whiten` would divide by a variance of zero."""
        if whiten and float(self.variance.min()) < _MIN_VARIANCE:
            raise ProjectionImpossible(
                f"the pictures vary in fewer than {len(self)} directions, so they cannot be whitened: "
                "ask for fewer components or give more different pictures"
            )
        arrays = ProjectionArrays(
            mean=self.mean.astype(np.float32),
            components=self.components.astype(np.float32),
            scale=self._scale(whiten).astype(np.float32),
        )
        return Fit(arrays, self.solver, explained_variance=round(float(self.explained.sum()), 6))

    def _scale(self, whiten: bool) -> Values:
        scale: Values = 1.0 / np.sqrt(self.variance) if whiten else np.ones_like(self.variance)
        return scale


def fit_pca(features: Vectors, *, components: int | None = None, seed: int = 0) -> Pca:
    """Fit a PCA on the L2-normalised rows of `features` (N, raw_dim) float32.

    Without `components` it has as many as the features vary in. Above 4,096 raw components a given number is found by a
    randomized solver, which `seed` makes reproducible.

    Raises ProjectionImpossible if there are fewer pictures or raw components than `components`, if a feature is not
    finite, or if the pictures do not vary.
    """
    count, raw_dim = features.shape
    if components is None and count < 2:
        raise ProjectionImpossible("a projection needs two pictures or more")
    if components is not None and components > min(count, raw_dim):
        raise ProjectionImpossible(
            f"{components} components need as many pictures and raw components; there are {count} pictures "
            f"and {raw_dim} raw components: ask for fewer components or give more pictures"
        )
    if not np.isfinite(features).all():
        raise ProjectionImpossible("the features are not all finite numbers: the weights do not fit the network")
    # Imported here: it takes seconds, and the embedder never fits.
    from sklearn.decomposition import PCA

    unit = unit_rows(features).astype(np.float64)
    if float(unit.var(axis=0).sum()) < _MIN_VARIANCE:
        raise ProjectionImpossible("the pictures are all alike: there is no direction in which they vary")
    solver = _FULL_SOLVER if components is None or raw_dim <= _FULL_SOLVER_MAX_DIM else "randomized"
    found = PCA(n_components=components, svd_solver=solver, random_state=seed).fit(unit)
    pca = Pca(found.mean_, found.components_, found.explained_variance_, found.explained_variance_ratio_, solver)
    if components is not None:
        return pca
    varies = pca.variance > max(_MIN_VARIANCE, _MIN_RELATIVE_VARIANCE * float(pca.variance.max()))
    return pca.truncate(min(int(varies.sum()), count - 1))


def fit_projection(features: Vectors, *, components: int, whiten: bool, seed: int) -> Fit:
    """Fit a projection of raw features (N, raw_dim). Raises ProjectionImpossible."""
    return fit_pca(features, components=components, seed=seed).projection(whiten=whiten)


def project(arrays: ProjectionArrays, features: Vectors) -> Vectors:
    """The vectors of raw features (N, raw_dim), as `Projection` computes them: (N, dim) float32 of length 1."""
    with torch.inference_mode():
        vectors: Vectors = Projection(arrays)(torch.from_numpy(features)).numpy()
    return vectors


class Projection(nn.Module):
    """The projection on a device. Computes in float32, whatever the dtype of the features is."""

    def __init__(self, arrays: ProjectionArrays) -> None:
        super().__init__()
        # ((x - m) C^T) s = x (s C)^T - s (C m): the mean and the scale go into the matrix and its offset beforehand.
        components = arrays.components.astype(np.float64) * arrays.scale.astype(np.float64)[:, None]
        offset = -components @ arrays.mean.astype(np.float64)
        self.register_buffer("matrix", torch.from_numpy(components.astype(np.float32)), persistent=False)
        self.register_buffer("offset", torch.from_numpy(offset.astype(np.float32)), persistent=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(N, raw_dim) in, (N, dim) float32 of length 1 out."""
        unit = functional.normalize(features.float(), dim=1, eps=_MIN_NORM)
        matrix: torch.Tensor = self.matrix  # type: ignore[assignment]
        offset: torch.Tensor = self.offset  # type: ignore[assignment]
        return functional.normalize(functional.linear(unit, matrix, offset), dim=1, eps=_MIN_NORM)
