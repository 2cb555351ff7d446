"""All sizes of one projection at once. The components of a PCA are nested: its first n are those of the PCA of n, so
that one decomposition serves every size, and the products of n components are those of n - 1 and one more.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import numpy as np

from vitrine.evaluation.evaluate import Judge, Measured
from vitrine.evaluation.metrics import Grades
from vitrine.evaluation.ranking import Pairs, blocks, check_vectors
from vitrine.types import Rows, Vectors


def measure_sizes(
    queries: Vectors,
    gallery: Vectors,
    sizes: Sequence[int],
    relevant: Pairs,
    names: Sequence[str] = ("average_precision", "precision@15"),
    *,
    own: Rows | None = None,
    ignore: Pairs | None = None,
    grades: Grades | None = None,
    chunk: int | None = None,
    step: Callable[[int, int], None] | None = None,
) -> dict[int, Measured]:
    """Judge the first n components of `queries` (Q, D) and `gallery` (G, D), by their cosine, for each n of `sizes`.

    Both are float32 and projected on all D components, in the order of their variance, whitened or not, not brought to
    length 1. `step` is told how many rankings of a block are done, and of how many; it may raise to stop. Raises
    ValueError as `measure` does, and for a size that is not in 1 to D.
    """
    check_vectors(queries, gallery, own)
    dim = queries.shape[1]
    wanted = sorted(set(sizes))
    if not wanted or wanted[0] < 1 or wanted[-1] > dim:
        raise ValueError(f"of {dim} components there are no sizes {[size for size in wanted if not 1 <= size <= dim]}")
    counts = (len(queries), len(gallery))
    judges = {size: Judge(names, *counts, relevant, own=own, ignore=ignore, grades=grades) for size in wanted}
    lengths = _lengths(gallery, wanted)
    parts = list(blocks(*counts, chunk))
    done, lock = itertools.count(1), Lock()

    def tell() -> None:
        if step is not None:
            with lock:
                step(next(done), len(parts) * len(wanted))

    def judge(block: slice) -> None:
        known = judges[wanted[0]].known_of(block)
        products = np.zeros((block.stop - block.start, len(gallery)), dtype=np.float32)
        before = 0
        for size in wanted:
            products += queries[block, before:size] @ gallery[:, before:size].T
            before = size
            # A query's own length moves all its scores alike.
            judges[size].add_known(block, np.divide(products, lengths[size], dtype=np.float32), *known)
            tell()

    # Sorting leaves Python's lock alone, so that each core has a block of its own.
    with ThreadPoolExecutor(thread_name_prefix="judge", max_workers=os.cpu_count() or 1) as pool:
        for _ in pool.map(judge, parts):
            pass
    return {size: judge.measured() for size, judge in judges.items()}


def smallest_good(sizes: dict[int, Measured], name: str) -> int:
    """The smallest size whose mean is within one standard error of the best one's (Breiman, Friedman, Olshen and Stone,
    "Classification and Regression Trees", 1984, section 3.4.3): what is better beyond it may well be chance.

    Raises ValueError where no query has an answer.
    """
    means = {size: measured.mean(name) for size, measured in sizes.items()}
    scored = {size: mean for size, mean in means.items() if np.isfinite(mean)}
    if not scored:
        raise ValueError("no query has an answer in the gallery: there is nothing to choose a size by")
    best = max(scored, key=lambda size: (scored[size], -size))
    known = sizes[best].known(name)
    error = float(known.std(ddof=1)) / len(known) ** 0.5 if len(known) > 1 else 0.0
    return min(size for size, mean in scored.items() if mean >= scored[best] - error)


def _lengths(gallery: Vectors, sizes: Sequence[int]) -> dict[int, Vectors]:
    """(G,) the lengths of the first n components, for each n; 1 in the place of 0."""
    lengths = {}
    squares = np.zeros(len(gallery))
    before = 0
    for size in sizes:
        squares += np.square(gallery[:, before:size], dtype=np.float64).sum(axis=1)
        before = size
        lengths[size] = np.where(squares > 0, np.sqrt(squares), 1.0).astype(np.float32)
    return lengths
