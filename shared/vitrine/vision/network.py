"""A release on a device: pixels in, features and vectors out. The forward pass is prepared for the device once, when
the release is loaded: half precision where the hardware has it, channels-last memory, and on a CPU the traced graph
with its convolutions, normalisations and activations fused (docs/decisions/0007-cpu-graph.md).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from vitrine.errors import WeightsUnusable
from vitrine.releases import PROJECTION_FILE, WEIGHTS_FILE, Manifest, Preprocessing
from vitrine.telemetry import get_logger
from vitrine.vision.backbones import restore_backbone
from vitrine.vision.preprocess import Normalise, Pixels
from vitrine.vision.projection import Projection, ProjectionArrays

Precision = Literal["auto", "float32", "bfloat16"]
Vectors = npt.NDArray[np.float32]
# How far the prepared graph may be from the plain one, as cosine distance, before the plain one is used.
_GRAPH_TOLERANCE: Final = 1e-3
_PROBE_BATCHES: Final = (1, 3)


@dataclass(frozen=True, slots=True)
class DeviceChoice:
    """The device that computes and the precision it computes convolutions in."""

    device: torch.device
    dtype: torch.dtype


def choose_device(device: str = "auto", precision: Precision = "auto") -> DeviceChoice:
    """CUDA where there is one, unless named otherwise; bfloat16 where the hardware multiplies it, float32 elsewhere."""
    name = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    chosen = torch.device(name)
    if precision != "auto":
        return DeviceChoice(chosen, torch.float32 if precision == "float32" else torch.bfloat16)
    if chosen.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return DeviceChoice(chosen, torch.bfloat16 if fast else torch.float32)


class ReleaseNetwork:
    """Normalisation, backbone and, where given, projection, on one device. One thread at a time may run it."""

    def __init__(
        self,
        backbone: nn.Module,
        rules: Preprocessing,
        *,
        projection: ProjectionArrays | None,
        choice: DeviceChoice,
    ) -> None:
        self.choice = choice
        self._rules = rules
        self._normalise = Normalise(rules, dtype=choice.dtype).to(choice.device)
        plain = backbone.eval().to(choice.device, choice.dtype).to(memory_format=torch.channels_last)
        with torch.inference_mode():
            raw_dim = int(plain(self._normalise(self._zeros(1))).shape[1])
        self.raw_dim = raw_dim
        self.dim = raw_dim if projection is None else projection.components.shape[0]
        if projection is not None and projection.components.shape[1] != raw_dim:
            raise WeightsUnusable(
                f"the projection is of {projection.components.shape[1]} raw components, the network gives {raw_dim}"
            )
        self._projection = None if projection is None else Projection(projection).to(choice.device)
        self._forward: nn.Module = plain if choice.device.type != "cpu" else self._fused(plain)
        parameters = [*backbone.parameters(), *backbone.buffers()]
        self.size_bytes = sum(tensor.numel() * tensor.element_size() for tensor in parameters)

    def submit(self, pixels: Pixels) -> tuple[torch.Tensor, torch.Tensor]:
        """Start a batch: (N, S, S, 3) uint8 in, (features (N, raw_dim), vectors (N, dim)) float32 tensors out, which on
        a GPU are not computed yet; moving them to the CPU waits for them. Without a projection both are the features.
        """
        with torch.inference_mode():
            batch = torch.from_numpy(pixels)
            if self.choice.device.type == "cuda":
                batch = batch.pin_memory().to(self.choice.device, non_blocking=True)
            features: torch.Tensor = self._forward(self._normalise(batch)).float()
            return features, features if self._projection is None else self._projection(features)

    def features(self, pixels: Pixels) -> Vectors:
        """Raw features of a batch: (N, S, S, 3) uint8 in, (N, raw_dim) float32 out."""
        return np.asarray(self.submit(pixels)[0].cpu().numpy(), dtype=np.float32)

    def vectors(self, pixels: Pixels) -> Vectors:
        """Projected vectors of a batch: (N, S, S, 3) uint8 in, (N, dim) float32 of length 1 out."""
        return np.asarray(self.submit(pixels)[1].cpu().numpy(), dtype=np.float32)

    def _zeros(self, count: int) -> torch.Tensor:
        side = self._rules.input_px
        return torch.zeros(count, side, side, 3, dtype=torch.uint8, device=self.choice.device)

    def _fused(self, plain: nn.Module) -> nn.Module:
        """The traced and fused graph, or `plain` where the network cannot be traced or the two differ."""
        try:
            with warnings.catch_warnings(), torch.no_grad():
                # The tracer is deprecated in favour of a compiler that needs a C++ toolchain, which users lack.
                warnings.simplefilter("ignore")
                example = self._normalise(self._noise(2))
                traced = torch.jit.trace(plain, example, check_trace=False)  # type: ignore[no-untyped-call]
                fused: nn.Module = torch.jit.optimize_for_inference(traced.eval())
            worst = max(self._distance(plain, fused, count) for count in _PROBE_BATCHES)
        except Exception as error:  # whatever the tracer trips over, the plain network still works
            get_logger("vision").warning("graph_refusal", reason=f"{type(error).__name__}: {error}"[:300])
            return plain
        if not worst <= _GRAPH_TOLERANCE:
            get_logger("vision").warning("graph_refusal", reason="it differs from the network", distance=worst)
            return plain
        return fused

    def _distance(self, plain: nn.Module, fused: nn.Module, count: int) -> float:
        with torch.inference_mode():
            batch = self._normalise(self._noise(count))
            cosine = nn.functional.cosine_similarity(plain(batch).float(), fused(batch).float(), dim=1)
        return float(1.0 - cosine.min())

    def _noise(self, count: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        side = self._rules.input_px
        return torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8, generator=generator)


def load_release(folder: Path, manifest: Manifest, choice: DeviceChoice) -> ReleaseNetwork:
    """A stored release, ready to compute. Raises WeightsUnusable, ReleaseCorrupt."""
    return ReleaseNetwork(
        restore_backbone(manifest.architecture, folder / WEIGHTS_FILE),
        manifest.preprocessing,
        projection=ProjectionArrays.load(folder / PROJECTION_FILE),
        choice=choice,
    )
