"""Labels that the nearest neighbours contradict.

For each label the labels of its products' neighbours are counted. A product is compared with these profiles (naive
Bayes, with a temperature that fits the given labels best), which gives the probability of each label. Kinds that the
network often confuses have similar profiles, so that their products get no clear answer. A label is suspected by the
rule of confident learning (Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels",
JAIR 2021): another label is the most probable, and more probable than is usual for the products that have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from trainer.health.collection import Neighbours, Scores
from vitrine.types import Codes, Flags, Values

VOTERS: Final = 10
LEAST_PRODUCTS: Final = 5  # of a label that products are suspected to have, or not to have
MOST_LABELS: Final = 2_000
# Vectors of one and the same picture, up to rounding.
_SAME_SCORE: Final = 0.9995
_NEIGHBOUR: Final = 5
_SMOOTHING: Final = 2.0
_TEMPERATURES: Final = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
_SAMPLE: Final = 20_000
_LEAST_PROBABILITY: Final = 1e-3  # a wrong label must not decide the temperature
_CHUNK: Final = 2_048


@dataclass(frozen=True, slots=True)
class Suspects:
    """Products whose label is probably wrong, the most probable first.

    `rows` (S,), the codes `given` and `suggested` (S,), and `confidence` (S,): the suspicion by the probabilities of
    both labels, times the share of the given label's other products that are not placed at the suggested one, and
    lowered for a product that would be an unusual one of the suggested label.
    `agreeing` is the share of all judged products whose most probable label is their own. `pairs` are (given,
    suggested, suspects, products with the given label).
    """

    rows: Codes
    given: Codes
    suggested: Codes
    confidence: Values
    judged: int
    agreeing: float
    temperature: float
    pairs: tuple[tuple[int, int, int, int], ...]


def find_suspects(
    labels: Codes, neighbours: Neighbours, scores: Scores, same: Sequence[Codes], *, voters: int = VOTERS
) -> Suspects:
    """Suspected labels. `labels` (N,), -1 without one. Each of `same` (N,) has equal numbers for products that repeat
    each other (duplicates, variants), -1 for the others: of these one votes, and none about a product of its own group.
    """
    usable = labels >= 0
    counts = np.bincount(labels[usable], minlength=int(labels.max(initial=-1)) + 1)
    if not 2 <= len(counts) <= MOST_LABELS or not usable.any():
        return _nobody()
    votes = _votes(labels, neighbours, scores, same, voters)
    profiles = _Profiles(labels, votes, counts)
    judged = np.flatnonzero(usable & (votes >= 0).any(axis=1))
    if not len(judged):
        return _nobody()
    generator = np.random.default_rng(0)
    sample = judged if len(judged) <= _SAMPLE else np.sort(generator.choice(judged, _SAMPLE, replace=False))
    temperature = min(_TEMPERATURES, key=lambda one: profiles.loss(sample, one))
    best, best_p, own_p = profiles.judge(judged, temperature)
    given = labels[judged]
    usual = np.bincount(given, weights=own_p, minlength=len(counts)) / np.maximum(
        np.bincount(given, minlength=len(counts)), 1
    )
    frequent = counts >= LEAST_PRODUCTS
    suspected = (
        (best != given)
        & (best_p >= usual[best])
        & (own_p < usual[given])
        & (best_p > own_p)
        & frequent[best]
        & frequent[given]
    )
    placed = given[suspected] * len(counts) + best[suspected]
    pairs, of_pair, in_pair = np.unique(placed, return_inverse=True, return_counts=True)
    # Its own product does not make a pair common.
    common = (in_pair[of_pair] - 1) / counts[given[suspected]]
    rows, suggested = judged[suspected], best[suspected]
    usualness = _usualness(labels, scores, rows, suggested)
    confidence = suspicion(own_p[suspected], best_p[suspected]) * (1.0 - common) * usualness
    order = np.argsort(-confidence, kind="stable")
    ranked = sorted(zip(pairs.tolist(), in_pair.tolist(), strict=True), key=lambda one: -one[1])
    return Suspects(
        rows=judged[suspected][order],
        given=given[suspected][order],
        suggested=best[suspected][order],
        confidence=confidence[order],
        judged=len(judged),
        agreeing=float((best == given).mean()),
        temperature=temperature,
        pairs=tuple(
            (pair // len(counts), pair % len(counts), number, int(counts[pair // len(counts)]))
            for pair, number in ranked
        ),
    )


def _usualness(labels: Codes, scores: Scores, rows: Codes, suggested: Codes) -> Values:
    """1 for a product that is as near to its neighbours as half of the products with the suggested label, less for one
    that is farther away: it may be like nothing, and the network then says anything.
    """
    distances = 1.0 - scores[:, min(_NEIGHBOUR, scores.shape[1]) - 1]
    found = np.empty(len(rows))
    for label in np.unique(suggested).tolist():
        known = np.sort(distances[labels == label])
        of_label = suggested == label
        nearer = np.searchsorted(known, distances[rows[of_label]], side="left")
        found[of_label] = np.minimum(1.0, 2.0 * (1.0 - nearer / len(known)))
    return found


def suspicion(given: Values, suggested: Values) -> Values:
    """From the probabilities of the given and the suggested label: the geometric mean of the probabilities that the one
    is wrong and the other right. A product that is like nothing has a wrong label at most, and no right one.
    """
    found: Values = np.sqrt((1.0 - given) * suggested)
    return found


class _Profiles:
    """The labels of the neighbours of each label's products."""

    def __init__(self, labels: Codes, votes: Codes, counts: Codes) -> None:
        self._labels = labels
        self._votes = votes
        size = len(counts)
        table = np.zeros((size, size))
        for start in range(0, len(labels), _CHUNK):
            part, given = votes[start : start + _CHUNK], labels[start : start + _CHUNK]
            cast = (part >= 0) & (given >= 0)[:, None]
            np.add.at(table, (np.broadcast_to(given[:, None], part.shape)[cast], part[cast]), 1.0)
        self._table = table
        self._totals = table.sum(axis=1)
        everywhere = table.sum(axis=0) + 1.0
        self._background = everywhere / everywhere.sum()
        smoothed = (table + _SMOOTHING * self._background) / (self._totals + _SMOOTHING)[:, None]
        self._logs = np.log(smoothed)
        self._prior = np.log(np.maximum(counts, 1) / counts.sum())

    def judge(self, rows: Codes, temperature: float) -> tuple[Codes, Values, Values]:
        """The most probable label of each row, its probability, and that of the given label."""
        best, best_p, own_p = [], [], []
        for start in range(0, len(rows), _CHUNK):
            part = rows[start : start + _CHUNK]
            shares = self._probabilities(part, temperature)
            at = np.arange(len(part))
            first = shares.argmax(axis=1)
            best.append(first)
            best_p.append(shares[at, first])
            own_p.append(shares[at, self._labels[part]])
        return np.concatenate(best), np.concatenate(best_p), np.concatenate(own_p)

    def loss(self, rows: Codes, temperature: float) -> float:
        """How badly the probabilities fit the given labels: the mean negative logarithm."""
        _, _, own_p = self.judge(rows, temperature)
        return float(-np.log(np.maximum(own_p, _LEAST_PROBABILITY)).mean())

    def _probabilities(self, rows: Codes, temperature: float) -> Values:
        votes, given = self._votes[rows], self._labels[rows]
        cast = votes >= 0
        number = np.zeros((len(rows), len(self._totals)))
        at = np.broadcast_to(np.arange(len(rows))[:, None], votes.shape)
        np.add.at(number, (at[cast], votes[cast]), 1.0)
        fits = number @ self._logs.T
        # Its own votes are part of its label's profile: leave them out.
        own = number[at, np.maximum(votes, 0)]
        table = self._table[given[:, None], np.maximum(votes, 0)] - own
        totals = (self._totals[given] - cast.sum(axis=1))[:, None]
        logs = np.log((table + _SMOOTHING * self._background[np.maximum(votes, 0)]) / (totals + _SMOOTHING))
        fits[np.arange(len(rows)), given] = np.where(cast, logs, 0.0).sum(axis=1)
        scaled = fits / temperature + self._prior
        shares = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        found: Values = shares / shares.sum(axis=1, keepdims=True)
        return found


