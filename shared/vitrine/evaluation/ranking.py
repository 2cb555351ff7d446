"""Exact rankings of a gallery by inner product.

Equal scores are ranked in the order of the gallery, so the result does not depend on the sorting algorithm. Queries are
ranked in blocks, which are smaller for a larger gallery: a few hundred megabytes are enough for any number of queries.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vitrine.types import Flags, Rows, Vectors

# A relation of queries and gallery rows: a slice of query rows in, (rows of the slice, G) bool out.
Pairs = Callable[[slice], Flags]

# A cell is one query and one gallery row. In the worst case, if all are relevant, it takes about 50 bytes.
_BLOCK_CELLS: Final = 4_000_000
_MIN_NORM: Final = 1e-12
_SCORE_SHIFT: Final = np.int64(32)
_ROW_MASK: Final = np.int64((1 << 31) - 1)


@dataclass(frozen=True, slots=True)
class Ranking:
    """The rankings of a block of B queries. Ignored rows come last and are not relevant."""

    keys: Rows  # (B, G) ascending: 32 bits of score, 31 of gallery row, one of relevance

    @property
    def relevant(self) -> Flags:
        """(B, G) in ranking order."""
        flags: Flags = (self.keys & 1).astype(np.bool_)
        return flags

    def rows(self, k: int) -> Rows:
        """(B, k) the first `k` gallery rows; -1 for ignored ones."""
        first = self.keys[:, :k]
        rows: Rows = np.where(np.isneginf(_scores_of(first)), -1, (first >> 1) & _ROW_MASK)
        return rows

    def scores(self, k: int) -> Vectors:
        """(B, k) the scores of `rows`; -inf for ignored ones."""
        return _scores_of(self.keys[:, :k])

    def tie_ends(self) -> Rows:
        """(B, G) for each rank, from 0, the last rank with the same score."""
        scores = self.keys >> _SCORE_SHIFT
        ends = np.ones(scores.shape, dtype=np.bool_)
        ends[:, :-1] = scores[:, 1:] != scores[:, :-1]
        ranks = np.where(ends, np.arange(scores.shape[1]), scores.shape[1])
        last: Rows = np.minimum.accumulate(ranks[:, ::-1], axis=1)[:, ::-1]
        return last


def rankings(
    queries: Vectors,
    gallery: Vectors,
    relevant: Pairs,
    *,
    own: Rows | None = None,
    ignore: Pairs | None = None,
    chunk: int | None = None,
) -> Iterator[tuple[slice, Ranking]]:
    """Rank `gallery` (G, D) by inner product for every row of `queries` (Q, D), both float32, in blocks of `chunk`.

    A query's ranking leaves out its `own` gallery row, (Q,) int64 with -1 for none, and the rows of `ignore`. Raises
    ValueError for shapes that do not match or numbers that are not finite.
    """
    check_vectors(queries, gallery, own)
    for block in blocks(len(queries), len(gallery), chunk):
        scores = products(queries[block], gallery)
        yield block, rank(scores, relevant(block), ignored_in(block, len(gallery), own, ignore))


def rank(scores: Vectors, relevant: Flags, ignored: Flags | None = None) -> Ranking:
    """Rank finite scores (B, G) float32, in gallery order. The scores of `ignored` rows are overwritten."""
    if ignored is not None:
        scores[ignored] = -np.inf
        relevant = relevant & ~ignored
    keys = _keys_of(scores)
    keys |= relevant
    # Sorting whole keys is several times faster than sorting row numbers by score, and also orders ties.
    sort_rows(keys)
    return Ranking(keys)


def top_k(
    queries: Vectors,
    gallery: Vectors,
    k: int,
    own: Rows | None = None,
    *,
    ignore: Pairs | None = None,
    chunk: int | None = None,
) -> tuple[Rows, Vectors]:
    """The first `k` gallery rows of every query, best first: indices (Q, k) int64 and scores (Q, k) float32.

    Arguments as in `rankings`. If the gallery has fewer rows, the index is -1 and the score -inf.
    """
    check_vectors(queries, gallery, own)
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    indices = np.full((len(queries), k), -1, dtype=np.int64)
    scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
    given = min(k, len(gallery))
    for block in blocks(len(queries), len(gallery), chunk):
        found = products(queries[block], gallery)
        ignored = ignored_in(block, len(gallery), own, ignore)
        if ignored is not None:
            found[ignored] = -np.inf
        keys = _keys_of(found)
        if given < len(gallery):
            keys.partition(given - 1, axis=1)
        best = Ranking(np.sort(keys[:, :given], axis=1))
        indices[block, :given] = best.rows(given)
        scores[block, :given] = best.scores(given)
    return indices, scores


def unit_rows(vectors: Vectors) -> Vectors:
    """Rows (N, D) scaled to length 1, as float32. Zero rows are left unchanged."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Vectors = (vectors / np.maximum(lengths, _MIN_NORM)).astype(np.float32, copy=False)
    return scaled


