"""What the benchmark of training counts as training."""

from __future__ import annotations

import pytest
import torch

from benchmarks.training import WARM_UP_STEPS, Enough, Stopwatch

BATCH = 16


def test_validation_and_checkpoints_between_two_epochs_are_not_counted() -> None:
    now = [0.0]
    stopwatch = Stopwatch(9.5, torch.device("cpu"), clock=lambda: now[0])

    def train(steps: range) -> None:
        for step in steps:
            now[0] += 1.0
            stopwatch.step(step * BATCH)

    train(range(1, WARM_UP_STEPS + 5))
    for _ in range(3):  # a step of validation tells of no more pictures than there were
        now[0] += 100.0
        stopwatch.step((WARM_UP_STEPS + 4) * BATCH)
    now[0] += 1000.0
    stopwatch.saved()
    with pytest.raises(Enough):
        train(range(WARM_UP_STEPS + 5, 100))
    assert now[0] == WARM_UP_STEPS + 10 + 300 + 1000
    assert stopwatch.rate == BATCH
