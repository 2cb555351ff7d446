"""Backbones: timm's networks without their classifier, and their weights. Weights files are safetensors, which hold
numbers and no code.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import timm
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from vitrine.architectures import OptionValue, check_options, check_timm_name
from vitrine.errors import ParameterInvalid, ReleaseCorrupt, WeightsUnusable
from vitrine.releases import Architecture, file_sha256
from vitrine.safe_read import file_bytes
from vitrine.vision.heads import Pooling, extend
from vitrine.vision.models import Cut, ModelEntry

PRETRAINED: Final = "pretrained"
# 6 GB as float32.
MAX_PARAMETERS: Final = 1_500_000_000
_COUNTER: Final = "num_batches_tracked"  # of batch normalisation; files may lack it
_SEED: Final = re.compile(r"seed:(?P<seed>[0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A backbone in eval mode, its architecture, and the source of its weights."""

    network: nn.Module
    architecture: Architecture
    weights_source: str
    weights_source_sha256: str | None


class ConvolutionsMean(nn.Module):
    """The mean over the feature map of the convolutions: (N, 3, H, W) in, (N, channels) out."""

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = self.features(pixels)
        return maps.mean(dim=(2, 3))


def load_backbone(entry: ModelEntry, *, weights: str, options: Mapping[str, OptionValue]) -> Loaded:
    """Build a model's backbone with `weights`.

    `weights` is `pretrained` (timm's, downloaded), `seed:N` (random, reproducible) or the path of a safetensors file.
    A classifier in the file is ignored. Raises ParameterInvalid for options that timm does not accept, WeightsUnusable.
    """
    seeded = _SEED.fullmatch(weights)
    source_sha256 = None
    check_timm_name(entry.timm)
    check_options(options)
    path = Path(weights)
    from_file = weights != PRETRAINED and not seeded
    _check_size(entry.timm, options, stored_in=path if from_file else None)
    if weights == PRETRAINED:
        network = _pretrained(entry, options)
        source = f"pretrained:{entry.timm}"
    elif seeded:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(seeded["seed"]))
            network = _build(entry.timm, options, entry.cut)
        source = weights
    else:
        network = _build(entry.timm, options, entry.cut)
        load_weights(network, path)
        source = f"file:{path.name}"
        source_sha256 = file_sha256(path.resolve())
    network.eval()
    architecture = Architecture(
        timm_name=entry.timm, options=dict(options), cut=entry.cut, raw_dim=_raw_dim(network, entry.timm)
    )
    return Loaded(network, architecture, source, source_sha256)


def restore_backbone(architecture: Architecture, weights: Path) -> nn.Module:
    """The backbone of a release, in eval mode, with its weights. Raises ReleaseCorrupt, WeightsUnusable.

    A release may come from outside, so its manifest is validated again.
    """
    try:
        check_timm_name(architecture.timm_name)
        check_options(architecture.options)
        _check_size(architecture.timm_name, architecture.options, stored_in=weights)
        network = build_architecture(architecture)
    except ParameterInvalid as error:
        raise ReleaseCorrupt(f"the network of the release cannot be built: {error.detail}") from error
    load_weights(network, weights)
    return network.eval()


def build_architecture(architecture: Architecture) -> nn.Module:
    """A release's network with torch's initial weights. Raises ParameterInvalid if timm no longer has it."""
    network = _build(architecture.timm_name, architecture.options, architecture.cut)
    raw_dim = architecture.raw_dim
    if architecture.embedding is not None:
        raw_dim = _raw_dim(network, architecture.timm_name)
    return extend(network, raw_dim=raw_dim, pooling=architecture.pooling, embedding=architecture.embedding)


def extended(loaded: Loaded, *, pooling: Pooling | None, embedding: int | None, seed: int) -> Loaded:
    """Give a backbone another pooling or an embedding, initialised by `seed`. Raises ParameterInvalid."""
    if pooling is None and embedding is None:
        return loaded
    raw_dim = loaded.architecture.raw_dim
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = extend(loaded.network, raw_dim=raw_dim, pooling=pooling, embedding=embedding)
    changed = {"pooling": pooling, "embedding": embedding, "raw_dim": embedding or raw_dim}
    return replace(loaded, network=network.eval(), architecture=loaded.architecture.model_copy(update=changed))


def save_weights(network: nn.Module, path: Path, *, half: bool = False) -> None:
    """Write a network's weights and statistics as safetensors, with `half` the weights in half precision."""
    # Copied, because some tensors share memory, which safetensors refuses.
    state = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in network.state_dict().items()}
    if half:
        state = {name: tensor.half() if _is_weight(tensor) else tensor for name, tensor in state.items()}
    save_file(state, path)


def round_weights(network: nn.Module) -> None:
    """Round the weights in place to what `save_weights` stores with `half`."""
    with torch.no_grad():
        for parameter in network.parameters():
            if _is_weight(parameter):
                parameter.copy_(parameter.half())


def _is_weight(tensor: torch.Tensor) -> bool:
    """Whether it is the weight of a convolution or a linear layer, and not of a normalisation."""
    return tensor.dim() > 1 and tensor.is_floating_point()


