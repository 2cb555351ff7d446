"""A release on a device: pixels in, features and vectors out.

When a release is loaded, its forward pass is prepared for the device: half precision if the hardware supports it,
channels-last memory, and on a CPU a fused graph (docs/decisions/0007-cpu-graph.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from vitrine.errors import WeightsUnusable
from vitrine.releases import PROJECTION_FILE, WEIGHTS_FILE, Manifest, Preprocessing
from vitrine.types import Pixels, Vectors
from vitrine.vision.backbones import restore_backbone
from vitrine.vision.cpu_graph import CORES, prepare_for_all_cores, prepare_for_cpu, unprepared
from vitrine.vision.pca import Projection, ProjectionArrays
from vitrine.vision.preprocess import Normalise

Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True, slots=True)
class DeviceChoice:
    """The device and the precision of its convolutions."""

    device: torch.device
    dtype: torch.dtype


def choose_device(device: str = "auto", precision: Precision = "auto") -> DeviceChoice:
    """`auto`: CUDA if there is a device, else the CPU; bfloat16 if the hardware multiplies it, else float32."""
    name = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    chosen = torch.device(name)
    if precision != "auto":
        return DeviceChoice(chosen, torch.float32 if precision == "float32" else torch.bfloat16)
    if chosen.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return DeviceChoice(chosen, torch.bfloat16 if fast else torch.float32)


def passes_at_once(choice: DeviceChoice) -> int:
    """The number of concurrent passes that use the device fully: one on a GPU, one for each core of a CPU."""
    return CORES if choice.device.type == "cpu" else 1


class ReleaseNetwork:
    """Normalisation, backbone and optional projection on one device. `passes_at_once` threads may run it.

    Without `fused` a CPU runs the plain network, which is faster for few pictures: fusing takes time.
    """

    def __init__(
        self,
        backbone: nn.Module,
        rules: Preprocessing,
        *,
        projection: ProjectionArrays | None,
        choice: DeviceChoice,
        fused: bool = True,
    ) -> None:
        self.choice = choice
        self.passes_at_once = passes_at_once(choice)
        self._rules = rules
        # The CPU's graph rounds inside; a GPU gets a network whose weights are rounded.
        on_cpu = choice.device.type == "cpu"
        dtype = torch.float32 if on_cpu else choice.dtype
        self._normalise = Normalise(rules, dtype=dtype).to(choice.device)
        plain = backbone.eval().to(choice.device, dtype).to(memory_format=torch.channels_last)
        with torch.inference_mode():
            raw_dim = int(plain(self._normalise(self._zeros(1))).shape[1])
        self.raw_dim = raw_dim
        self.dim = raw_dim if projection is None else projection.components.shape[0]
        if projection is not None and projection.components.shape[1] != raw_dim:
            raise WeightsUnusable(
                f"the projection has {projection.components.shape[1]} raw components, the network has {raw_dim}"
            )
        self._projection = None if projection is None else Projection(projection).to(choice.device)
        self._forward = plain
        self._divided = None
        if on_cpu:
            self._forward = (prepare_for_cpu if fused else unprepared)(plain, choice.dtype, self._noise)
            self._divided = prepare_for_all_cores(plain, self._forward, choice.dtype, self._noise)
        parameters = [*backbone.parameters(), *backbone.buffers()]
        self.size_bytes = sum(tensor.numel() * tensor.element_size() for tensor in parameters)

    def submit(self, pixels: Pixels, *, alone: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Start a batch: (N, H, W, 3) uint8 in, (features (N, raw_dim), vectors (N, dim)) float32 tensors out.

        On a GPU they are not computed yet; moving them to the CPU waits. Without a projection the vectors are the
        features. `alone`: nothing else runs, so a single picture may use all cores.
        """
        forward = self._divided if alone and self._divided is not None and len(pixels) == 1 else self._forward
        with torch.inference_mode():
            batch = torch.from_numpy(pixels)
            if self.choice.device.type == "cuda":
                batch = batch.pin_memory().to(self.choice.device, non_blocking=True)
            features: torch.Tensor = forward(self._normalise(batch)).float()
            return features, features if self._projection is None else self._projection(features)

    def features(self, pixels: Pixels) -> Vectors:
        """Raw features of a batch: (N, H, W, 3) uint8 in, (N, raw_dim) float32 out."""
        return np.asarray(self.submit(pixels)[0].cpu().numpy(), dtype=np.float32)

    def vectors(self, pixels: Pixels) -> Vectors:
        """Projected vectors of a batch: (N, H, W, 3) uint8 in, (N, dim) float32 of length 1 out."""
        return np.asarray(self.submit(pixels)[1].cpu().numpy(), dtype=np.float32)

    def warm_up(self, largest_batch: int) -> None:
        """On a CPU, run every batch size up to `largest_batch` once: the first pass of a size compiles."""
        if self.choice.device.type != "cpu":
            return
        for count in range(1, largest_batch + 1):
            self.submit(self._zeros(count).numpy())

    def _zeros(self, count: int) -> torch.Tensor:
        shape = (count, self._rules.height_px, self._rules.width_px, 3)
        return torch.zeros(shape, dtype=torch.uint8, device=self.choice.device)

    def _noise(self, count: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        shape = (count, self._rules.height_px, self._rules.width_px, 3)
        pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        with torch.no_grad():
            batch: torch.Tensor = self._normalise(pixels)
            return batch


def load_release(folder: Path, manifest: Manifest, choice: DeviceChoice) -> ReleaseNetwork:
    """Load a stored release. Raises WeightsUnusable, ReleaseCorrupt."""
    return ReleaseNetwork(
        restore_backbone(manifest.architecture, folder / WEIGHTS_FILE),
        manifest.preprocessing,
        projection=ProjectionArrays.load(folder / PROJECTION_FILE),
        choice=choice,
    )
