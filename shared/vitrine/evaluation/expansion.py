"""Query expansion and database-side augmentation: vectors averaged with their nearest neighbours."""

from __future__ import annotations

import numpy as np

from vitrine.evaluation.ranking import Pairs, top_k, unit_rows
from vitrine.types import Rows, Vectors


def expand_queries(
    queries: Vectors,
    gallery: Vectors,
    *,
    k: int,
    alpha: float = 0.0,
    own: Rows | None = None,
    ignore: Pairs | None = None,
) -> Vectors:
    """Add to each query its first `k` gallery rows, weighted by their score to the power of `alpha`: (Q, D), length 1.

    With alpha 0 this is average query expansion (Chum et al., "Total Recall: Automatic Query Expansion with a
    Generative Feature Model for Object Retrieval", ICCV 2007), otherwise alpha-QE (Radenovic, Tolias and Chum,
    "Fine-tuning CNN Image Retrieval with No Human Annotation", TPAMI 2018). `own` and `ignore` as in `measure`.
    """
    rows, scores = top_k(queries, gallery, k, own, ignore=ignore)
    return unit_rows(queries + _weighted_sum(gallery, rows, scores, alpha))


def augment_gallery(gallery: Vectors, *, k: int, alpha: float = 0.0) -> Vectors:
    """Add to each row the weighted sum of its `k` nearest other rows: (G, D) of length 1.

    Turcot and Lowe, "Better Matching with Fewer Features", ICCV workshops 2009; Arandjelovic and Zisserman, "Three
    Things Everyone Should Know to Improve Object Retrieval", CVPR 2012.
    """
    rows, scores = top_k(gallery, gallery, k, np.arange(len(gallery), dtype=np.int64))
    return unit_rows(gallery + _weighted_sum(gallery, rows, scores, alpha))


def _weighted_sum(gallery: Vectors, rows: Rows, scores: Vectors, alpha: float) -> Vectors:
    """(N, D) from (N, k) gallery rows, -1 for none, and their scores. Negative scores have no weight."""
    found = rows >= 0
    weights = np.where(found, np.maximum(scores, 0.0), 0.0)
    weights = (weights**alpha * found).astype(np.float32)
    total = np.zeros((len(rows), gallery.shape[1]), dtype=np.float32)
    for neighbour in range(rows.shape[1]):  # one at a time, to save memory: together they are k times the vectors
        total += gallery[rows[:, neighbour]] * weights[:, neighbour, None]
    return total