def ignored_in(block: slice, gallery: int, own: Rows | None, ignore: Pairs | None) -> Flags | None:
    """(B, G) the rows that a block of queries leaves out; None if there are none."""
    flags = None if ignore is None else ignore(block).copy()
    if own is None:
        return flags
    mine = own[block]
    if flags is None:
        flags = np.zeros((len(mine), gallery), dtype=np.bool_)
    flags[np.flatnonzero(mine >= 0), mine[mine >= 0]] = True
    return flags


def blocks(queries: int, gallery: int, chunk: int | None = None) -> Iterator[slice]:
    """Slices of queries that are small enough to rank at once."""
    size = chunk or max(1, _BLOCK_CELLS // max(1, gallery))
    return (slice(start, min(start + size, queries)) for start in range(0, queries, size))


def check_vectors(queries: Vectors, gallery: Vectors, own: Rows | None) -> None:
    """Raises ValueError if the vectors cannot be ranked."""
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1] or not len(gallery):
        raise ValueError(f"queries {queries.shape} cannot be ranked against a gallery {gallery.shape}")
    if len(gallery) > int(_ROW_MASK):
        raise ValueError(f"a gallery of {len(gallery)} rows is more than one ranking holds")
    if queries.dtype != np.float32 or gallery.dtype != np.float32:
        raise ValueError(f"vectors must be float32, not {queries.dtype} and {gallery.dtype}")
    for name, vectors in (("queries", queries), ("gallery", gallery)):
        broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if len(broken):
            first = ", ".join(map(str, broken[:5]))
            raise ValueError(f"{len(broken)} rows of the {name} are not finite, the first: {first}")
    if own is not None and own.shape != (len(queries),):
        raise ValueError(f"there are own rows of shape {own.shape} for {len(queries)} queries")


def _keys_of(scores: Vectors) -> Rows:
    """(B, G) int64 whose ascending order is the ranking. The lowest bit is free."""
    keys = (~_ordered(scores.view(np.int32))).astype(np.int64)
    keys <<= _SCORE_SHIFT
    keys |= np.arange(scores.shape[1], dtype=np.int64) << 1
    return keys


def _ordered(bits: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Map the bits of float32 numbers to integers in the same order. It is its own inverse."""
    ordered: npt.NDArray[np.int32] = bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))
    return ordered


def _scores_of(keys: Rows) -> Vectors:
    return _ordered(~(keys >> _SCORE_SHIFT).astype(np.int32)).view(np.float32)


# The two expensive operations run on a GPU if this process has loaded torch and has one. Torch is not imported for it,
# because the search API does not have it.


def products(queries: Vectors, gallery: Vectors) -> Vectors:
    """(Q, G) inner products of (Q, D) and (G, D), in float32 on either device."""
    torch = _torch()
    if torch is None:
        found: Vectors = queries @ gallery.T
    else:
        first, second = (torch.from_numpy(np.ascontiguousarray(one)).to(_device()) for one in (queries, gallery))
        found = (first @ second.T).cpu().numpy()
    # Adding 0 turns -0.0 into 0.0, which is equal but has other bits.
    found += np.float32(0)
    return found


def sort_rows(keys: Rows) -> None:
    """Sort each row of (N, M) in place, ascending."""
    torch = _torch()
    if torch is None:
        keys.sort(axis=1)
    else:
        ordered, _ = torch.sort(torch.from_numpy(keys).to(_device()), dim=1)
        keys[...] = ordered.cpu().numpy()


def _torch() -> Any | None:
    """The torch module, if this process has imported it and it has a GPU."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and torch.cuda.is_available() else None


def _device() -> str:
    return "cuda"
