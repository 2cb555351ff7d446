"""The two servers of the same release: the embedder, and LitServe where it is installed."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from benchmarks.embedder_parts.prepared import Stored
from benchmarks.embedder_parts.processes import served

LITSERVE_ORDER: Final = "BENCHMARK_LITSERVE"
LITSERVE_PORT: Final = "BENCHMARK_LITSERVE_PORT"
LITSERVE_PATH: Final = "/predict"


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to set LitServe up."""

    max_batch: int
    timeout_ms: float
    fast_queue: bool
    workers: int = 1

    def __str__(self) -> str:
        queue = "ZeroMQ" if self.fast_queue else "multiprocessing"
        return f"{self.workers} worker(s), batch {self.max_batch}, {self.timeout_ms:g} ms, {queue} queue"


# A pass takes one core of a CPU, so LitServe is given a worker for each, too.
_CORES: Final = os.cpu_count() or 1
SETTINGS_ON_CPU: Final = (
    Setting(4, 2, False, _CORES),
    Setting(8, 10, False, _CORES),
    Setting(8, 10, True, _CORES),
    Setting(16, 10, False),
)
SETTINGS_ON_GPU: Final = (Setting(32, 2, False), Setting(64, 5, False), Setting(64, 10, False), Setting(64, 5, True))


def litserve_is_installed() -> bool:
    return find_spec("litserve") is not None


@contextmanager
def embedder(stored: Stored, *, device: str, precision: str) -> Iterator[tuple[str, int]]:
    """The embedder with the release loaded. Its other settings come from the environment, as for any embedder."""
    env = {
        "VITRINE_RELEASES_URL": stored.store_url,
        "VITRINE_RELEASES_CACHE_DIR": stored.cache_dir,
        "VITRINE_PRELOAD": stored.release_id,
        "VITRINE_DEVICE": device,
        "VITRINE_PRECISION": precision,
        "VITRINE_LOG_LEVEL": "warning",
    }
    with (
        tempfile.TemporaryDirectory(prefix="vitrine-benchmark-") as folder,
        served(["-m", "embedder"], folder=Path(folder), env=env, port="VITRINE_EMBEDDER_PORT", ready="/readyz") as up,
    ):
        yield up


@contextmanager
def litserve(stored: Stored, setting: Setting, *, device: str, precision: str) -> Iterator[tuple[str, int]]:
    """LitServe with the release loaded."""
    order = {
        "stored": asdict(stored),
        "setting": asdict(setting),
        "precision": precision,
        "accelerator": device.partition(":")[0],
    }
    command = ["-m", "benchmarks.embedder_parts.litserve_peer"]
    with (
        tempfile.TemporaryDirectory(prefix="vitrine-benchmark-") as folder,
        served(
            command, folder=Path(folder), env={LITSERVE_ORDER: json.dumps(order)}, port=LITSERVE_PORT, ready="/health"
        ) as up,
    ):
        yield up
