"""State of the training loop beside the weights: running metrics, TrainState, and the moving average."""

from __future__ import annotations

import math

import pytest
import torch
from timm.utils.model_ema import ModelEmaV3
from torch import nn

from harness.releases import TINY_MODEL
from trainer.data.dataset import UNKNOWN
from trainer.training.model import TrainingModel
from trainer.training.state import RunningMetrics, TrainState
from vitrine.vision.models import model_entry, resolve_options


def test_running_metrics_count_correct_scores_of_known_classes() -> None:
    metrics, state = RunningMetrics(), TrainState()
    scores = torch.tensor([[2.0, 1.0], [0.0, 3.0], [5.0, 1.0], [1.0, 0.0]])
    metrics.update(torch.tensor(0.5), scores, torch.tensor([0, 0, UNKNOWN, 0]))
    metrics.update(torch.tensor(2.0), None, torch.tensor([1, 1]))
    assert metrics.flush(state) == pytest.approx(0.5 * 4 + 2.0 * 2)
    assert (state.loss_sum, state.counted, state.correct, state.scored) == (6.0, 6, 2, 3)
    assert metrics.flush(state) == 0.0
    assert state.counted == 6, "sums are moved once"


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_one_loss_that_is_not_finite_makes_the_sum_not_finite(loss: float) -> None:
    metrics = RunningMetrics()
    for value in (0.1, loss, 0.2):
        metrics.update(torch.tensor(value), None, torch.tensor([0]))
    assert not math.isfinite(metrics.flush(TrainState()))


def test_a_state_of_version_1_is_read() -> None:
    state = TrainState(epoch=1, images=64, correct=3, counted=64, epochs_without_gain=2)
    stored = state.as_json()
    renamed = {"images": "pictures", "correct": "right", "counted": "seen", "epochs_without_gain": "stale"}
    for new, old in renamed.items():
        stored[old] = stored.pop(new)
    assert TrainState.from_json(stored) == state


def small_model() -> TrainingModel:
    rules = resolve_options(model_entry(TINY_MODEL), {}).preprocessing
    return TrainingModel(nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)), rules, [], [])


def test_the_moving_average_covers_weights_and_statistics() -> None:
    model = small_model()
    ema = ModelEmaV3(model, decay=0.75)
    state = ema.module.state_dict()
    start = state["backbone.0.weight"].clone()
    with torch.no_grad():
        model.backbone[0].weight += 1.0  # type: ignore[index]
        model.backbone[1].running_mean += 4.0  # type: ignore[index]
    ema.update(model)
    assert torch.allclose(state["backbone.0.weight"], start + 0.25)
    assert torch.allclose(state["backbone.1.running_mean"], torch.full((2,), 1.0))
    ema.update(model)
    assert torch.allclose(state["backbone.0.weight"], start + 0.4375)


def test_a_restored_moving_average_continues() -> None:
    model = small_model()
    ema = ModelEmaV3(model, decay=0.5)
    stored = {name: tensor.clone() for name, tensor in ema.module.state_dict().items()}
    ema.module.load_state_dict({name: one + 2.0 if one.is_floating_point() else one for name, one in stored.items()})
    ema.update(model)
    weight = model.state_dict()["backbone.0.weight"]
    assert torch.allclose(ema.module.state_dict()["backbone.0.weight"], weight + 1.0)
