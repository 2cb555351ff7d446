"""Servers of the same release: the embedder, and LitServe if it is installed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import httpx

from benchmarks.embedder_parts.prepared import StoredRelease
from benchmarks.processes import LOG_TAIL_CHARS, environment
from vitrine_local.supervisor.spec import LOOPBACK, PortReservation

LITSERVE_ORDER: Final = "BENCHMARK_LITSERVE"
LITSERVE_PORT: Final = "BENCHMARK_LITSERVE_PORT"
LITSERVE_PATH: Final = "/predict"
_START_DEADLINE_S: Final = 180.0
_STOP_DEADLINE_S: Final = 20.0
_POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Setting:
    """One configuration of LitServe."""

    max_batch: int
    timeout_ms: float
    fast_queue: bool
    workers: int = 1

    def __str__(self) -> str:
        queue = "ZeroMQ" if self.fast_queue else "multiprocessing"
        return f"{self.workers} worker(s), batch {self.max_batch}, {self.timeout_ms:g} ms, {queue} queue"


# A forward pass uses one core, so LitServe gets one worker per core.
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
def embedder(stored: StoredRelease, *, device: str, precision: str) -> Iterator[tuple[str, int]]:
    """The embedder with the release loaded. Other settings come from the environment. Yields (URL, session id)."""
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
        _served(["-m", "embedder"], folder=Path(folder), env=env, port="VITRINE_EMBEDDER_PORT", ready="/readyz") as up,
    ):
        yield up


@contextmanager
def litserve(stored: StoredRelease, setting: Setting, *, device: str, precision: str) -> Iterator[tuple[str, int]]:
    """LitServe with the release loaded. Yields (URL, session id)."""
    order = {
        "stored": asdict(stored),
        "setting": asdict(setting),
        "precision": precision,
        "accelerator": device.partition(":")[0],
    }
    command = ["-m", "benchmarks.embedder_parts.litserve_peer"]
    with (
        tempfile.TemporaryDirectory(prefix="vitrine-benchmark-") as folder,
        _served(
            command, folder=Path(folder), env={LITSERVE_ORDER: json.dumps(order)}, port=LITSERVE_PORT, ready="/health"
        ) as up,
    ):
        yield up


@contextmanager
def _served(
    command: Sequence[str], *, folder: Path, env: Mapping[str, str], port: str, ready: str
) -> Iterator[tuple[str, int]]:
    """Run a server in its own session and wait until its `ready` path answers 200. Yields (URL, session id)."""
    with PortReservation() as reservation, (folder / "server.log").open("w+b") as log:
        reservation.hand_over()
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            env=environment({**env, port: str(reservation.port)}),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        url = f"http://{LOOPBACK}:{reservation.port}"
        try:
            _wait_until_ready(process, url + ready, Path(log.name))
            yield url, process.pid
        finally:
            _stop(process)


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    ends_s = time.monotonic() + _START_DEADLINE_S
    while time.monotonic() < ends_s and process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, timeout=5.0, trust_env=False).status_code == httpx.codes.OK:
                return
        time.sleep(_POLL_S)
    raise SystemExit(f"{process.args!r} did not become ready:\n{log.read_text(errors='replace')[-LOG_TAIL_CHARS:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_DEADLINE_S)
    # The children that the server left.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
