"""The memory that a network needs, measured before it is built: the network runs on torch's meta device, which computes
only shapes. This takes a second or two and no memory.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vitrine.errors import VitrineError
from vitrine.releases import Architecture, Preprocessing
from vitrine.telemetry import get_logger
from vitrine.vision.backbones import build_architecture

# In training mode batch normalization needs more than one value per channel.
_TRAINED_PICTURES: Final = 2
# Assumed for a network that cannot run on the meta device. More than any network of the model table needs, in float32.
_ASSUMED_PASS_BYTES_PER_PIXEL: Final = 400
_ASSUMED_TRAINING_BYTES_PER_PIXEL: Final = 3_000


@dataclass(frozen=True, slots=True)
class NetworkCost:
    """Bytes in float32: the weights, the peak of a pass of one picture, and what each picture adds to a training pass.

    `raw_dim` is None if the network could not run.
    """

    weights_bytes: int
    pass_bytes: int
    training_bytes: int
    raw_dim: int | None


def network_cost(
    architecture: Architecture, rules: Preprocessing, *, freeze: Callable[[nn.Module], None] | None = None
) -> NetworkCost:
    """The cost of a network at the input size of `rules`.

    `freeze` puts a network into training mode and switches gradients off for frozen weights. Without it the training
    bytes are 0. Raises ParameterInvalid if timm cannot build the network.
    """
    if freeze is None:
        return _pass_cost(architecture.model_dump_json(), rules.height_px, rules.width_px)
    return _cost(architecture, rules.height_px, rules.width_px, freeze)


@lru_cache(maxsize=16)
def _pass_cost(architecture: str, height_px: int, width_px: int) -> NetworkCost:
    return _cost(Architecture.model_validate_json(architecture), height_px, width_px, None)


def _cost(
    architecture: Architecture, height: int, width: int, freeze: Callable[[nn.Module], None] | None
) -> NetworkCost:
    network = _on_meta(architecture)
    if network is None:
        return _assumed(0, height * width, freeze is not None)
    parts = [*network.parameters(), *network.buffers()]
    weights_bytes = sum(part.numel() * part.element_size() for part in parts)
    try:
        network.eval()
        with torch.no_grad(), LiveBytes(parts) as live:
            features = network(_pictures(1, height, width))
        raw_dim = int(features.shape[1])
        training_bytes = 0
        if freeze is not None:
            freeze(network)
            with LiveBytes(parts) as trained:
                network(_pictures(_TRAINED_PICTURES, height, width)).sum().backward()
            gradients = sum(one.numel() * one.element_size() for one in network.parameters() if one.requires_grad)
            training_bytes = max(0, trained.peak - gradients) // _TRAINED_PICTURES
    except VitrineError:
        raise
    except Exception as error:  # anything that a network does with values
        get_logger("trainer").info("cost_assumed", network=architecture.timm_name, reason=f"{error}"[:200])
        return _assumed(weights_bytes, height * width, freeze is not None)
    return NetworkCost(weights_bytes, live.peak, training_bytes, raw_dim)


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own subclassing hook
    """Counts the bytes of live tensors that are created in the block. `peak` is their maximum."""

    def __init__(self, known: Iterable[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._live = 0
        self._known = {tensor.untyped_storage()._cdata for tensor in known}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(made):
            if isinstance(leaf, torch.Tensor):
                self._count(leaf.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._known:
            return
        self._known.add(key)
        size_bytes = storage.nbytes()
        self._live += size_bytes
        self.peak = max(self.peak, self._live)
        weakref.finalize(storage, self._drop, key, size_bytes)

    def _drop(self, key: int, size_bytes: int) -> None:
        self._known.discard(key)
        self._live -= size_bytes


def _on_meta(architecture: Architecture) -> nn.Module | None:
    try:
        with torch.device("meta"):
            return build_architecture(architecture)
    except VitrineError:
        raise
    except Exception as error:
        get_logger("trainer").info("cost_assumed", network=architecture.timm_name, reason=f"{error}"[:200])
        return None


def _pictures(count: int, height_px: int, width_px: int) -> torch.Tensor:
    return torch.empty(count, 3, height_px, width_px, device="meta")


def _assumed(weights_bytes: int, pixels: int, trained: bool) -> NetworkCost:
    training_bytes = _ASSUMED_TRAINING_BYTES_PER_PIXEL * pixels if trained else 0
    return NetworkCost(weights_bytes, _ASSUMED_PASS_BYTES_PER_PIXEL * pixels, training_bytes, None)
