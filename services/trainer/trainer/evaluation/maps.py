"""Vectors laid out on a plane, so that what is alike lies together."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from vitrine.errors import EvaluationImpossible
from vitrine.evaluation import Vectors

Plane = npt.NDArray[np.float64]
Method = Literal["tsne", "umap"]
METHODS: tuple[Method, ...] = ("tsne", "umap")
_LEAST = 8
_PERPLEXITY = 30.0
_NEIGHBOURS = 15


def lay_out(vectors: Vectors, method: Method, *, seed: int) -> Plane:
    """(N, 2) from 0 to 1 of (N, D) vectors of length 1: t-SNE (van der Maaten and Hinton, "Visualizing Data using
    t-SNE", JMLR 2008) by scikit-learn, or UMAP (McInnes, Healy and Melville, 2018) by umap-learn, both by cosine.

    Raises EvaluationImpossible for fewer than eight vectors.
    """
    if len(vectors) < _LEAST:
        raise EvaluationImpossible(f"a map needs {_LEAST} pictures or more; there are {len(vectors)}")
    # Both take seconds to import, and only a map needs them.
    if method == "tsne":
        from sklearn.manifold import TSNE

        perplexity = min(_PERPLEXITY, (len(vectors) - 1) / 3)
        plane = TSNE(metric="cosine", init="random", perplexity=perplexity, random_state=seed).fit_transform(vectors)
    else:
        from umap import UMAP

        neighbours = min(_NEIGHBOURS, len(vectors) - 1)
        # Several threads would make another map each time.
        reducer = UMAP(metric="cosine", n_neighbors=neighbours, init="random", random_state=seed, n_jobs=1)
        plane = reducer.fit_transform(vectors)
    low, high = plane.min(axis=0), plane.max(axis=0)
    scaled: Plane = (plane - low) / np.maximum(high - low, 1e-9)
    return scaled
