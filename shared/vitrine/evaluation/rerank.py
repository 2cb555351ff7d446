"""Scores of a gallery beyond the inner product: k-reciprocal re-ranking, and the fusion of several releases."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from vitrine.evaluation.ranking import Pairs, check_vectors, products
from vitrine.types import Flags, Rows, Vectors

# The scores of a block of queries: a slice of query rows in, (rows of the slice, G) float32 out.
Scores = Callable[[slice], Vectors]


def inner_products(queries: Vectors, gallery: Vectors) -> Scores:
    """The plain scores. Raises ValueError for shapes that do not match or numbers that are not finite."""
    check_vectors(queries, gallery, None)

    def scores(block: slice) -> Vectors:
        return products(queries[block], gallery)

    return scores


def fused(parts: Sequence[Scores], weights: Sequence[float]) -> Scores:
    """The weighted sum of the cosines of several releases, which is the inner product of their concatenated vectors."""

    def scores(block: slice) -> Vectors:
        total = parts[0](block) * np.float32(weights[0])
        for part, weight in zip(parts[1:], weights[1:], strict=True):
            total += part(block) * np.float32(weight)
        return total

    return scores


def reranked(
    queries: Vectors,
    gallery: Vectors,
    *,
    candidates: int = 200,
    k1: int = 20,
    k2: int = 6,
    weight: float = 0.3,
    own: Rows | None = None,
    ignore: Pairs | None = None,
) -> Scores:
    """k-reciprocal re-ranking of each query's first `candidates` (Zhong, Zheng, Cao and Li, "Re-ranking Person
    Re-identification with k-reciprocal Encoding", CVPR 2017).

    Neighbours are searched among the candidates; all other rows keep their order behind them. `weight` is the share of
    the original distance, lambda in the paper.
    """
    plain = inner_products(queries, gallery)

    def scores(block: slice) -> Vectors:
        found = plain(block)
        for number, query in enumerate(range(block.start, block.stop)):
            row = found[number]
            if own is not None and own[query] >= 0:
                row[own[query]] = -np.inf
            if ignore is not None:
                row[ignore(slice(query, query + 1))[0]] = -np.inf
            kept = min(candidates, int(np.isfinite(row).sum()))
            first = np.argpartition(-row, kept - 1)[:kept] if kept else np.empty(0, dtype=np.int64)
            first = first[np.lexsort((first, -row[first]))]
            distance = reciprocal_distance(queries[query], gallery[first], k1=k1, k2=k2, weight=weight)
            # At least 2, above all other rows: distances are at most 2 and cosines at most 1.
            row[first] = 4.0 - distance
            row[~np.isfinite(row)] = -4.0  # ignored rows, which the evaluator leaves out
        return found

    return scores


def reciprocal_distance(
    query: Vectors, candidates: Vectors, *, k1: int = 20, k2: int = 6, weight: float = 0.3
) -> Vectors:
    """The distances (N,), from 0 to 2, of candidates (N, D) to a query (D,) in k-reciprocal re-ranking.

    All vectors have length 1. Parameters as in `reranked`.
    """
    if not len(candidates):
        return np.empty(0, dtype=np.float32)
    vectors = np.concatenate([query[None], candidates])
    likeness = vectors @ vectors.T
    order = np.argsort(-likeness, axis=1, kind="stable")
    distance = np.maximum(0.0, 1.0 - likeness)
    membership = _memberships(order, distance, k1)
    if k2 > 1:
        membership = membership[order[:, :k2]].mean(axis=1)
    shared = np.minimum(membership[0], membership[1:]).sum(axis=1)
    union = np.maximum(membership[0], membership[1:]).sum(axis=1)
    jaccard = 1.0 - shared / np.maximum(union, 1e-12)
    mixed: Vectors = (jaccard * (1 - weight) + distance[0, 1:] * weight).astype(np.float32)
    return mixed


def _memberships(order: npt.NDArray[np.int64], distance: Vectors, k1: int) -> npt.NDArray[np.float64]:
    """(N, N) the weights of each row's k-reciprocal neighbours, which sum to 1.

    The neighbours are expanded by those of each neighbour that shares two thirds of them.
    """
    near = _reciprocal(order, k1)
    closer = _reciprocal(order, max(1, round(k1 / 2)))
    expanded = near.copy()
    shared = closer.astype(np.float32) @ near.T.astype(np.float32)  # (candidate, row)
    sizes = closer.sum(axis=1)
    joins = (shared > (2 / 3) * sizes[:, None]).T & near  # (row, candidate)
    expanded |= (joins.astype(np.float32) @ closer.astype(np.float32)) > 0
    weights = np.exp(-distance.astype(np.float64)) * expanded
    summed: npt.NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return summed


def _reciprocal(order: npt.NDArray[np.int64], k: int) -> Flags:
    """(N, N) whether two rows are among each other's k nearest. Every row is its own neighbour."""
    within = np.zeros(order.shape, dtype=np.bool_)
    np.put_along_axis(within, order[:, : k + 1], True, axis=1)
    reciprocal: Flags = within & within.T
    np.fill_diagonal(reciprocal, True)
    return reciprocal
