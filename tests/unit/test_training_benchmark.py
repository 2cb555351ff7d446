"""What the training benchmark measures."""

from __future__ import annotations

import pytest
import torch

from benchmarks.training import WARM_UP_STEPS, Enough, Stopwatch, figures

BATCH = 16


def test_validation_and_checkpoints_between_two_epochs_are_not_counted() -> None:
    now = [0.0]
    stopwatch = Stopwatch(9.5, torch.device("cpu"), clock=lambda: now[0])

    def train(steps: range) -> None:
        for step in steps:
            now[0] += 1.0
            stopwatch.step(step * BATCH)

    train(range(1, WARM_UP_STEPS + 5))
    for _ in range(3):  # steps of validation report the same number of images
        now[0] += 100.0
        stopwatch.step((WARM_UP_STEPS + 4) * BATCH)
    now[0] += 1000.0
    stopwatch.saved()
    with pytest.raises(Enough):
        train(range(WARM_UP_STEPS + 5, 100))
    assert now[0] == WARM_UP_STEPS + 10 + 300 + 1000
    assert stopwatch.rate == BATCH


def test_the_share_is_computed_from_the_exact_rates_of_each_round() -> None:
    assert figures([9.54], [1.04]) == ("9.5", "1.0", "9.17"), "9.50 by the rounded ones"
    assert figures([100.0, 90.0, 50.0], [200.0, 100.0, 50.0]) == ("90.0", "100.0", "0.90"), "each of its own round"
