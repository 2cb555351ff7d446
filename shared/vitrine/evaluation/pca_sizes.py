"""Evaluation of every number of PCA components at once.

The components of a PCA are nested (`Pca.truncate`), so one transform serves every size. This module needs no PCA: it
takes vectors that are already transformed, and adds to the inner products of n components those of the next ones.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import numpy as np

from vitrine.evaluation.evaluate import Evaluator, Measured
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
    """Evaluate the first n components of `queries` (Q, D) and `gallery` (G, D), by cosine, for each n of `sizes`.

    Both are float32, from `Pca.transform`: all D components in the order of their variance, not normalised. `step` is
    called with (rankings done, rankings in all) and may raise to stop. Raises ValueError as `measure` does, and for a
    size outside of 1 to D.
    """
    check_vectors(queries, gallery, own)
    dim = queries.shape[1]
    wanted = sorted(set(sizes))
    if not wanted or wanted[0] < 1 or wanted[-1] > dim:
        raise ValueError(f"of {dim} components there are no sizes {[size for size in wanted if not 1 <= size <= dim]}")
    counts = (len(queries), len(gallery))
    evaluators = {size: Evaluator(names, *counts, relevant, own=own, ignore=ignore, grades=grades) for size in wanted}
    lengths = _lengths(gallery, wanted)
    parts = list(blocks(*counts, chunk))
    done, lock = itertools.count(1), Lock()

    def report() -> None:
        if step is not None:
            with lock:
                step(next(done), len(parts) * len(wanted))

    def evaluate(block: slice) -> None:
        known = evaluators[wanted[0]].known_of(block)
        products = np.zeros((block.stop - block.start, len(gallery)), dtype=np.float32)
        before = 0
        for size in wanted:
            products += queries[block, before:size] @ gallery[:, before:size].T
            before = size
            # The query's length does not change its ranking.
            evaluators[size].add_known(block, np.divide(products, lengths[size], dtype=np.float32), *known)
            report()

    # Sorting releases Python's lock, so each core can work on a block of its own.
    with ThreadPoolExecutor(thread_name_prefix="evaluate", max_workers=os.cpu_count() or 1) as pool:
        for _ in pool.map(evaluate, parts):
            pass
    return {size: evaluator.measured() for size, evaluator in evaluators.items()}


def smallest_good(sizes: dict[int, Measured], name: str) -> int:
    """The smallest size whose mean is within one standard error of the best mean: the one-standard-error rule (Breiman,
    Friedman, Olshen and Stone, "Classification and Regression Trees", 1984, section 3.4.3).

    Raises ValueError if no query has a relevant gallery row.
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
    """(G,) lengths of the first n components, for each n; 1 instead of 0."""
    lengths = {}
    squares = np.zeros(len(gallery))
    before = 0
    for size in sizes:
        squares += np.square(gallery[:, before:size], dtype=np.float64).sum(axis=1)
        before = size
        lengths[size] = np.where(squares > 0, np.sqrt(squares), 1.0).astype(np.float32)
    return lengths
