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
from vitrine.vision.heads import Embedded

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


# Puts a network into training mode and switches gradients off for frozen weights.
Freeze = Callable[[nn.Module], None]
# The first modules of a backbone, whose maps are kept, and the rest, which is trained on these maps.
Divide = Callable[[nn.Module], tuple[nn.Module, nn.Module]]


def network_cost(
    architecture: Architecture, rules: Preprocessing, *, freeze: Freeze | None = None, divide: Divide | None = None
) -> NetworkCost:
    """The cost of a network at the input size of `rules`.

    Without `freeze` the training bytes are 0. With `divide` they are those of the rest. Raises ParameterInvalid if timm
    cannot build the network.
    """
    if freeze is None:
        return _pass_cost(architecture.model_dump_json(), rules.height_px, rules.width_px)
    size = (rules.height_px, rules.width_px)
    return cost_of(lambda: build_architecture(architecture), architecture.timm_name, size, freeze=freeze, divide=divide)


@lru_cache(maxsize=16)
def _pass_cost(architecture: str, height_px: int, width_px: int) -> NetworkCost:
    read = Architecture.model_validate_json(architecture)
    return cost_of(lambda: build_architecture(read), read.timm_name, (height_px, width_px))


def cost_of(
    build: Callable[[], nn.Module],
    name: str,
    size: tuple[int, int],
    *,
    freeze: Freeze | None = None,
    divide: Divide | None = None,
) -> NetworkCost:
    """The cost of the network that `build` makes, at an input of `size` (height, width); `name` is for the log."""
    height, width = size
    weights_bytes = 0
    try:
        with torch.device("meta"):
            network = build()
        parts = [*network.parameters(), *network.buffers()]
        weights_bytes = sum(part.numel() * part.element_size() for part in parts)
        # An embedding costs next to nothing, and needs what the meta device lacks: autocast.
        measured = network.backbone if isinstance(network, Embedded) else network
        assert isinstance(measured, nn.Module)
        measured.eval()
        with torch.no_grad(), LiveBytes(parts) as live:
            features = measured(_pictures(1, height, width))
        raw_dim = network.embedding.out_features if isinstance(network, Embedded) else int(features.shape[1])
        training_bytes = 0
        if freeze is not None:
            freeze(network)
            training_bytes = _training_bytes(measured, parts, _pictures(_TRAINED_PICTURES, height, width), divide)
    except VitrineError:
        raise
    except Exception as error:  # anything that a network does with values
        get_logger("trainer").info("cost_assumed", network=name, reason=f"{error}"[:200])
        return _assumed(weights_bytes, height * width, freeze is not None)
    return NetworkCost(weights_bytes, live.peak, training_bytes, raw_dim)


def _training_bytes(network: nn.Module, parts: list[torch.Tensor], given: torch.Tensor, divide: Divide | None) -> int:
    """What each picture adds to a training pass."""
    if divide is not None:
        first, network = divide(network)
        with torch.no_grad():
            given = first(given)
    with LiveBytes(parts) as trained:
        output = network(given)
        if output.requires_grad:
            output.sum().backward()
    gradients = sum(one.numel() * one.element_size() for one in network.parameters() if one.requires_grad)
    maps = given.numel() * given.element_size() if divide is not None else 0
    added_bytes: int = max(0, trained.peak + maps - gradients)
    return added_bytes // len(given)


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


def _pictures(count: int, height_px: int, width_px: int) -> torch.Tensor:
    return torch.empty(count, 3, height_px, width_px, device="meta")


def _assumed(weights_bytes: int, pixels: int, trained: bool) -> NetworkCost:
    training_bytes = _ASSUMED_TRAINING_BYTES_PER_PIXEL * pixels if trained else 0
    return NetworkCost(weights_bytes, _ASSUMED_PASS_BYTES_PER_PIXEL * pixels, training_bytes, None)
