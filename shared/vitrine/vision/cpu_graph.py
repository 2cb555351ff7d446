"""A network prepared for a CPU: in half precision where it is asked for, traced, fused by oneDNN's graph compiler.

Half precision is autocast: weights stay float32 and batch normalisation is folded into them before they are rounded,
which leaves half the error of a network whose parameters are all rounded first. What cannot be traced, or comes out
different, runs as it is (docs/decisions/0007-cpu-graph.md).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Final

import torch
from torch import nn

from vitrine.telemetry import get_logger

# Cosine distance that fusing may add to float32, and how much further from it than the plain network's own half
# precision the fused one may be.
_TOLERANCE: Final = 1e-3
_HALF_PRECISION_SLACK: Final = 2.0
_TRACED_BATCH: Final = 2
# The executor watches the first runs, and compiles in the ones that follow.
_PROBE_BATCHES: Final = (_TRACED_BATCH, _TRACED_BATCH, 1, 3)


class Autocast(nn.Module):
    """A network whose convolutions and matrix products are computed in a smaller precision, on a CPU."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = network
        self._dtype = dtype

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) float32 in, (N, raw_dim) in either precision out."""
        # Nothing is cached: a trace must see each weight being rounded, so that freezing can do it once.
        with torch.autocast("cpu", self._dtype, cache_enabled=False):
            features: torch.Tensor = self.network(batch)
            return features


def prepare_for_cpu(network: nn.Module, dtype: torch.dtype, noise: Callable[[int], torch.Tensor]) -> nn.Module:
    """The fused graph of `network`, or the network itself where it cannot be traced or the two differ.

    `network` is in evaluation mode and float32; `noise` makes a normalised (n, 3, S, S) float32 batch. The first pass
    of each new batch size takes longer, because the compiler works for a shape.
    """
    plain = network if dtype == torch.float32 else Autocast(network, dtype)
    try:
        fused = _fuse(plain, noise(_TRACED_BATCH))
        distance = max(_distance(network, fused, noise(count)) for count in _PROBE_BATCHES)
    except Exception as error:  # whatever the tracer trips over, the plain network still works
        get_logger("vision").warning("graph_refusal", reason=f"{type(error).__name__}: {error}"[:300])
        return plain
    allowed = _TOLERANCE
    if plain is not network:
        allowed = max(allowed, _HALF_PRECISION_SLACK * _distance(network, plain, noise(max(_PROBE_BATCHES))))
    if not distance <= allowed:
        get_logger("vision").warning(
            "graph_refusal", reason="it differs from the network", distance=distance, allowed=allowed
        )
        return plain
    return fused


def _fuse(network: nn.Module, example: torch.Tensor) -> nn.Module:
    with warnings.catch_warnings(), torch.no_grad():
        # The tracer is deprecated in favour of a compiler that needs a C++ toolchain, which users lack.
        warnings.simplefilter("ignore")
        torch.jit.enable_onednn_fusion(True)
        traced = torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call]
        frozen: nn.Module = torch.jit.freeze(traced.eval())
        return frozen


def _distance(expected: nn.Module, found: nn.Module, batch: torch.Tensor) -> float:
    """The worst cosine distance between the features of two networks; NaN where either is not finite."""
    with torch.inference_mode():
        cosine = nn.functional.cosine_similarity(expected(batch).float(), found(batch).float(), dim=1)
    return float(1.0 - cosine.min())
