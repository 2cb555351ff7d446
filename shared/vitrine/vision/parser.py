"""The parser: a network that finds the kind of garment at each point of a picture.

A timm backbone gives maps at strides 4, 8, 16 and 32. A light feature pyramid (Lin et al., CVPR 2017) joins them with
depthwise separable convolutions; the mean of the last map tells every point what the whole picture shows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import timm
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from vitrine.architectures import check_options, check_timm_name
from vitrine.errors import ParameterInvalid, ReleaseCorrupt
from vitrine.images.decode import DECODE_RULES_VERSION, SERVED_RULES_VERSIONS
from vitrine.releases import WEIGHTS_FILE, ParserManifest, Preprocessing, ReleaseStore
from vitrine.releases import ParserNetwork as NetworkSpec
from vitrine.types import Pixels, Vectors
from vitrine.vision.backbones import load_backbone, load_weights
from vitrine.vision.cpu_graph import prepare_for_cpu
from vitrine.vision.models import ModelEntry
from vitrine.vision.network import DeviceChoice, choose_device, passes_at_once
from vitrine.vision.preprocess import Normalise

# The class map has a point for each square of this many pixels of the input.
STRIDE: Final = 4
# timm's feature maps at strides 4, 8, 16 and 32.
LEVELS: Final = (1, 2, 3, 4)
_WHITE: Final = 255
_DROPPED: Final = 0.1  # share of the channels before the classifier, in training


class SeparableConv(nn.Sequential):
    """A depthwise and a pointwise convolution, each normalised, with an activation at the end."""

    def __init__(self, channels: int, *, kernel: int = 3) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )


class GarmentNetwork(nn.Module):
    """(N, 3, H, W) float32, normalised, H and W multiples of 32, in; logits (N, classes, H / 4, W / 4) out."""

    def __init__(self, spec: NetworkSpec, classes: int) -> None:
        """Has random weights. Raises ParameterInvalid if timm has no such backbone with these options and levels."""
        super().__init__()
        self.backbone = _backbone(spec)
        channels: list[int] = self.backbone.feature_info.channels()  # type: ignore[operator,union-attr]
        width = spec.channels
        self.lateral = nn.ModuleList(
            nn.Sequential(nn.Conv2d(count, width, 1, bias=False), nn.BatchNorm2d(width)) for count in channels
        )
        self.context = nn.Sequential(
            nn.Conv2d(channels[-1], width, 1), nn.ReLU(inplace=True), nn.Conv2d(width, width, 1)
        )
        self.top = SeparableConv(width, kernel=5)
        self.smooth = nn.ModuleList(SeparableConv(width) for _ in channels[:-1])
        self.fuse = SeparableConv(width)
        self.dropout = nn.Dropout2d(_DROPPED)
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        maps: list[torch.Tensor] = self.backbone(pixels)
        whole = self.context(maps[-1].mean(dim=(2, 3), keepdim=True))
        merged = self.top(functional.relu(self.lateral[-1](maps[-1]) + whole))
        for level in range(len(maps) - 2, -1, -1):
            beside = self.lateral[level](maps[level])
            above = functional.interpolate(merged, size=beside.shape[2:], mode="bilinear", align_corners=False)
            merged = self.smooth[level](functional.relu(beside + above))
        logits: torch.Tensor = self.classify(self.dropout(self.fuse(merged)))
        return logits


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Where a picture is in the network's input: its box in points of the class map."""

    left: int
    top: int
    width: int
    height: int

    @classmethod
    def of(cls, picture: tuple[int, int], height_px: int, width_px: int) -> Letterbox:
        """The box of a picture of this size (width, height): as large as fits, in the middle.

        Its sides are whole points of the class map, so that `part` needs no resampling.
        """
        columns, rows = width_px // STRIDE, height_px // STRIDE
        scale = min(columns / picture[0], rows / picture[1])
        width = min(columns, max(1, round(picture[0] * scale)))
        height = min(rows, max(1, round(picture[1] * scale)))
        return cls((columns - width) // 2, (rows - height) // 2, width, height)

    def part(self, maps: Vectors) -> Vectors:
        """The part (..., height, width) of maps (..., H / 4, W / 4) that shows the picture."""
        part: Vectors = maps[..., self.top : self.top + self.height, self.left : self.left + self.width]
        return part


def letterboxed(image: Image.Image, rules: Preprocessing) -> tuple[Pixels, Letterbox]:
    """The network's input (height_px, width_px, 3) uint8 of an upright RGB picture: all of it, padded with white."""
    box = Letterbox.of(image.size, rules.height_px, rules.width_px)
    size = (box.width * STRIDE, box.height * STRIDE)
    pixels = np.full((rules.height_px, rules.width_px, 3), _WHITE, dtype=np.uint8)
    top, left = box.top * STRIDE, box.left * STRIDE
    # The mean of the covered pixels keeps more detail than a wider kernel, and is the fastest.
    small = image.resize(size, Image.Resampling.BOX if image.width >= size[0] else Image.Resampling.BILINEAR)
    pixels[top : top + size[1], left : left + size[0]] = np.asarray(small)
    return pixels, box


class Parser:
    """A parser on one device. `passes_at_once` threads may run it."""

    def __init__(
        self, network: nn.Module, manifest: ParserManifest, *, choice: DeviceChoice, fused: bool = True
    ) -> None:
        """Without `fused` a CPU runs the plain network, which is faster for few pictures: fusing takes seconds."""
        self._rules = rules = manifest.preprocessing
        self.classes = manifest.classes
        self.height_px, self.width_px = rules.height_px, rules.width_px
        # JPEGs need not be decoded with a longer short side than this.
        self.decode_px = min(self.height_px, self.width_px)
        self.choice = choice
        self.passes_at_once = passes_at_once(choice)
        on_cpu = choice.device.type == "cpu"
        dtype = torch.float32 if on_cpu else choice.dtype
        self._normalise = Normalise(rules, dtype=dtype).to(choice.device)
        plain = network.eval().to(choice.device, dtype).to(memory_format=torch.channels_last)
        self._forward = plain
        self._one_by_one = on_cpu and fused
        if self._one_by_one:
            # A batch is not faster than its pictures one by one, and each size compiles for seconds, while somebody
            # waits for the first garments.
            self._forward = prepare_for_cpu(plain, choice.dtype, self._noise, sizes=(1,))
        tensors = [*network.parameters(), *network.buffers()]
        self.size_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def fit(self, image: Image.Image) -> tuple[Pixels, Letterbox]:
        """`letterboxed` by the rules of the release."""
        return letterboxed(image, self._rules)

    def submit(self, pixels: Pixels) -> torch.Tensor:
        """Start a batch: (N, H, W, 3) uint8 in, probabilities (N, classes, H / 4, W / 4) float32 on the device out.

        On a GPU they are not computed yet; moving them to the CPU waits.
        """
        with torch.inference_mode():
            batch = torch.from_numpy(pixels)
            if self.choice.device.type == "cuda":
                batch = batch.pin_memory().to(self.choice.device, non_blocking=True)
            given = self._normalise(batch)
            parts = given.split(1) if self._one_by_one else (given,)
            logits = torch.cat([self._forward(part) for part in parts])
            return logits.float().softmax(dim=1)

    def probabilities(self, pixels: Pixels) -> Vectors:
        """The probabilities (N, classes, H / 4, W / 4) float32 of a batch (N, H, W, 3) uint8."""
        found: Vectors = self.submit(pixels).cpu().numpy()
        return found

    def warm_up(self) -> None:
        """Compile what the first picture would."""
        self.submit(np.zeros((1, self.height_px, self.width_px, 3), dtype=np.uint8))

    def _noise(self, count: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(
            0, 256, (count, self.height_px, self.width_px, 3), dtype=torch.uint8, generator=generator
        )
        with torch.no_grad():
            batch: torch.Tensor = self._normalise(pixels)
            return batch


def load_parser(
    store: ReleaseStore, release_id: str, *, choice: DeviceChoice | None = None, fused: bool = True
) -> Parser:
    """Load a stored parser. Raises ReleaseNotFound, ReleaseOfOtherKind, ReleaseCorrupt, WeightsUnusable."""
    manifest = store.parser_manifest(release_id)
    network = restore_network(manifest, store.local_folder(release_id) / WEIGHTS_FILE)
    return Parser(network, manifest, choice=choice or choose_device(), fused=fused)


def restore_network(manifest: ParserManifest, weights: Path) -> GarmentNetwork:
    """The network of a parser, in eval mode, with its weights. Raises ReleaseCorrupt, WeightsUnusable."""
    rules = manifest.preprocessing
    if rules.decode_rules_version not in SERVED_RULES_VERSIONS:
        raise ReleaseCorrupt(
            f"the parser was made with decode rules {rules.decode_rules_version}, but this Vitrine has "
            f"{DECODE_RULES_VERSION}: train it again"
        )
    try:
        network = GarmentNetwork(manifest.network, len(manifest.classes))
    except ParameterInvalid as error:
        raise ReleaseCorrupt(f"the network of the parser cannot be built: {error.detail}") from error
    deepest = 2 ** (max(manifest.network.levels) + 1)
    if rules.height_px % deepest or rules.width_px % deepest:
        raise ReleaseCorrupt(f"the input of the parser must be a multiple of {deepest} pixels high and wide")
    load_weights(network, weights)
    return network.eval()


def load_backbone_weights(network: GarmentNetwork, spec: NetworkSpec, weights: str) -> str | None:
    """Give the backbone its initial weights, and return the hash of their file.

    `weights` is `pretrained` (timm's, downloaded), `seed:N` (random, reproducible) or the path of a safetensors file;
    for the first two the hash is None. Raises ParameterInvalid, WeightsUnusable.
    """
    entry = ModelEntry(name="parser", timm=spec.timm_name)
    loaded = load_backbone(entry, weights=weights, options=spec.options)
    # The layers behind the last map have no place here.
    wanted, stored = network.backbone.state_dict(), loaded.network.state_dict()
    missing = [name for name in wanted if name not in stored]
    if missing:
        raise ParameterInvalid(
            f"the maps of {spec.timm_name} name their weights differently ({missing[0]}): choose a backbone whose "
            "weights keep their names"
        )
    network.backbone.load_state_dict({name: stored[name] for name in wanted})
    return loaded.weights_source_sha256


def _backbone(spec: NetworkSpec) -> nn.Module:
    check_timm_name(spec.timm_name)
    check_options(spec.options)
    arguments: dict[str, Any] = dict(spec.options)
    try:
        backbone: nn.Module = timm.create_model(
            spec.timm_name, pretrained=False, features_only=True, out_indices=spec.levels, **arguments
        )
        reductions: list[int] = backbone.feature_info.reduction()  # type: ignore[operator,union-attr]
    except (TypeError, ValueError, KeyError, RuntimeError, AttributeError, IndexError, AssertionError) as error:
        raise ParameterInvalid(
            f"timm cannot build the maps {list(spec.levels)} of {spec.timm_name} with the options "
            f"{dict(spec.options)}: {error}"
        ) from error
    if reductions[0] != STRIDE:
        raise ParameterInvalid(
            f"the first map of {spec.timm_name} has stride {reductions[0]}: choose levels whose first has {STRIDE}"
        )
    return backbone