def _check_size(timm_name: str, options: Mapping[str, OptionValue], *, stored_in: Path | None) -> None:
    """Raise WeightsUnusable if the network has more parameters than its weights file, or than the maximum.

    Checked on torch's meta device, before any memory is allocated.
    """
    most = MAX_PARAMETERS if stored_in is None else _stored_numbers(stored_in)
    with torch.device("meta"):
        outline = _build(timm_name, options, "pooled")
    count = sum(tensor.numel() for name, tensor in outline.state_dict().items() if not name.endswith(_COUNTER))
    if count <= most:
        return
    network = f"{timm_name} with the options {dict(options)} has {count} parameters"
    if stored_in is None:
        raise WeightsUnusable(f"{network}, of at most {most}: it is too large")
    raise WeightsUnusable(
        f"{network} and {stored_in.name!r} holds {most} numbers: they are of another network or other options"
    )


def _stored_numbers(path: Path) -> int:
    """The number of elements in a weights file, by its header. Raises WeightsUnusable."""
    with _reading(path), safe_open(path.resolve(), framework="pt") as stored:
        count: int = sum(math.prod(stored.get_slice(name).get_shape()) for name in stored.keys())  # noqa: SIM118 - no mapping
    if count > MAX_PARAMETERS:
        raise WeightsUnusable(f"{path.name!r} holds {count} numbers, of at most {MAX_PARAMETERS}")
    return count


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Check that `path` is a regular file, and turn errors of reading it into WeightsUnusable."""
    try:
        file_bytes(path.resolve())
        yield
    except FileNotFoundError as error:
        raise WeightsUnusable(f"there is no weights file {path.name!r}") from error
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsUnusable(f"{path.name!r} cannot be read as a safetensors file: {error}") from error


def _pretrained(entry: ModelEntry, options: Mapping[str, OptionValue]) -> nn.Module:
    try:
        return _build(entry.timm, options, entry.cut, pretrained=True)
    except ParameterInvalid:
        raise
    except Exception as error:  # the hub's client, the network and timm raise errors of their own
        raise WeightsUnusable(
            f"the pretrained weights of {entry.timm} cannot be downloaded ({type(error).__name__}): "
            "give this machine access to the hub, or a weights file"
        ) from error


def _build(timm_name: str, options: Mapping[str, OptionValue], cut: Cut, *, pretrained: bool = False) -> nn.Module:
    arguments: dict[str, Any] = dict(options)
    try:
        network: nn.Module = timm.create_model(timm_name, pretrained=pretrained, num_classes=0, **arguments)
    except (TypeError, ValueError, KeyError, RuntimeError, AttributeError) as error:
        if pretrained and not options:
            raise
        raise ParameterInvalid(f"timm cannot build {timm_name} with the options {dict(options)}: {error}") from error
    return _cut(network, timm_name, cut)


def _cut(network: nn.Module, timm_name: str, cut: Cut) -> nn.Module:
    if cut == "convolutions_mean":
        features = getattr(network, "features", None)
        if not isinstance(features, nn.Module):
            raise ParameterInvalid(f"{timm_name} has no convolution stack to take the mean of")
        return ConvolutionsMean(features)
    if cut == "pooled_before_last_activation":
        last_block = list(network.get_submodule("layer4").children())[-1]
        # A bottleneck adds the shortcut and then calls its last activation: act3, or act2 in a basic block.
        name = "act3" if hasattr(last_block, "act3") else "act2"
        setattr(last_block, name, nn.Identity())
    return network


def load_weights(network: nn.Module, path: Path) -> None:
    """Give a network the weights of a safetensors file; others in the file are ignored. Raises WeightsUnusable."""
    with _reading(path):
        stored = load_file(path.resolve())
    wanted = network.state_dict()
    missing = [name for name in wanted if name not in stored and not name.endswith(_COUNTER)]
    misfits = [name for name in wanted if name in stored and stored[name].shape != wanted[name].shape]
    if missing or misfits:
        wrong = f"lacks {missing[:3]}" if missing else f"has other shapes for {misfits[:3]}"
        raise WeightsUnusable(
            f"{path.name!r} does not fit the architecture: it {wrong} ({len(missing + misfits)} in all)"
        )
    network.load_state_dict({name: stored[name] for name in wanted if name in stored}, strict=False)


def _raw_dim(network: nn.Module, timm_name: str) -> int:
    """Components of the feature, by a forward pass of a small picture: timm's own number does not know `cut`."""
    side = 96
    network.eval()  # in training mode, batch normalisation fails for a single value
    with torch.inference_mode():
        try:
            features = network(torch.zeros(1, 3, side, side))
        except (RuntimeError, AssertionError):  # a network that takes one input size only
            size = timm.get_pretrained_cfg_value(timm_name, "input_size") or (3, 224, 224)
            features = network(torch.zeros(1, *size))
    if features.dim() != 2:
        raise ParameterInvalid(f"{timm_name} gives no single feature vector for a picture")
    return int(features.shape[1])
