"""The health check of the images, run as Docker runs it: a process of its own and its exit status."""

from __future__ import annotations

import os
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
from vitrine.worker.announce import Announcer


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
            """Say nothing."""

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
    """While a worker of this host tells that it lives."""
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


def test_a_service_that_is_alive_but_not_ready_is_not_healthy() -> None:
    with http_server({"/readyz": 503, "/livez": 200}) as port:
        done = check("http", str(port))
    assert (done.returncode, done.stderr) == (1, "unhealthy: status 503\n")


def test_a_service_that_does_not_answer_is_not_healthy() -> None:
    done = check("http", str(free_port()))
    assert done.returncode == 1
    assert "no answer" in done.stderr


def test_a_proxy_of_the_environment_is_not_asked() -> None:
    with http_server({"/readyz": 200}) as port:
        assert check("http", str(port), http_proxy=f"http://127.0.0.1:{free_port()}").returncode == 0


def test_a_worker_that_announces_itself_is_healthy_until_it_stops(broker: Redis) -> None:
    with announced(broker, "indexer"):
        assert check("worker", "indexer", VITRINE_REDIS_URL=broker.url).returncode == 0
    done = check("worker", "indexer", VITRINE_REDIS_URL=broker.url)
    assert (done.returncode, done.stderr) == (1, "unhealthy: no sign of life in Redis\n")


def test_the_sign_of_life_of_another_service_does_not_count(broker: Redis) -> None:
    with announced(broker, "trainer"):
        assert check("worker", "indexer", VITRINE_REDIS_URL=broker.url).returncode == 1


def test_a_worker_whose_redis_is_away_is_not_healthy_and_the_address_is_not_shown() -> None:
    done = check("worker", "indexer", VITRINE_REDIS_URL=f"redis://:hush@127.0.0.1:{free_port()}/0")
    assert (done.returncode, done.stderr) == (1, "unhealthy: Redis cannot be asked (ConnectionError)\n")


@pytest.mark.parametrize("arguments", [(), ("http",), ("http", "eight"), ("worker",), ("neither", "1")])
def test_a_check_that_is_asked_wrongly_says_how_and_fails(arguments: tuple[str, ...]) -> None:
    done = check(*arguments)
    assert done.returncode == 1
    assert "usage: healthcheck.py" in done.stderr


def test_the_http_check_needs_no_package(tmp_path: Path) -> None:
    with http_server({"/readyz": 200}) as port:
        command = [sys.executable, "-I", "-S", str(DEPLOY / "healthcheck.py"), "http", str(port)]
        assert subprocess.run(command, cwd=tmp_path, timeout=HUNG_AFTER_S).returncode == 0
