"""What the trainer reads from its environment, beyond the settings every service shares."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from vitrine.settings import WorkerSettings


class Settings(WorkerSettings):
    """The trainer's settings. A 0 means: what suits the device."""

    work_dir: Path = Field(
        default=Path(".vitrine/trainer"), description="Where a job keeps what a restart would otherwise do again"
    )
    reports_dir: Path = Field(default=Path(".vitrine/reports"), description="Where the reports of evaluations are kept")
    weights_dir: Path | None = Field(
        default=None, description="A folder of weights files that jobs may name, beside the catalogue roots"
    )
    trainer_device: str = Field(
        default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N"
    )
    trainer_devices: int = Field(
        default=1, ge=1, le=64, description="Devices that one training shares its batches among, a process each"
    )
    trainer_precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="Precision of feature extraction; auto: bfloat16 where the hardware multiplies it"
    )
    trainer_batch: int = Field(
        default=0, ge=0, le=1024, description="Pictures in one pass of the device; 0: 4 on a CPU, 64 on a GPU"
    )
    trainer_chunk: int = Field(
        default=256, ge=1, description="Pictures between two checkpoints, which a restart does not do again"
    )
    trainer_max_memory_gib: float = Field(
        default=0.0, ge=0, description="Memory that one job may take, in GiB; 0: nine tenths of what is free"
    )
    trainer_checkpoint_s: float = Field(
        default=120.0, gt=0, description="Seconds of training within an epoch after which its state is kept"
    )
    trainer_pixels_gib: float = Field(
        default=20.0, gt=0, description="Decoded pictures kept between trainings, in GiB below the work folder"
    )
