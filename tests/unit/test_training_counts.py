"""What a loop keeps beside its weights: sums of its batches, and their average."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from harness.releases import TINY_MODEL
from trainer.data.dataset import UNKNOWN
from trainer.training.model import TrainingModel
from trainer.training.optim import ExponentialAverage
from trainer.training.state import RunningMetrics, TrainState
from vitrine.vision.models import model_entry, resolve_options


def test_a_tally_counts_what_is_right_among_what_is_known() -> None:
    tally, standing = RunningMetrics(), TrainState()
    scores = torch.tensor([[2.0, 1.0], [0.0, 3.0], [5.0, 1.0], [1.0, 0.0]])
    tally.add(torch.tensor(0.5), scores, torch.tensor([0, 0, UNKNOWN, 0]))
    tally.add(torch.tensor(2.0), None, torch.tensor([1, 1]))
    assert tally.take(standing) == pytest.approx(0.5 * 4 + 2.0 * 2)
    assert (standing.loss_sum, standing.seen, standing.right, standing.scored) == (6.0, 6, 2, 3)
    assert tally.take(standing) == 0.0
    assert standing.seen == 6, "what was taken is not taken again"


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_one_loss_that_is_no_number_shows_in_the_sum(loss: float) -> None:
    tally = RunningMetrics()
    for value in (0.1, loss, 0.2):
        tally.add(torch.tensor(value), None, torch.tensor([0]))
    assert not math.isfinite(tally.take(TrainState()))


def small_subject() -> TrainingModel:
    rules = resolve_options(model_entry(TINY_MODEL), {}).preprocessing
    return TrainingModel(nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)), rules, [], [])


def test_the_average_follows_weights_and_statistics() -> None:
    subject = small_subject()
    average = ExponentialAverage(subject, 0.75)
    state = average.state_dict()
    start = state["backbone.0.weight"].clone()
    with torch.no_grad():
        subject.backbone[0].weight += 1.0  # type: ignore[index]
        subject.backbone[1].running_mean += 4.0  # type: ignore[index]
    average.update()
    assert torch.allclose(state["backbone.0.weight"], start + 0.25)
    assert torch.allclose(state["backbone.1.running_mean"], torch.full((2,), 1.0))
    average.update()
    assert torch.allclose(state["backbone.0.weight"], start + 0.4375)


def test_an_average_that_was_stored_goes_on() -> None:
    subject = small_subject()
    average = ExponentialAverage(subject, 0.5)
    stored = {name: tensor.clone() + 2.0 for name, tensor in average.state_dict().items() if tensor.is_floating_point()}
    average.load_state_dict({**average.state_dict(), **stored})
    average.update()
    weight = subject.state_dict()["backbone.0.weight"]
    assert torch.allclose(average.subject.state_dict()["backbone.0.weight"], weight + 1.0)
