"""Checkpoints on disk, without pickle: tensors as safetensors, the rest as JSON.

A checkpoint is a folder that appears whole or not at all. The previous one is removed afterwards, so a killed process
or a full disk leaves the last good checkpoint.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from vitrine.atomic_write import atomic_folder, atomic_path, remove_leftovers
from vitrine.errors import TrainingImpossible

_STATE: Final = "state.json"
_TENSORS: Final = "tensors.safetensors"
_BEST: Final = "best.safetensors"
_PREFIX: Final = "checkpoint-"
_VERSION: Final = 2
# Prefixes of tensor names in version 1.
_OLD_PREFIXES: Final = {
    "subject/terms.": "model/losses.",
    "subject/": "model/",
    "average/terms.": "ema/losses.",
    "average/": "ema/",
    "unlabelled/said": "unlabelled/mean",
    "terms.": "losses.",
}

Tensors = dict[str, torch.Tensor]


class CheckpointFolder:
    """The folder of one run: its newest checkpoint and the best weights so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, number: int, tensors: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> None:
        """Store a checkpoint; `number` must grow. If the disk is full, the previous checkpoint stays."""
        target = self.folder / f"{_PREFIX}{number:012d}"
        for unusable in (target, *self.folder.glob(f".{_PREFIX}*.tmp")):  # unreadable, or left by a killed process
            shutil.rmtree(unusable, ignore_errors=True)
        with atomic_folder(target) as temporary:
            save_file(_on_cpu(tensors), temporary / _TENSORS)
            (temporary / _STATE).write_text(json.dumps({**state, "version": _VERSION}), encoding="utf-8")
        for older in self._checkpoints()[:-1]:
            shutil.rmtree(older, ignore_errors=True)

    def load(self) -> tuple[Tensors, dict[str, Any]] | None:
        """The newest readable checkpoint, or None. Raises TrainingImpossible if a newer Vitrine wrote it."""
        for folder in reversed(self._checkpoints()):
            try:
                state: dict[str, Any] = json.loads((folder / _STATE).read_text(encoding="utf-8"))
                tensors = load_file(folder / _TENSORS)
            except (OSError, ValueError, SafetensorError):
                continue
            version = state.pop("version", 1)
            if version > _VERSION:
                raise TrainingImpossible(
                    f"the checkpoint in {self.folder.name} has version {version}, and this Vitrine reads {_VERSION} "
                    "and older: resume with the version that wrote it, or start a new job"
                )
            return _renamed(tensors), state
        return None

    def save_best(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Replace the best weights. If the disk is full, the previous ones stay."""
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self.folder / _BEST)
        with atomic_path(self.folder / _BEST) as temporary:
            save_file(_on_cpu(tensors), temporary)

    def load_best(self) -> Tensors:
        return _renamed(load_file(self.folder / _BEST))

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def remove_checkpoints(self) -> None:
        """Remove the checkpoints, and keep the best weights and whatever else is in the folder."""
        for folder in self._checkpoints():
            shutil.rmtree(folder, ignore_errors=True)

    def _checkpoints(self) -> list[Path]:
        return sorted(self.folder.glob(f"{_PREFIX}*"))


def flat_optimizer(optimizer: torch.optim.Optimizer) -> tuple[Tensors, dict[str, Any]]:
    """The state of an optimizer as tensors named `INDEX.NAME`, and the rest of it as JSON."""
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
    """The inverse of `flat_optimizer`. Fused kernels need moments with the memory format of their weights."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for key, value in (*tensors.items(), *rest["numbers"].items()):
        index, _, name = key.partition(".")
        weight = weights[int(index)]
        is_moment = isinstance(value, torch.Tensor) and value.shape == weight.shape
        state.setdefault(int(index), {})[name] = torch.empty_like(weight).copy_(value) if is_moment else value
    optimizer.load_state_dict({"state": state, "param_groups": rest["groups"]})


def prefixed(prefix: str, tensors: Mapping[str, torch.Tensor]) -> Tensors:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def unprefixed(prefix: str, tensors: Mapping[str, torch.Tensor]) -> Tensors:
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}/")}


def _renamed(tensors: Tensors) -> Tensors:
    """Tensors of any version under the names of the current one."""
    renamed: Tensors = {}
    for name, tensor in tensors.items():
        old = next((prefix for prefix in _OLD_PREFIXES if name.startswith(prefix)), "")
        renamed[_OLD_PREFIXES.get(old, "") + name[len(old) :]] = tensor
    return renamed


def _on_cpu(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Contiguous copies on the CPU, because safetensors refuses tensors that share memory."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
