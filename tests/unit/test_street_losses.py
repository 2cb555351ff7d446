"""Losses on street garments, whose class is one of a set, and their batches beside the catalogue's."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
import pytest
import torch

from trainer.data.dataset import UNKNOWN, TrainingData
from trainer.data.loader import Batch
from trainer.training.losses import MetricLoss, make_loss
from trainer.training.street import StreetBatches, StreetDomain, matching_pairs, partial_label_loss
from vitrine.recipes import StreetRecipe, TermRecipe
from vitrine.types import Rows


def test_the_loss_of_a_set_is_that_of_its_whole_probability() -> None:
    scores = torch.tensor([[2.0, 1.0, -1.0], [0.0, 3.0, 0.5]])
    allowed = torch.tensor([[True, True, False], [False, True, False]])
    probabilities = scores.softmax(dim=1)
    expected = -(torch.log(probabilities[0, :2].sum()) + torch.log(probabilities[1, 1])) / 2
    assert partial_label_loss(scores, allowed).item() == pytest.approx(expected.item(), abs=1e-6)
    assert partial_label_loss(scores, torch.ones_like(allowed)).item() == pytest.approx(0.0, abs=1e-6)


def naive_pairs(sets: list[set[int]], street_from: int) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    matches, differs = set(), set()
    for one in range(len(sets)):
        for other in range(len(sets)):
            if one == other or not sets[one] or not sets[other]:
                continue
            both_street = one >= street_from and other >= street_from
            if not sets[one] & sets[other]:
                differs.add((one, other))
            elif not both_street or sets[one] == sets[other]:
                matches.add((one, other))
    return matches, differs


def test_pairs_match_if_they_may_have_the_same_class() -> None:
    codes = torch.tensor([0, 1, 1, UNKNOWN, 2, UNKNOWN, UNKNOWN, UNKNOWN])
    allowed = torch.tensor([[True, True, False], [False, True, False], [True, True, False]])
    anchors, positives, others, negatives = matching_pairs(codes, allowed)
    matches, differs = naive_pairs([{0}, {1}, {1}, set(), {2}, {0, 1}, {1}, {0, 1}], street_from=5)
    assert set(zip(anchors.tolist(), positives.tolist(), strict=True)) == matches
    assert set(zip(others.tolist(), negatives.tolist(), strict=True)) == differs


def test_a_loss_on_pairs_is_the_usual_one_where_every_set_is_one_class() -> None:
    torch.manual_seed(0)
    features = torch.randn(8, 6)
    codes = torch.tensor([0, 0, 1, 1, 2, 2, 1, 2])
    loss = make_loss(TermRecipe(kind="supervised_contrastive"), dim=6, classes=3)
    assert isinstance(loss, MetricLoss)
    assert loss.compares_pairs
    allowed = torch.nn.functional.one_hot(codes[6:], 3).bool()
    given = torch.cat([codes[:6], torch.tensor([UNKNOWN, UNKNOWN])])
    found = loss.on_pairs(features, given, matching_pairs(given, allowed))
    assert found.item() == pytest.approx(loss(features, codes).item(), rel=1e-5)


class Rowless:
    """A loader of batches without pixels."""

    def epoch(self, batches: list[Rows], _epoch: int, *, first: int = 0) -> Generator[Batch, None, None]:
        for number in range(first, len(batches)):
            yield Batch(number, batches[number], torch.empty(0))


def street_batches(recipe: StreetRecipe) -> StreetBatches:
    codes = np.array([0, 0, 1, 1, 2, 2, 2, 2])
    domain = StreetDomain(
        labels=("a", "b", "b"),
        allowed=np.array([[True, False, False], [False, False, True], [False, True, True]]),
        colors=np.array([UNKNOWN, 5, 7]),
        views=np.zeros((recipe.views * 3, 2, 2, 3), dtype=np.uint8),
    )
    colors = np.array([1, 1, 7, 1, 5, 1, 7, 1])
    rows = np.arange(8)
    data = TrainingData(codes[:, None], codes[:, None], rows, rows[:0], colors=colors)
    return StreetBatches(Rowless(), domain, recipe, data, batch=6, seed=3)


def test_street_batches_repeat_and_cover_views_of_every_garment() -> None:
    batches = street_batches(StreetRecipe(share=0.5, views=4))
    rows = batches.rows(40, epoch=1)
    assert [part.tolist() for part in rows] == [part.tolist() for part in batches.rows(40, epoch=1)]
    assert [part.tolist() for part in rows] != [part.tolist() for part in batches.rows(40, epoch=2)]
    assert {len(part) for part in rows} == {3}
    assert set(np.concatenate(rows).tolist()) == set(range(12))
    assert [batch.number for batch in batches.epoch(rows, 1, first=38)] == [38, 39]


def test_a_street_garment_gets_a_product_of_its_class_and_color() -> None:
    batches = street_batches(StreetRecipe(share=0.5, paired=1.0))
    catalogue = [np.zeros(6, dtype=np.int64)] * 30
    for pair, street in zip(batches.paired(catalogue, 0), batches.rows(30, 0), strict=True):
        assert pair[:3].tolist() == [0, 0, 0]
        for row, garment in zip(pair[3:].tolist(), batches.garments(street).tolist(), strict=True):
            assert row in {0: {0, 1}, 1: {4}, 2: {2, 6}}[garment]


def test_without_pairs_the_catalogues_batches_stay() -> None:
    batches = street_batches(StreetRecipe(paired=0.0))
    assert [rows.tolist() for rows in batches.paired([np.arange(6)], 0)] == [[0, 1, 2, 3, 4, 5]]
