"""How well vectors find what is like them: exact metrics of a ranking by inner product, every gallery row looked at.

Equal scores are ranked in the gallery's order, so that a result never depends on how a sort was done. The work goes in
blocks of queries, smaller ones for a larger gallery: a few hundred megabytes are enough for any number of queries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
# Which gallery rows answer a block of queries: a slice of query rows in, (rows of the slice, G) bool out.
Relevant = Callable[[slice], Flags]

RECALL_AT: Final = (1, 10, 20)
# A cell is one query against one gallery row. At the worst, all of them relevant, one takes about 50 bytes.
_BLOCK_CELLS: Final = 4_000_000
_SCORE_SHIFT: Final = np.int64(32)
_ROW_MASK: Final = np.int64((1 << 31) - 1)


@dataclass(frozen=True, slots=True)
class RetrievalMetrics:
    """What a ranking is worth. A query without a relevant gallery row has no ranking to judge: it is `left_out` of all
    the means and its entries are NaN; where that is every query, the means are NaN too.
    """

    k: int
    average_precision: npt.NDArray[np.float64]  # (Q,) 0 to 1
    precision_at_k: npt.NDArray[np.float64]  # (Q,) 0 to 1
    mean_average_precision: float
    mean_precision_at_k: float
    recall_at: dict[int, float]  # of the scored queries, the share with a relevant row among the first so many
    scored: int
    left_out: int


def equal_labels(query_labels: Rows, gallery_labels: Rows) -> Relevant:
    """Relevance as the equality of labels, (Q, A) and (G, A) int64: all A attributes must be equal.

    A label of -1 is unknown and equals nothing, itself included.
    """
    if query_labels.ndim != 2 or gallery_labels.ndim != 2 or query_labels.shape[1] != gallery_labels.shape[1]:
        raise ValueError(f"labels of shapes {query_labels.shape} and {gallery_labels.shape} cannot be compared")
    both = np.concatenate([query_labels, gallery_labels])
    codes = np.unique(both, axis=0, return_inverse=True)[1].reshape(-1)
    unknown = (both < 0).any(axis=1)
    query_codes = np.where(unknown, -1, codes)[: len(query_labels)]
    gallery_codes = np.where(unknown, -2, codes)[len(query_labels) :]

    def relevant(block: slice) -> Flags:
        flags: Flags = query_codes[block, None] == gallery_codes[None, :]
        return flags

    return relevant


def rank_metrics(
    queries: Vectors,
    gallery: Vectors,
    relevant: Relevant,
    *,
    k: int = 15,
    exclude: Rows | None = None,
    recall_at: Sequence[int] = RECALL_AT,
    chunk: int | None = None,
) -> RetrievalMetrics:
    """Rank `gallery` (G, D) for every row of `queries` (Q, D), both float32 of length 1, and judge the rankings.

    `exclude` (Q,) int64 names the gallery row that is the query itself, which is taken out of its ranking, or -1.
    Average precision is the mean, over the relevant rows, of the precision at each one's rank in the full ranking
    (Manning, Raghavan and Schuetze, "Introduction to Information Retrieval", 2008, section 8.4). Precision at k is the
    number of relevant rows among the first k divided by k, also where the gallery is smaller than k. `chunk` is the
    number of queries in a block.
    """
    _check(queries, gallery, exclude, k)
    average_precision = np.full(len(queries), np.nan)
    precision_at_k = np.full(len(queries), np.nan)
    first_hit = np.zeros(len(queries), dtype=np.int64)
    for block in _blocks(len(queries), len(gallery), chunk):
        flags = relevant(block).copy()
        if exclude is not None:
            own = exclude[block]
            flags[np.flatnonzero(own >= 0), own[own >= 0]] = False
        answered = flags.any(axis=1)
        keys = _ranking_keys(queries, gallery, exclude, block)
        keys |= flags
        keys.sort(axis=1)
        ranked = (keys & 1).astype(np.bool_)
        del keys
        average_precision[block] = np.where(answered, _average_precision(ranked), np.nan)
        precision_at_k[block] = np.where(answered, ranked[:, :k].sum(axis=1) / k, np.nan)
        first_hit[block] = ranked.argmax(axis=1)
    scored = ~np.isnan(average_precision)
    return RetrievalMetrics(
        k=k,
        average_precision=average_precision,
        precision_at_k=precision_at_k,
        mean_average_precision=_mean(average_precision[scored]),
        mean_precision_at_k=_mean(precision_at_k[scored]),
        recall_at={depth: _mean(first_hit[scored] < depth) for depth in recall_at},
        scored=int(scored.sum()),
        left_out=int((~scored).sum()),
    )


def top_k(
    queries: Vectors, gallery: Vectors, k: int, exclude: Rows | None = None, *, chunk: int | None = None
) -> tuple[Rows, Vectors]:
    """The first `k` gallery rows of every query, best first: indices (Q, k) int64 and scores (Q, k) float32.

    Arguments as in `rank_metrics`. Where the gallery has fewer rows to give, the index is -1 and the score -inf.
    """
    _check(queries, gallery, exclude, k)
    indices = np.full((len(queries), k), -1, dtype=np.int64)
    scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
    given = min(k, len(gallery))
    for block in _blocks(len(queries), len(gallery), chunk):
        keys = _ranking_keys(queries, gallery, exclude, block)
        if given < len(gallery):
            keys.partition(given - 1, axis=1)
        best = np.sort(keys[:, :given], axis=1)
        rows = (best >> 1) & _ROW_MASK
        found = _scores_of(best)
        indices[block, :given] = np.where(np.isneginf(found), -1, rows)
        scores[block, :given] = found
    return indices, scores


def _ranking_keys(queries: Vectors, gallery: Vectors, exclude: Rows | None, block: slice) -> Rows:
    """(block, G) int64 whose ascending order is the ranking: 32 bits of score, 31 of gallery row, one bit to spare.

    Sorting whole keys is several times faster than sorting row numbers by score, and settles ties besides.
    """
    # Noughts are added for the sake of -0.0, which equals 0.0 and has other bits.
    scores = queries[block] @ gallery.T + np.float32(0)
    if exclude is not None:
        own = exclude[block]
        scores[np.flatnonzero(own >= 0), own[own >= 0]] = -np.inf
    keys = (~_ordered(scores.view(np.int32))).astype(np.int64)
    keys <<= _SCORE_SHIFT
    keys |= np.arange(len(gallery), dtype=np.int64) << 1
    return keys


def _ordered(bits: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """The bits of float32 numbers as integers in the numbers' order, and back again: it is its own inverse."""
    ordered: npt.NDArray[np.int32] = bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))
    return ordered


