"""The health check of the images, run as Docker runs it: as a process with an exit status."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import redis

from harness.deployment import DEPLOY
from harness.processes import Redis, free_port
from harness.waiting import HUNG_AFTER_S, wait_until
from vitrine.jobs.worker import Announcer


def check(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DEPLOY / "healthcheck.py"), *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=HUNG_AFTER_S
    )


@contextmanager
def http_server(statuses: dict[str, int]) -> Iterator[int]:
    """A server that answers each path with its status. Yields its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(statuses.get(self.path, 404))
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    server = Redis(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@contextmanager
def announced(broker: Redis, service: str) -> Iterator[None]:
    """Context with the heartbeat of a worker on this host."""
    with redis.Redis.from_url(broker.url) as client:
        announcer = Announcer(client, service=service, queues=("q",))
        announcer.start()
        try:
            wait_until(lambda: any(client.scan_iter(match=f"*{service}*")), what="the announcement")
            yield
        finally:
            announcer.stop()


def test_a_service_that_is_ready_is_healthy() -> None:
    with http_server({"/readyz": 200}) as port:
        done = check("http", str(port))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_live_service_that_is_not_ready_is_not_healthy() -> None:
    with http_server({"/readyz": 503, "/livez": 200}) as port:
        done = check("http", str(port))
    assert (done.returncode, done.stderr) == (1, "unhealthy: status 503\n")


def test_a_service_that_does_not_answer_is_not_healthy() -> None:
    done = check("http", str(free_port()))
    assert done.returncode == 1
    assert "no answer" in done.stderr


def test_a_service_that_listens_but_does_not_answer_shows_no_sign_of_life() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        done = check("http", str(listening.getsockname()[1]))
    assert (done.returncode, done.stderr) == (2, "unhealthy: no answer (TimeoutError)\n")


def test_the_environments_proxy_is_not_used() -> None:
    with http_server({"/readyz": 200}) as port:
        assert check("http", str(port), http_proxy=f"http://127.0.0.1:{free_port()}").returncode == 0


def test_a_worker_with_a_heartbeat_is_healthy_until_it_stops(broker: Redis) -> None:
    with announced(broker, "indexer"):
        assert check("worker", "indexer", VITRINE_REDIS_URL=broker.url).returncode == 0
    done = check("worker", "indexer", VITRINE_REDIS_URL=broker.url)
    assert (done.returncode, done.stderr) == (2, "unhealthy: no sign of life in Redis\n")


def test_the_heartbeat_of_another_service_does_not_count(broker: Redis) -> None:
    with announced(broker, "trainer"):
        assert check("worker", "indexer", VITRINE_REDIS_URL=broker.url).returncode == 2


def test_a_worker_without_redis_is_not_healthy_and_the_url_is_not_shown() -> None:
    done = check("worker", "indexer", VITRINE_REDIS_URL=f"redis://:hush@127.0.0.1:{free_port()}/0")
    assert (done.returncode, done.stderr) == (1, "unhealthy: Redis cannot be asked (ConnectionError)\n")


@pytest.mark.parametrize("arguments", [(), ("http",), ("http", "eight"), ("worker",), ("neither", "1")])
def test_wrong_arguments_show_the_usage_and_fail(arguments: tuple[str, ...]) -> None:
    done = check(*arguments)
    assert done.returncode == 1
    assert "usage: healthcheck.py" in done.stderr


def test_the_http_check_needs_no_package(tmp_path: Path) -> None:
    with http_server({"/readyz": 200}) as port:
        command = [sys.executable, "-I", "-S", str(DEPLOY / "healthcheck.py"), "http", str(port)]
        assert subprocess.run(command, cwd=tmp_path, timeout=HUNG_AFTER_S).returncode == 0


CONTAINER = """
sleep 600 &
service=$!
check() { sh "$HEALTHCHECK" sh -c "exit $1" 2>> "$SAID"; echo "$1 -> $?" >> "$SAID"; }
for status in $STATUSES; do check "$status"; done
kill -0 $service && echo "still serving" >> "$SAID" && kill $service
wait $service
echo "the service ended with $?" >> "$SAID"
"""


def in_a_container(folder: Path, statuses: str, *, init: str = "docker-init") -> str:
    """The output of checks in a row with these exit statuses, in a container with this init."""
    shell = shutil.which("sh")
    unshare = shutil.which("unshare")
    assert shell is not None
    if unshare is None:
        pytest.skip("there is no unshare command on this machine")
    program = folder / init
    shutil.copy2(Path(shell).resolve(), program)
    said = folder / "said.txt"
    environment = {
        **os.environ, "HEALTHCHECK": str(DEPLOY / "healthcheck.sh"), "HEALTHCHECK_STATE": str(folder / "state"),
        "SAID": str(said), "STATUSES": statuses,
    }  # fmt: skip
    # A separate process namespace, so that the check can end only processes inside it.
    command = [unshare, "--pid", "--fork", "--kill-child", "--mount-proc", str(program), "-c", CONTAINER]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HUNG_AFTER_S)
    if not said.exists():
        pytest.skip(f"process numbers of their own cannot be had here: {done.stderr.strip()}")
    return said.read_text()


def test_a_service_without_a_sign_of_life_is_ended_after_four_checks(tmp_path: Path) -> None:
    said = in_a_container(tmp_path, "0 2 137 124 2")
    assert "the service has hung: ending the container" in said
    assert said.endswith("the service ended with 137\n"), "by SIGKILL, and not by the end of this test"


@pytest.mark.parametrize(
    "statuses",
    [
        pytest.param("2 2 2 2 2 2", id="it was never healthy: it starts"),
        pytest.param("0 2 2 2 0 2 2 2", id="it answered in between"),
        pytest.param("0 2 2 2 1 2 2 2", id="it answered that it is not ready"),
        pytest.param("0 1 1 1 1 1 1", id="it is unready for long"),
    ],
)
def test_a_service_that_is_starting_or_answers_is_left_alone(tmp_path: Path, statuses: str) -> None:
    assert "still serving" in in_a_container(tmp_path, statuses)


def test_outside_a_container_no_process_is_ended(tmp_path: Path) -> None:
    assert "still serving" in in_a_container(tmp_path, "0 2 2 2 2 2 2", init="systemd")


def test_a_check_that_hangs_counts_as_no_sign_of_life(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.write_text("0\n")
    command = ["sh", str(DEPLOY / "healthcheck.sh"), "sleep", "60"]
    environment = {
        **os.environ, "HEALTHCHECK_STATE": str(state), "HEALTHCHECK_TIMEOUT_S": "0.2", "HEALTHCHECK_LIMIT": "1000",
    }  # fmt: skip
    assert subprocess.run(command, env=environment, timeout=HUNG_AFTER_S).returncode == 1
    assert state.read_text() == "1\n"
