"""The trainer's settings."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from vitrine.settings import WorkerSettings


class Settings(WorkerSettings):
    """Read from the environment. A 0 stands for a value that suits the device."""

    work_dir: Path = Field(default=Path(".vitrine/trainer"), description="Folder of checkpoints and caches")
    reports_dir: Path = Field(default=Path(".vitrine/reports"), description="Folder of the reports of evaluations")
    weights_dir: Path | None = Field(
        default=None, description="Folder of weights files that jobs may use, besides the catalogue roots"
    )
    trainer_device: str = Field(
        default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N"
    )
    trainer_devices: int = Field(default=1, ge=1, le=64, description="Devices of one training, with a process for each")
    trainer_precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="Precision of feature extraction; auto: bfloat16 if the hardware supports it"
    )
    trainer_batch: int = Field(
        default=0, ge=0, le=1024, description="Pictures in one pass of the device; 0: 4 on a CPU, 64 on a GPU"
    )
    trainer_chunk: int = Field(default=256, ge=1, description="Pictures between two checkpoints of a project job")
    trainer_max_memory_gib: float = Field(
        default=0.0, ge=0, description="Memory that one job may use, in GiB; 0: nine tenths of what is free"
    )
    trainer_checkpoint_s: float = Field(
        default=120.0, gt=0, description="Seconds between two checkpoints within an epoch"
    )
    trainer_pixels_gib: float = Field(
        default=20.0, gt=0, description="Size of the cache of decoded pictures in the work folder, in GiB"
    )
