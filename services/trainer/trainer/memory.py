"""Checks before a job starts that it fits into memory: the need of its network, passes and features against the limit.

A job that does not fit is refused, and the error names the option to change. If the trainer chooses the batch, it tries
smaller ones first. GPU memory is not estimated: a full GPU raises an error of its own and ends no other process.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trainer.network_cost import NetworkCost, network_cost
from trainer.settings import Settings
from vitrine.errors import JobTooLarge
from vitrine.recipes import OptimRecipe
from vitrine.releases import Architecture, Preprocessing
from vitrine.telemetry import get_logger
from vitrine.vision.cpu_graph import can_fuse
from vitrine.vision.network import DeviceChoice, passes_at_once

# The rest is left to the other processes of the machine.
_SHARE_OF_FREE: Final = 0.9
_CGROUP: Final = Path("/sys/fs/cgroup")
_MEMINFO: Final = Path("/proc/meminfo")
# The interpreter with torch and other libraries, the decoding of large pictures, and what the allocator keeps.
_BASE_BYTES: Final = 1_200 * 2**20
# Copies of a network that is prepared for a CPU: itself, that of the release, and the fused weights of two graphs.
_COPIES: Final = 4
# Temporary memory of kernels, relative to the tensors.
_PASS_FACTOR: Final = 2.5
_TRAINING_FACTOR: Final = 1.3
# A network that is prepared for a CPU is run fused, unfused and in two precisions, to compare the results.
_PREPARING_PASSES: Final = 14
# Weights, gradients, and the copies that a checkpoint is written from; then the moments of the optimizer with theirs.
_TRAINING_COPIES: Final = 4
_COPIES_PER_MOMENT: Final = 2
_MOMENTS: Final = {"adamw": 2, "sgd": 1}
_BATCHES_AHEAD: Final = 5
# uint8, and float32 while it is augmented.
_BYTES_PER_LOADED_VALUE: Final = 5
# Features as they are collected and joined, and in float64 for the fit, which copies them again.
_BYTES_PER_FEATURE: Final = 4 + 4 + 8 + 8
_GIB: Final = 2**30


def memory_limit_bytes(settings: Settings) -> int:
    """The memory that one job may use, including what this process holds already."""
    if settings.trainer_max_memory_gib:
        return int(settings.trainer_max_memory_gib * 2**30)
    return int(_SHARE_OF_FREE * free_bytes())


def free_bytes(*, meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> int:
    """Available memory of the machine, or of the control group if that is less."""
    return min(_free_on_machine(meminfo), _free_in_group(cgroup))


def _free_on_machine(meminfo: Path) -> int:
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]) * 1024
    except (OSError, StopIteration, ValueError):
        # Not Linux: half of the physical memory.
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _free_in_group(cgroup: Path) -> int:
    """Of the root control group that this process sees, version 2 or 1: that of its container."""
    for limit, used, statistics in (
        ("memory.max", "memory.current", "memory.stat"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
    ):
        try:
            limit_bytes = int((cgroup / limit).read_text(encoding="ascii"))
            used_bytes = int((cgroup / used).read_text(encoding="ascii"))
            fields = dict(line.split() for line in (cgroup / statistics).read_text(encoding="ascii").splitlines())
        except (OSError, ValueError):  # "max": no limit
            continue
        # The page cache is released when memory is needed.
        cached_bytes = int(fields.get("inactive_file", fields.get("total_inactive_file", 0)))
        return max(0, limit_bytes - used_bytes + cached_bytes)
    return 2**63 - 1


@dataclass(frozen=True, slots=True)
class _Need:
    """Bytes of a job by cause."""

    network: int
    passes: int
    features: int = 0

    @property
    def total(self) -> int:
        return _BASE_BYTES + self.network + self.passes + self.features


def admitted_batch(
    architecture: Architecture,
    rules: Preprocessing,
    settings: Settings,
    choice: DeviceChoice,
    *,
    wanted: int,
    at_once: int | None = None,
    features: int = 0,
) -> int:
    """The number of pictures in one pass: `wanted`, or fewer if VITRINE_TRAINER_BATCH is not set.

    `at_once` passes run in parallel, by default as many as keep the device busy. `features` is the number of pictures
    whose features are in memory together. Raises JobTooLarge.
    """
    cost = network_cost(architecture, rules)
    limit = memory_limit_bytes(settings)
    at_once = at_once or passes_at_once(choice)
    on_cpu = choice.device.type == "cpu"
    preparing = _PREPARING_PASSES if on_cpu and can_fuse() else 0
    batch = wanted
    while True:
        need = _Need(
            network=_COPIES * cost.weights_bytes,
            passes=int(max(_PASS_FACTOR * at_once * batch, preparing) * cost.pass_bytes) if on_cpu else 0,
            features=features * (cost.raw_dim or architecture.raw_dim) * _BYTES_PER_FEATURE,
        )
        if need.total <= limit:
            return batch
        if batch == 1 or settings.trainer_batch or _PASS_FACTOR * at_once * batch <= preparing:
            raise _too_large(need, limit, _extraction_option(need, limit, rules, settings.trainer_batch))
        batch //= 2
        get_logger("trainer").info("batch_lowered", pictures=batch, need_bytes=need.total, limit_bytes=limit)


def check_training(
    cost: NetworkCost,
    loaded: tuple[int, int],
    optim: OptimRecipe,
    settings: Settings,
    *,
    network_option: str,
    input_option: str,
) -> None:
    """Raise JobTooLarge if a training on the CPU does not fit.

    `loaded` is the height and width of the pictures that are loaded ahead, (0, 0) where none are. `network_option` and
    `input_option` name the network and the height of its input.
    """
    limit = memory_limit_bytes(settings)
    copies = _TRAINING_COPIES + _COPIES_PER_MOMENT * _MOMENTS[optim.optimizer] + (2 if optim.ema is not None else 0)
    one = int(_TRAINING_FACTOR * max(cost.training_bytes, cost.pass_bytes if any(loaded) else 0))
    one += _BATCHES_AHEAD * _BYTES_PER_LOADED_VALUE * 3 * loaded[0] * loaded[1]
    need = _Need(network=copies * cost.weights_bytes, passes=optim.batch * one)
    if need.total <= limit:
        return
    room = limit - _BASE_BYTES - need.network
    fits = max(0, room) // max(1, one)
    if room <= 0:
        option = f"choose a smaller network ({network_option})"
    elif fits >= 2:
        option = f"lower optim.batch, which is {optim.batch}, to {fits}, and raise optim.accumulate in its place"
    else:
        option = f"lower {input_option}, which is {loaded[0]}"
    raise _too_large(need, limit, option)


def _extraction_option(need: _Need, limit: int, rules: Preprocessing, settings_batch: int) -> str:
    """The option to change: that of the largest part."""
    if need.features >= max(need.network, need.passes):
        return "lower sample_max, the pictures that the projection is fitted on"
    if need.network >= need.passes:
        return "choose a smaller network (model)"
    room = max(0, limit - _BASE_BYTES - need.network - need.features)
    fitting_px = int((room / need.passes) ** 0.5 * rules.height_px) // 32 * 32
    if settings_batch > 1:
        return f"lower VITRINE_TRAINER_BATCH, which is {settings_batch}, or input_px, which is {rules.height_px}"
    return f"lower input_px, which is {rules.height_px}" + (f", to {fitting_px} or less" if fitting_px >= 32 else "")


def _too_large(need: _Need, limit: int, option: str) -> JobTooLarge:
    return JobTooLarge(
        f"the job would need about {need.total / _GIB:.1f} GiB of memory and may use {limit / _GIB:.1f} GiB "
        f"(what is free, or VITRINE_TRAINER_MAX_MEMORY_GIB): {option}"
    )
