"""Ways of scoring a gallery for a block of queries beyond one inner product: candidates ranked anew by the neighbours
they share, and the rankings of several releases made one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from vitrine.evaluation.evaluate import Judge, Measured
from vitrine.evaluation.ranking import Pairs, blocks, check_vectors, products
from vitrine.types import Flags, Rows, Vectors

# The scores of a block of queries: a slice of query rows in, (rows of the slice, G) float32 out.
Scores = Callable[[slice], Vectors]

_RANK_CONSTANT: Final = 60.0


def inner_products(queries: Vectors, gallery: Vectors) -> Scores:
    """The plain scores. Raises ValueError where the arrays do not go together or hold what is no finite number."""
    check_vectors(queries, gallery, None)

    def scores(block: slice) -> Vectors:
        return products(queries[block], gallery)

    return scores


def measure_scores(
    scores: Scores,
    queries: int,
    gallery: int,
    relevant: Pairs,
    names: Sequence[str] = ("average_precision", "precision@15"),
    *,
    own: Rows | None = None,
    ignore: Pairs | None = None,
    chunk: int | None = None,
) -> Measured:
    """As `measure`, for any scores of `queries` against `gallery` rows."""
    judge = Judge(names, queries, gallery, relevant, own=own, ignore=ignore)
    for block in blocks(queries, gallery, chunk):
        judge.add(block, scores(block))
    return judge.measured()


def fused(parts: Sequence[Scores], weights: Sequence[float]) -> Scores:
    """The weighted sum of the cosines of several releases: what their vectors side by side would score."""

    def scores(block: slice) -> Vectors:
        total = parts[0](block) * np.float32(weights[0])
        for part, weight in zip(parts[1:], weights[1:], strict=True):
            total += part(block) * np.float32(weight)
        return total

    return scores


def fused_by_rank(parts: Sequence[Scores], constant: float = _RANK_CONSTANT) -> Scores:
    """Reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009): the sum of 1 / (constant + rank).
    What Qdrant's `rrf` does, over the whole gallery.
    """

    def scores(block: slice) -> Vectors:
        total: Vectors | None = None
        for part in parts:
            order = np.argsort(-part(block), axis=1, kind="stable")
            ranks = np.empty_like(order)
            np.put_along_axis(ranks, order, np.arange(order.shape[1])[None, :], axis=1)
            share = (1.0 / (constant + 1 + ranks)).astype(np.float32)
            total = share if total is None else total + share
        assert total is not None
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
    """k-reciprocal re-ranking (Zhong, Zheng, Cao and Li, "Re-ranking Person Re-identification with k-reciprocal
    Encoding", CVPR 2017) of each query's first `candidates`, whose neighbours are looked for among themselves; all
    others keep their order behind them. `weight` is the original distance's share, lambda in the paper.
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
            # Behind the best of the others nobody falls: cosines end at 1 and distances at 2.
            row[first] = 4.0 - distance
            row[~np.isfinite(row)] = -4.0  # what is ignored is taken out by the judge
        return found

    return scores


def reciprocal_distance(
    query: Vectors, candidates: Vectors, *, k1: int = 20, k2: int = 6, weight: float = 0.3
) -> Vectors:
    """(N,) between 0 and 2: how far (N, D) candidates are from a query (D,) by the neighbours they share among
    themselves, all of length 1. As `reranked` has it.
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
    """(N, N) each row how far every other belongs to its k-reciprocal neighbours, expanded by those of its own
    neighbours that share two thirds with it, and summing to 1.
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
    """(N, N) who is among whose k nearest others, and the other way too. Everyone is among their own."""
    within = np.zeros(order.shape, dtype=np.bool_)
    np.put_along_axis(within, order[:, : k + 1], True, axis=1)
    reciprocal: Flags = within & within.T
    np.fill_diagonal(reciprocal, True)
    return reciprocal
