"""Attacks: clients that misuse HTTP instead of sending expensive requests. Each runs until it is stopped."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

SLOW_POSTS: Final = 256
STREAMS: Final = 200
SILENT: Final = 1_500
FLOODS: Final = 8
_TIMEOUT_S: Final = 5.0
_HEADER_LINES: Final = b"X-Header: value\r\n" * 4_000


@dataclass(frozen=True, slots=True)
class Attack:
    """`run(port, stop)` keeps its connections busy until `stop` is set, and returns what it observed."""

    name: str
    run: Callable[[int, threading.Event], str]


def attacks() -> Iterator[Attack]:
    yield Attack(f"{FLOODS} floods of header lines", _header_floods)
    yield Attack(f"{SLOW_POSTS} posts of a byte a second", _slow_posts)
    yield Attack(f"{STREAMS} clients that follow a job again and again", _event_streams)
    yield Attack(f"{SILENT} silent connections", _silent)


@contextlib.contextmanager
def running(attack: Attack, port: int) -> Iterator[list[str]]:
    """Context in which the attack runs. Afterwards the yielded list contains what it observed."""
    stop, observed = threading.Event(), list[str]()
    thread = threading.Thread(target=lambda: observed.append(attack.run(port, stop)))
    thread.start()
    try:
        yield observed
    finally:
        stop.set()
        thread.join()


def health(port: int) -> str:
    """The status of /livez over a new connection, or the error."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/livez")
        return str(connection.getresponse().status)
    except OSError as error:
        return type(error).__name__
    finally:
        connection.close()


def _header_floods(port: int, stop: threading.Event) -> str:
    sent_bytes, ended = [0] * FLOODS, [0] * FLOODS

    def flood(number: int) -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError), _connection(port) as connection:
                connection.sendall(b"GET /api/models HTTP/1.1\r\n")
                while not stop.is_set():
                    connection.sendall(_HEADER_LINES)
                    sent_bytes[number] += len(_HEADER_LINES)
            ended[number] += 1

    threads = [threading.Thread(target=flood, args=(number,)) for number in range(FLOODS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return f"{sum(sent_bytes) / 1e6:.0f} MB sent, ended {sum(ended)} times"


def _slow_posts(port: int, stop: threading.Event) -> str:
    head = b"POST /api/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    return _many(port, stop, SLOW_POSTS, head + b"Content-Length: 100000\r\n\r\n", b"x")


def _silent(port: int, stop: threading.Event) -> str:
    return _many(port, stop, SILENT, b"", b"")


def _event_streams(port: int, stop: threading.Event) -> str:
    job = _any_job(port)
    head = f"GET /api/jobs/{job}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    return _many(port, stop, STREAMS, head, b"")


def _many(port: int, stop: threading.Event, count: int, first: bytes, each_second: bytes) -> str:
    """Keep `count` connections open, and reopen each one that the server closes."""
    reopened = 0
    with contextlib.ExitStack() as stack:
        connections: list[socket.socket | None] = [None] * count
        while not stop.wait(1.0 if all(connections) else 0.01):
            for number, connection in enumerate(connections):
                try:
                    if connection is None:
                        opened = stack.enter_context(_connection(port))
                        connections[number] = opened
                        opened.sendall(first)
                    elif each_second:
                        connection.send(each_second)
                    elif connection.recv(65_536, socket.MSG_DONTWAIT) == b"":
                        raise ConnectionResetError
                except BlockingIOError:
                    continue
                except OSError:
                    connections[number] = None
                    reopened += 1
    return f"ended {reopened} times"


@contextlib.contextmanager
def _connection(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S) as connection:
        yield connection


def _any_job(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/api/jobs?limit=1")
        [job] = json.load(connection.getresponse())["jobs"]
        return str(job["id"])
    finally:
        connection.close()
