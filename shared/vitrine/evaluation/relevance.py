"""What answers a query: gallery rows that share its labels, all of them or as many as they share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from vitrine.evaluation.ranking import Flags, Pairs, Rows

# How far gallery rows answer a block of queries: a slice of query rows in, (rows of the slice, G) uint8 out, 0: not.
Grades = Callable[[slice], npt.NDArray[np.uint8]]

UNKNOWN = -1


def equal_labels(query_labels: Rows, gallery_labels: Rows) -> Pairs:
    """Relevance as the equality of labels, (Q, A) and (G, A) int64: all A attributes must be equal.

    A label of -1 is unknown and equals nothing, itself included. Raises ValueError where the shapes do not go together.
    """
    query_codes, gallery_codes = _codes(query_labels, gallery_labels)

    def relevant(block: slice) -> Flags:
        flags: Flags = query_codes[block, None] == gallery_codes[None, :]
        return flags

    return relevant


def unequal_labels(query_labels: Rows, gallery_labels: Rows) -> Pairs:
    """The rows that a filter by the query's own labels leaves out: what `equal_labels` does not say is equal."""
    equal = equal_labels(query_labels, gallery_labels)

    def other(block: slice) -> Flags:
        flags: Flags = ~equal(block)
        return flags

    return other


def shared_labels(query_labels: Rows, gallery_labels: Rows) -> Grades:
    """Graded relevance, from 0 to A: how many labels are shared, counted only as far as the first, the kind of thing,
    is: a blue shoe answers a blue shirt in nothing.
    """
    _check(query_labels, gallery_labels)

    def grades(block: slice) -> npt.NDArray[np.uint8]:
        mine = query_labels[block]
        total = np.zeros((len(mine), len(gallery_labels)), dtype=np.uint8)
        for column in range(mine.shape[1]):
            known = mine[:, column, None] != UNKNOWN
            total += (mine[:, column, None] == gallery_labels[None, :, column]) & known
        first = (mine[:, 0, None] == gallery_labels[None, :, 0]) & (mine[:, 0, None] != UNKNOWN)
        graded: npt.NDArray[np.uint8] = total * first
        return graded

    return grades


def _codes(query_labels: Rows, gallery_labels: Rows) -> tuple[Rows, Rows]:
    """One number for each combination of labels; unknown ones are equal to nothing on the other side."""
    _check(query_labels, gallery_labels)
    both = np.concatenate([query_labels, gallery_labels])
    codes = np.unique(both, axis=0, return_inverse=True)[1].reshape(-1)
    unknown = (both < 0).any(axis=1)
    count = len(query_labels)
    return np.where(unknown, -1, codes)[:count], np.where(unknown, -2, codes)[count:]


def _check(query_labels: Rows, gallery_labels: Rows) -> None:
    if query_labels.ndim != 2 or gallery_labels.ndim != 2 or query_labels.shape[1] != gallery_labels.shape[1]:
        raise ValueError(f"labels of shapes {query_labels.shape} and {gallery_labels.shape} cannot be compared")
