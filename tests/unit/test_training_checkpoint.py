"""Checkpoints are stored completely or not at all, and an optimizer is restored exactly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from trainer.training.checkpoint import CheckpointFolder, flat_optimizer, restore_optimizer
from vitrine.errors import TrainingImpossible


def test_the_newest_checkpoint_is_loaded_and_older_ones_are_removed(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "run")
    assert folder.load() is None
    for number in (1, 2, 10):
        folder.save(number, {"x": torch.tensor([float(number)])}, {"number": number})
    loaded = folder.load()
    assert loaded is not None
    assert loaded[0]["x"].item() == 10
    assert loaded[1] == {"number": 10}
    assert len(list((tmp_path / "run").iterdir())) == 1


def test_an_incomplete_checkpoint_is_ignored(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    folder.save(1, {"x": torch.ones(1)}, {"number": 1})
    broken = tmp_path / "checkpoint-000000000002"
    broken.mkdir()
    (broken / "state.json").write_text('{"number"')
    loaded = folder.load()
    assert loaded is not None
    assert loaded[1] == {"number": 1}


def adamw(network: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(network.parameters(), lr=0.1)


def sgd(network: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)


@pytest.mark.parametrize("make", [adamw, sgd])
def test_a_restored_optimizer_continues_exactly(
    make: Callable[[nn.Module], torch.optim.Optimizer],
) -> None:
    def steps(network: nn.Module, optimizer: torch.optim.Optimizer, count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            network(torch.ones(1, 3)).square().sum().backward()
            optimizer.step()

    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    optimizer = make(network)
    steps(network, optimizer, 3)
    tensors, rest = flat_optimizer(optimizer)
    copied = nn.Linear(3, 2)
    copied.load_state_dict(network.state_dict())
    other = make(copied)
    restore_optimizer(other, {name: tensor.clone() for name, tensor in tensors.items()}, rest)
    steps(network, optimizer, 2)
    steps(copied, other, 2)
    assert torch.equal(network.weight, copied.weight)


def test_a_restored_fused_optimizer_continues_exactly_with_another_memory_format() -> None:
    torch.manual_seed(0)
    network = nn.Conv2d(8, 16, 3).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, fused=True)
    pictures = torch.randn(4, 8, 9, 9).to(memory_format=torch.channels_last)

    def step(one: nn.Module, its: torch.optim.Optimizer) -> None:
        its.zero_grad()
        one(pictures).square().mean().backward()
        its.step()

    step(network, optimizer)
    copied = nn.Conv2d(8, 16, 3).to(memory_format=torch.channels_last)
    copied.load_state_dict(network.state_dict())
    other = torch.optim.AdamW(copied.parameters(), lr=0.1, fused=True)
    tensors, rest = flat_optimizer(optimizer)
    restore_optimizer(other, {name: tensor.clone().contiguous() for name, tensor in tensors.items()}, rest)
    for _ in range(2):
        step(network, optimizer)
        step(copied, other)
    assert torch.equal(network.weight, copied.weight)


def test_a_full_disk_leaves_the_previous_checkpoint(small_disk: Path) -> None:
    folder = CheckpointFolder(small_disk / "run")
    folder.save(1, {"x": torch.ones(10_000)}, {"number": 1})
    with pytest.raises(SafetensorError, match="No space left"):
        folder.save(2, {"x": torch.ones(1_000_000)}, {"number": 2})
    with pytest.raises(SafetensorError, match="No space left"):
        folder.save_best({"x": torch.ones(1_000_000)})
    loaded = folder.load()
    assert loaded is not None
    assert loaded[1] == {"number": 1}
    assert [path.name for path in (small_disk / "run").iterdir()] == ["checkpoint-000000000001"]


def test_tensors_of_version_1_get_their_new_names(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    names = ("subject/backbone.terms.x", "subject/terms.0.W", "average/backbone.x", "average/terms.0.W",
             "optimizer/0.step", "unlabelled/said", "rng")  # fmt: skip
    folder.save(1, {name: torch.ones(1) for name in names}, {})
    (state,) = tmp_path.glob("checkpoint-*/state.json")
    state.write_text('{"number": 1}')
    loaded = folder.load()
    assert loaded is not None
    assert loaded[1] == {"number": 1}
    assert set(loaded[0]) == {
        "model/backbone.terms.x", "model/losses.0.W", "ema/backbone.x", "ema/losses.0.W", "optimizer/0.step",
        "unlabelled/mean", "rng",
    }  # fmt: skip
    folder.save_best({"terms.0.W": torch.ones(1), "backbone.x": torch.ones(1)})
    assert set(folder.load_best()) == {"losses.0.W", "backbone.x"}


def test_a_checkpoint_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    folder.save(1, {"x": torch.ones(1)}, {})
    (state,) = tmp_path.glob("checkpoint-*/state.json")
    state.write_text('{"version": 99}')
    with pytest.raises(TrainingImpossible, match="version 99"):
        folder.load()
