"""Preparation of a network for a CPU: traced, fused by oneDNN's graph compiler, and optionally in half precision.

Half precision is autocast: weights stay float32, and batch normalisation is folded into them before they are rounded,
which halves the error compared to rounding all parameters first. A network that cannot be traced, or whose graph gives
other results, runs unfused (docs/decisions/0007-cpu-graph.md).
"""

from __future__ import annotations

import platform
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import torch
from torch import nn

from vitrine.telemetry import get_logger

# The cosine distance that fusing may add in float32; and the factor by which it may exceed that of the plain network's
# own half precision.
_TOLERANCE: Final = 1e-3
_HALF_PRECISION_SLACK: Final = 2.0
_BATCH_SIZES_FUSED: Final = 64
_COMPILING_PASSES: Final = 2
# A pass that takes one core less than this is not divided among all cores.
_WORTH_DIVIDING_S: Final = 0.010
_TIMED_PASSES: Final = 3
# Every core that this process may use, read before `on_cores` limits it.
CORES: Final = torch.get_num_threads()
# A graph is traced with the first of these batch sizes, and compared with the network at each.
PROBED_SIZES: Final = (2, 1, 3)
# Only PyTorch's builds for these processors have oneDNN's graph compiler.
_FUSING_MACHINES: Final = frozenset({"x86_64", "amd64"})


class Compiled(nn.Module):
    """A graph that several threads may run. Each pass uses `cores` cores.

    The first passes of a batch size compile the graph and run one at a time.
    """

    # The compiler sometimes fails if two threads use it at once, even for different networks.
    _compiling: Final = threading.Lock()

    def __init__(self, graph: nn.Module, *, cores: int) -> None:
        super().__init__()
        self.graph = graph
        self._cores = cores
        self._sizes: set[int] = set()

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) in, (N, raw_dim) out."""
        if len(batch) not in self._sizes:
            with self._compiling, on_cores(self._cores):
                for _ in range(_COMPILING_PASSES):
                    self.graph(batch)
            self._sizes.add(len(batch))
        features: torch.Tensor = self.graph(batch)
        return features


class Autocast(nn.Module):
    """A network whose convolutions and matrix products run in lower precision on a CPU."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.network = network
        self._dtype = dtype

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) float32 in, (N, raw_dim) in either precision out."""
        # Without the cache a trace records the rounding of each weight, so that freezing can do it once.
        with torch.autocast("cpu", self._dtype, cache_enabled=False):
            features: torch.Tensor = self.network(batch)
            return features


class FullPrecision(nn.Module):
    """A layer that runs in float32 inside a network in lower precision."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """The layer's output in float32."""
        with torch.autocast("cpu", enabled=False):
            given: torch.Tensor = self.layer(maps.float())
            return given


Noise = Callable[[int], torch.Tensor]


def prepare_for_cpu(
    network: nn.Module, dtype: torch.dtype, noise: Noise, *, sizes: Sequence[int] = PROBED_SIZES
) -> nn.Module:
    """The fused graph of `network` for one core, or the network itself if it cannot be traced or the graph differs.

    Two passes on one core each are faster than one pass on both, and suffer less from other processes. `network` is in
    evaluation mode and float32; `noise(n)` returns a normalised (n, 3, H, W) float32 batch. The first pass of each
    batch size takes longer, because it compiles; the graph is compared with the network at `sizes`. Processors other
    than x86-64 use the plain network.
    """
    if not can_fuse():
        return _plain(network, dtype)
    return _best_fused(network, dtype, noise, cores=1, sizes=sizes) or _plain(network, dtype)


def prepare_for_all_cores(network: nn.Module, on_one: nn.Module, dtype: torch.dtype, noise: Noise) -> nn.Module | None:
    """The graph for a single picture, whose pass all cores share; None if that is not faster.

    `on_one` is the result of `prepare_for_cpu` for `network`.
    """
    if CORES == 1 or not isinstance(on_one, Compiled):
        return None
    picture = noise(1)
    one_s = _took_s(on_one, picture)
    if one_s < _WORTH_DIVIDING_S:
        return None
    divided = _best_fused(network, dtype, noise, cores=CORES)
    return divided if divided is not None and _took_s(divided, picture) < one_s else None