def _scores_of(keys: Rows) -> Vectors:
    return _ordered(~(keys >> _SCORE_SHIFT).astype(np.int32)).view(np.float32)


def _average_precision(ranked: Flags) -> npt.NDArray[np.float64]:
    """(N,) from (N, G) flags of relevance in ranking order; 0 where nothing is relevant."""
    rows, ranks = np.nonzero(ranked)
    found = np.bincount(rows, minlength=len(ranked))
    first = np.cumsum(found) - found
    precision = (np.arange(1, len(rows) + 1) - first[rows]) / (ranks + 1)
    totals = np.bincount(rows, weights=precision, minlength=len(ranked))
    mean: npt.NDArray[np.float64] = totals / np.maximum(found, 1)
    return mean


def _blocks(queries: int, gallery: int, chunk: int | None) -> Iterator[slice]:
    size = chunk or max(1, _BLOCK_CELLS // gallery)
    return (slice(start, min(start + size, queries)) for start in range(0, queries, size))


def _mean(values: npt.NDArray[np.float64] | Flags) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _check(queries: Vectors, gallery: Vectors, exclude: Rows | None, k: int) -> None:
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1] or not len(gallery):
        raise ValueError(f"queries {queries.shape} cannot be ranked against a gallery {gallery.shape}")
    if len(gallery) > int(_ROW_MASK):
        raise ValueError(f"a gallery of {len(gallery)} rows is more than one ranking holds")
    if queries.dtype != np.float32 or gallery.dtype != np.float32:
        raise ValueError(f"vectors must be float32, not {queries.dtype} and {gallery.dtype}")
    if not (np.isfinite(queries).all() and np.isfinite(gallery).all()):
        raise ValueError("the vectors are not all finite numbers")
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    if exclude is not None and exclude.shape != (len(queries),):
        raise ValueError(f"exclude has shape {exclude.shape} and there are {len(queries)} queries")
