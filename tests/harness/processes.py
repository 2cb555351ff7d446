"""The services as real processes, each on a free port and in its own process group, which a test can kill."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import httpx
import redis

from harness.waiting import HUNG_AFTER_S, wait_until
from vitrine_local.redis_server import find_redis_server

REDIS_PROGRAM = "VITRINE_TEST_REDIS_PROGRAM"
# Below the kernel's ports for outgoing connections (from 32768 on Linux, 49152 on macOS), which could take the port
# between the check and the start, or between a kill and a restart.
_PORTS: Final = range(20_000, 30_000)
_held: list[int] = []


def free_port() -> int:
    """A free port, reserved for this process: other test processes skip it."""
    folder = Path(tempfile.gettempdir(), f"vitrine-test-ports-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    first = os.getpid() * 97 + len(_held)
    for step in range(len(_PORTS)):
        port = _PORTS[(first + step) % len(_PORTS)]
        descriptor = os.open(folder / str(port), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            os.close(descriptor)
            continue
        _held.append(descriptor)  # the lock lasts as long as this process
        return port
    raise AssertionError(f"no port from {_PORTS.start} to {_PORTS.stop - 1} is free")


class Process:
    """A child in its own process group. Its output is kept in a file for the failure message."""

    def __init__(
        self, command: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> None:
        self.command = list(command)
        self.log = log
        self.cwd = cwd
        self.env = {**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})}
        self.start()

    def start(self) -> None:
        """Start, or restart after a kill, with the same command and environment."""
        with self.log.open("ab") as output:
            self.popen = subprocess.Popen(
                self.command,
                env=self.env,
                cwd=self.cwd,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    def running(self) -> bool:
        return self.popen.poll() is None

    def kill(self) -> None:
        """kill -9 of the whole process group, as a crash or an OOM killer would."""
        self._signal(signal.SIGKILL)
        self.popen.wait()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Suspend the whole group meanwhile, so that a test can act in the middle of its work on a machine of any
        speed.
        """
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it after the tests."""
        self.kill()

    def terminate(self, *, grace_s: float = HUNG_AFTER_S) -> int:
        """SIGTERM to the parent, as an orchestrator would; returns the exit status."""
        if self.running():
            self.popen.send_signal(signal.SIGTERM)
        try:
            return self.popen.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.command} did not stop within {grace_s} s\n{self.tail()}") from None

    def tail(self, *, chars: int = 4000) -> str:
        return self.log.read_text(errors="replace")[-chars:]

    def wait_http(self, url: str, *, deadline_s: float = HUNG_AFTER_S) -> None:
        """Wait until `url` answers 200. If the process ends before, the test fails at once with its log."""

        # One client for all polls: each call of `httpx.get` makes one, which would take the CPU from what starts.
        with httpx.Client(timeout=30.0, trust_env=False) as client:

            def answers() -> bool:
                if not self.running():
                    raise SystemExit(f"{self.command} ended with {self.popen.returncode}\n{self.tail()}")
                return client.get(url).status_code == 200

            try:
                wait_until(answers, deadline_s=deadline_s, what=url)
            except SystemExit as ended:
                raise AssertionError(str(ended)) from None
            except AssertionError as late:
                raise AssertionError(f"{late}\n{self.tail()}") from None

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self.popen.pid, number)
        except ProcessLookupError:
            return


class Redis(Process):
    """A Redis server that writes every change to disk before it answers."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        program = os.environ.get(REDIS_PROGRAM) or str(find_redis_server())
        command = [
            program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder),
            "--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction",
        ]  # fmt: skip
        super().__init__(command, log=folder / "redis.log")
        self.wait_ready()

    def wait_ready(self) -> None:
        def answers() -> bool:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.ping())

        wait_until(answers, what="Redis")


class LocalQdrant(Process):
    """The local Qdrant on its own folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [
            sys.executable, "-m", "vitrine_local.qdrant",
            "--storage", str(folder / "storage"), "--host", "127.0.0.1", "--port", str(self.port),
        ]  # fmt: skip
        super().__init__(command, log=folder / "qdrant.log")
        self.wait_ready()

    def wait_ready(self) -> None:
        self.wait_http(f"{self.url}/readyz")


class Service(Process):
    """One of the services (`embedder`, `indexer`, `trainer`, `search_api`), configured through its environment."""

    def __init__(
        self, package: str, *, folder: Path, env: Mapping[str, str], ready_url: str | None = None, wait: bool = True
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.ready_url = ready_url
        super().__init__([sys.executable, "-m", package], log=folder / f"{package}.log", env=env)
        if wait:
            self.wait_ready()

    def wait_ready(self) -> None:
        if self.ready_url is not None:
            self.wait_http(self.ready_url)
