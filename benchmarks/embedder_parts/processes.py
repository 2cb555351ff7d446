"""The processes of the benchmark: servers that stay up while they are measured, workers that do one order and end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from vitrine_local.supervisor.spec import LOOPBACK, PortReservation

ROOT: Final = Path(__file__).resolve().parents[2]
_START_DEADLINE_S: Final = 180.0
_STOP_DEADLINE_S: Final = 20.0
_POLL_S: Final = 0.1
_LOG_TAIL: Final = 3000


@contextmanager
def served(
    command: Sequence[str], *, folder: Path, env: Mapping[str, str], port: str, ready: str
) -> Iterator[tuple[str, int]]:
    """Run a server in a session of its own until its `ready` path answers 200. Gives (address, session)."""
    with PortReservation() as reservation, (folder / "server.log").open("w+b") as log:
        reservation.hand_over()
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            env=_environment({**env, port: str(reservation.port)}),
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


def worker(module: str, order: Mapping[str, Any]) -> dict[str, Any]:
    """Run a module of the benchmark on an order, in a process of its own, and return its answer."""
    done = subprocess.run(
        [sys.executable, "-m", module],
        input=json.dumps(order),
        env=_environment({}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{module} failed:\n{done.stderr[-_LOG_TAIL:]}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _environment(own: Mapping[str, str]) -> dict[str, str]:
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **own}


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    ends_s = time.monotonic() + _START_DEADLINE_S
    while time.monotonic() < ends_s and process.poll() is None:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, timeout=5.0, trust_env=False).status_code == httpx.codes.OK:
                return
        time.sleep(_POLL_S)
    raise SystemExit(f"{process.args!r} did not become ready:\n{log.read_text(errors='replace')[-_LOG_TAIL:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_DEADLINE_S)
    # Whatever the server started and left behind.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
