"""Checkpoints: whole or not there, and an optimiser that comes back as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from trainer.training.checkpoint import CheckpointFolder, flat_optimizer, restore_optimizer


def test_the_newest_checkpoint_is_loaded_and_older_ones_are_gone(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path / "run")
    assert folder.load() is None
    for number in (1, 2, 10):
        folder.save(number, {"x": torch.tensor([float(number)])}, {"number": number})
    loaded = folder.load()
    assert loaded is not None
    assert loaded[0]["x"].item() == 10
    assert loaded[1] == {"number": 10}
    assert len(list((tmp_path / "run").iterdir())) == 1


def test_a_checkpoint_that_was_cut_off_does_not_count(tmp_path: Path) -> None:
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
def test_an_optimiser_goes_on_as_if_it_had_not_been_stored(
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


def test_a_fused_optimiser_goes_on_the_same_with_weights_that_lie_otherwise_in_memory() -> None:
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


def test_a_full_disk_leaves_the_checkpoint_before(small_disk: Path) -> None:
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
