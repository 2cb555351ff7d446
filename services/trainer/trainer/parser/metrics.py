"""Metrics of a parser: intersection over union of each class, and the F score of its boundaries."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from vitrine.types import Pixels, Rows, Values

Counts = npt.NDArray[np.int64]


def confusion(truth: Pixels, found: Pixels, classes: int) -> Counts:
    """(classes, classes) numbers of points by their true and their found class, of two class maps of one shape."""
    pairs = truth.astype(np.int64).ravel() * classes + found.ravel()
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def intersection_over_union(counts: Counts) -> Values:
    """(classes,) IoU over all points that were counted; NaN for a class that is neither there nor found."""
    hits = np.diag(counts).astype(np.float64)
    union = counts.sum(axis=0) + counts.sum(axis=1) - hits
    with np.errstate(invalid="ignore", divide="ignore"):
        shares: Values = np.where(union > 0, hits / union, np.nan)
    return shares


def joined(counts: Counts, groups: Sequence[Sequence[int]]) -> Counts:
    """The counts with each group of classes as one class."""
    membership: Rows = np.zeros((len(groups), len(counts)), dtype=np.int64)
    for number, group in enumerate(groups):
        membership[number, list(group)] = 1
    return membership @ counts @ membership.T


def boundary_hits(truth: Pixels, found: Pixels, *, tolerance_px: int) -> npt.NDArray[np.int64]:
    """(4,) of two masks (H, W) of one class: points of the found boundary, those near the true one, points of the true
    boundary, those near the found one (Martin, Fowlkes and Malik, PAMI 2004; near is within `tolerance_px`).
    """
    mine, theirs = _boundary(found), _boundary(truth)
    reach = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * tolerance_px + 1, 2 * tolerance_px + 1))
    near_truth = mine & np.asarray(cv2.dilate(theirs, reach), dtype=np.uint8)
    near_found = theirs & np.asarray(cv2.dilate(mine, reach), dtype=np.uint8)
    return np.array([mine.sum(), near_truth.sum(), theirs.sum(), near_found.sum()], dtype=np.int64)


def boundary_f(hits: npt.NDArray[np.int64]) -> float:
    """The F score of summed `boundary_hits`; NaN if there is no boundary."""
    if not hits[0] and not hits[2]:
        return float("nan")
    precision, recall = hits[1] / max(1, hits[0]), hits[3] / max(1, hits[2])
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def _boundary(mask: Pixels) -> Pixels:
    """The points of a mask (H, W) of 0 and 1 that touch another class."""
    inner = cv2.erode(mask, np.ones((3, 3), dtype=np.uint8), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(mask - inner, dtype=np.uint8)
