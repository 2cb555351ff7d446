"""The state of a run on disk, without pickle: tensors as safetensors, numbers as JSON. A checkpoint is a folder that
appears whole; the one before it is removed only then, so that a kill or a full disk leaves the last good one.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

_STATE: Final = "state.json"
_TENSORS: Final = "tensors.safetensors"
_PREFIX: Final = "checkpoint-"

Tensors = dict[str, torch.Tensor]


class CheckpointFolder:
    """The folder of one run: its checkpoints, and the best weights so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, number: int, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> None:
        """Keep a checkpoint; `number` grows. Where there is no room the one before stands."""
        aside = self.folder / f".tmp-{number}"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        try:
            save_file(_detached(tensors), aside / _TENSORS)
            (aside / _STATE).write_text(json.dumps(state), encoding="utf-8")
            for path in (*aside.iterdir(), aside):
                _fsync(path)
            target = self.folder / f"{_PREFIX}{number:012d}"
            shutil.rmtree(target, ignore_errors=True)
            aside.rename(target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        for older in self._checkpoints()[:-1]:
            shutil.rmtree(older, ignore_errors=True)

    def load(self) -> tuple[Tensors, dict[str, Any]] | None:
        """The newest checkpoint that can be read, or None where there is none."""
        for folder in reversed(self._checkpoints()):
            try:
                state: dict[str, Any] = json.loads((folder / _STATE).read_text(encoding="utf-8"))
                return load_file(folder / _TENSORS), state
            except (OSError, ValueError, SafetensorError):
                continue
        return None

    def save_best(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Replace the best weights. Where there is no room those before stand."""
        self.folder.mkdir(parents=True, exist_ok=True)
        aside = self.folder / ".tmp-best"
        try:
            save_file(_detached(tensors), aside)
            _fsync(aside)
            aside.replace(self.folder / "best.safetensors")
        finally:
            aside.unlink(missing_ok=True)

    def load_best(self) -> Tensors:
        return load_file(self.folder / "best.safetensors")

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _checkpoints(self) -> list[Path]:
        return sorted(self.folder.glob(f"{_PREFIX}*"))


def flat_optimizer(optimizer: torch.optim.Optimizer) -> tuple[Tensors, dict[str, Any]]:
    """An optimiser's state as tensors under `INDEX.NAME`, and the rest of it as JSON."""
    state = optimizer.state_dict()
    tensors: Tensors = {}
    numbers: dict[str, Any] = {}
    for index, values in state["state"].items():
        for name, value in values.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{index}.{name}"] = value
            elif value is not None:
                numbers[f"{index}.{name}"] = value
    return tensors, {"numbers": numbers, "groups": state["param_groups"]}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors, rest: Mapping[str, Any]) -> None:
    """The inverse of `flat_optimizer`. Moments lie in memory as their weights do, which the fused kernels rely on."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for key, value in (*tensors.items(), *rest["numbers"].items()):
        index, _, name = key.partition(".")
        weight = weights[int(index)]
        alike = isinstance(value, torch.Tensor) and value.shape == weight.shape
        state.setdefault(int(index), {})[name] = torch.empty_like(weight).copy_(value) if alike else value
    optimizer.load_state_dict({"state": state, "param_groups": rest["groups"]})


def prefixed(prefix: str, tensors: Mapping[str, torch.Tensor]) -> Tensors:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def unprefixed(prefix: str, tensors: Mapping[str, torch.Tensor]) -> Tensors:
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}/")}


def _detached(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Copies on the CPU: some of a network's tensors share memory, which safetensors refuses."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