def _votes(labels: Codes, neighbours: Neighbours, scores: Scores, same: Sequence[Codes], voters: int) -> Codes:
    """The labels of the first `voters` neighbours that may vote (N, voters), -1 where there are fewer."""
    votes = np.full((len(labels), voters), -1, dtype=np.int64)
    for start in range(0, len(labels), _CHUNK):
        rows = slice(start, start + _CHUNK)
        near = neighbours[rows]
        there = np.maximum(near, 0)
        may = (near >= 0) & (labels[there] >= 0) & (scores[rows] < _SAME_SCORE)
        for groups in same:
            may &= ~_repeats(groups[rows], groups[there], may)
        order = np.argsort(~may, axis=1, kind="stable")[:, :voters]
        chosen = np.take_along_axis(np.where(may, labels[there], -1), order, axis=1)
        votes[rows, : chosen.shape[1]] = chosen
    return votes


def _repeats(own: Codes, groups: Codes, may: Flags) -> Flags:
    """Neighbours of the product's own group, and those whose group has a nearer neighbour that may vote."""
    known = groups >= 0
    repeated: Flags = known & (groups == own[:, None])
    for column in range(1, groups.shape[1]):
        nearer = (groups[:, :column] == groups[:, column : column + 1]) & may[:, :column]
        repeated[:, column] |= known[:, column] & nearer.any(axis=1)
    return repeated


def _nobody() -> Suspects:
    none, numbers = np.empty(0, dtype=np.int64), np.empty(0)
    return Suspects(none, none, none, numbers, judged=0, agreeing=0.0, temperature=1.0, pairs=())