def can_fuse() -> bool:
    """Whether PyTorch's build for this processor has the graph compiler."""
    return platform.machine().lower() in _FUSING_MACHINES


def unprepared(network: nn.Module, dtype: torch.dtype, _noise: Noise) -> nn.Module:
    """The unfused network in the given precision."""
    return _plain(network, dtype)


def _plain(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    return network if dtype == torch.float32 else Autocast(network, dtype)


def _best_fused(
    network: nn.Module, dtype: torch.dtype, noise: Noise, *, cores: int, sizes: Sequence[int] = PROBED_SIZES
) -> nn.Module | None:
    """The fastest graph that works, or None.

    Tried in order: the given precision; with the last convolution in float32, because the compiler fails on one after
    the pooling (MobileNetV4's head); float32, which fused is twice as fast as half precision unfused.
    """
    fused = _fused(network, dtype, noise, cores=cores, sizes=sizes)
    if fused is None and dtype != torch.float32:
        with _last_convolution_in_full(network):
            fused = _fused(network, dtype, noise, cores=cores, sizes=sizes)
        if fused is None:
            fused = _fused(network, torch.float32, noise, cores=cores, sizes=sizes)
    if fused is None:
        get_logger("vision").warning("graph_absence", effect="the network runs as it is, at a third of the speed")
    return fused


@contextmanager
def _last_convolution_in_full(network: nn.Module) -> Iterator[None]:
    name = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)][-1:]
    if not name:
        yield
        return
    path, _, own = name[0].rpartition(".")
    parent, layer = network.get_submodule(path), network.get_submodule(name[0])
    setattr(parent, own, FullPrecision(layer))
    try:
        yield
    finally:
        setattr(parent, own, layer)


def _fused(
    network: nn.Module, dtype: torch.dtype, noise: Noise, *, cores: int, sizes: Sequence[int]
) -> nn.Module | None:
    """The graph; None if it cannot be made or its results differ from the network's."""
    plain = _plain(network, dtype)
    allowed = _TOLERANCE
    try:
        fused = _fuse(plain, noise(sizes[0]), cores=cores)
        distance = max(_distance(network, fused, noise(count)) for count in sizes)
    except Exception as error:  # the tracer raises anything; the plain network still works
        get_logger("vision").info("graph_refusal", reason=f"{type(error).__name__}: {error}"[:300])
        return None
    if plain is not network:
        allowed = max(allowed, _HALF_PRECISION_SLACK * _distance(network, plain, noise(max(sizes))))
    if not distance <= allowed:
        get_logger("vision").info(
            "graph_refusal", reason="it differs from the network", distance=distance, allowed=allowed
        )
        return None
    return fused


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """Graphs that are compiled in this block run on `count` threads, whichever thread calls them later."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _took_s(network: nn.Module, batch: torch.Tensor) -> float:
    """The shortest of a few passes, after one that compiles."""
    took_s = []
    with torch.inference_mode():
        network(batch)
        for _ in range(_TIMED_PASSES):
            started_s = time.perf_counter()
            network(batch)
            took_s.append(time.perf_counter() - started_s)
    return min(took_s)


def _fuse(network: nn.Module, example: torch.Tensor, *, cores: int) -> nn.Module:
    with warnings.catch_warnings(), torch.no_grad():
        # The tracer is deprecated, but its successor needs a C++ toolchain, which users do not have.
        warnings.simplefilter("ignore")
        torch.jit.enable_onednn_fusion(True)
        # By default the executor stops fusing after a dozen batch sizes, and further ones run at half the speed.
        torch.jit.set_fusion_strategy([("DYNAMIC", _BATCH_SIZES_FUSED)])
        traced = torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call]
        return Compiled(torch.jit.freeze(traced.eval()), cores=cores)


def _distance(expected: nn.Module, found: nn.Module, batch: torch.Tensor) -> float:
    """The largest cosine distance between the features of two networks; NaN if a feature is not finite."""
    with torch.inference_mode():
        cosine = nn.functional.cosine_similarity(expected(batch).float(), found(batch).float(), dim=1)
    return float(1.0 - cosine.min())
