"""Chooses the projection of a trained network: each size and whitening of the recipe is fitted on the train part and
measured by validation queries, and so are the raw features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from trainer.seeds import VALIDATION_QUERIES, generator
from vitrine.errors import ProjectionImpossible
from vitrine.evaluation import equal_labels, measure
from vitrine.recipes import ProjectionRecipe
from vitrine.types import Codes, Rows, Vectors
from vitrine.vision.pca import Fit, Pca, ProjectionArrays, fit_pca, project

IDENTITY: Final = "identity"
_MEAN: Final = "mean_average_precision"
_HITS: Final = "precision_at_15"
_DIGITS: Final = 3  # values that are equal in so many digits count as equal, and the smaller projection wins


@dataclass(frozen=True, slots=True)
class ProjectionTrial:
    """A projection and its measures on validation queries. `raw` is without a projection."""

    components: int
    whiten: bool
    raw: bool
    precision_at_15: float
    mean_average_precision: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ProjectionChoice:
    """The chosen projection, and all that were tried."""

    fit: Fit
    whiten: bool
    kept: ProjectionTrial
    tried: tuple[ProjectionTrial, ...]


def identity_fit(dim: int) -> Fit:
    """The projection that only scales the feature to length 1."""
    arrays = ProjectionArrays(
        mean=np.zeros(dim, dtype=np.float32),
        components=np.eye(dim, dtype=np.float32),
        scale=np.ones(dim, dtype=np.float32),
    )
    return Fit(arrays=arrays, solver=IDENTITY, explained_variance=1.0)


def choose_projection(
    features: Vectors,
    relevance: Codes,
    *,
    train: Rows,
    validation: Rows,
    recipe: ProjectionRecipe,
    queries: int,
    by: str,
    seed: int,
    step: Callable[[], None],
) -> ProjectionChoice:
    """Choose among the projections of `recipe`.

    `features` (N, dim) and `relevance` (N, A) are of all products. Queries come from `validation` and search in `train`
    and `validation`; the test part is not used. Among the projections within one standard error of the best in `by`,
    the best in the other measure is chosen: whitening may gain a little precision at 15 and lose a third of the mAP.
    `step` is called before each trial and may raise to stop. Raises ProjectionImpossible if no size can be fitted.
    """
    dim = features.shape[1]
    gallery = np.sort(np.concatenate([train, validation]))
    chosen = generator(VALIDATION_QUERIES).permutation(validation)[:queries]
    own = np.searchsorted(gallery, chosen)
    relevant = equal_labels(relevance[chosen], relevance[gallery])

    def measured(fit: Fit, *, whiten: bool, raw: bool) -> _Measured:
        step()
        vectors = project(fit.arrays, features)
        found = measure(vectors[chosen], vectors[gallery], relevant, own=own)
        components = len(fit.arrays.components)
        tried = ProjectionTrial(components, whiten, raw, found.mean("precision@15"), found.mean("average_precision"))
        known = found.known("average_precision" if by == _MEAN else "precision@15")
        return _Measured(tried, fit, float(known.std()) / max(1, len(known)) ** 0.5)

    sizes = sorted({min(size, dim, len(train)) for size in recipe.components})
    results = []
    impossible: ProjectionImpossible | None = None
    pca: Pca | None = None
    for size in sizes:
        for whiten in recipe.whiten:
            try:
                pca = pca or fit_pca(features[train], components=sizes[-1], seed=seed)
                fit = pca.truncate(size).projection(whiten=whiten)
            except ProjectionImpossible as error:  # fewer components may be possible
                impossible = error
            else:
                results.append(measured(fit, whiten=whiten, raw=False))
    if recipe.raw:
        results.append(measured(identity_fit(dim), whiten=False, raw=True))
    if not results and impossible is not None:
        raise impossible
    name, other = (_MEAN, _HITS) if by == _MEAN else (_HITS, _MEAN)
    best = max(results, key=lambda one: one.value(name))
    close = [one for one in results if one.value(name) >= best.value(name) - best.error]
    kept = max(close, key=lambda one: (round(one.value(other), _DIGITS), -one.tried.components))
    return ProjectionChoice(kept.fit, kept.tried.whiten, kept.tried, tuple(one.tried for one in results))


@dataclass(frozen=True, slots=True)
class _Measured:
    """A measured trial. `error` is the standard error of the measure `by`."""

    tried: ProjectionTrial
    fit: Fit
    error: float

    def value(self, name: str) -> float:
        value: float = getattr(self.tried, name)
        return value
