"""A small application behind the server of the services, in a thread, and raw connections to it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.types import Receive, Scope, Send

from harness.waiting import HUNG_AFTER_S, wait_until
from vitrine.settings import HttpSettings
from vitrine.telemetry import HttpMetrics
from vitrine.web import Admission, Bodies, BodyLimit, RequestContext, build_server


class Toy:
    """`/echo` answers with the length of the body, `/wait` when `go` is set, `/large` with 20 MB."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        size = 0
        while scope["path"] == "/echo":
            message = await receive()
            size += len(message.get("body", b""))
            if not message.get("more_body"):
                break
        if scope["path"] == "/wait":
            self.waiting += 1
            await asyncio.to_thread(self.go.wait, HUNG_AFTER_S)
            self.waiting -= 1
        body = bytes(20_000_000) if scope["path"] == "/large" else str(size).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})


class EdgeServer:
    """The running server."""

    def __init__(self, port: int, toy: Toy, bodies: Bodies) -> None:
        self.port = port
        self.toy = toy
        self.bodies = bodies

    @contextlib.contextmanager
    def connection(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=HUNG_AFTER_S) as connection:
            yield connection

    def ask(self, request: bytes) -> bytes:
        """The bytes received until the server closes the connection."""
        with self.connection() as connection:
            connection.sendall(request)
            return read_to_end(connection)

    def get(self, path: str) -> bytes:
        return self.ask(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())


@contextlib.contextmanager
def running_edge(
    *, max_concurrent: int = 100, max_body_bytes: int = 50_000_000, **settings: Any
) -> Iterator[EdgeServer]:
    """The server with these settings. It is stopped at the end."""
    toy = Toy()
    of = HttpSettings(**{"shutdown_grace_s": 1, **settings})
    bodies = Bodies.of(of, max_body_bytes=1)

    def timeout_of(scope: Scope) -> float | None:
        return None if scope["path"] == "/livez" else HUNG_AFTER_S

    admission = Admission(toy, max_concurrent=max_concurrent, timeout_of=timeout_of, bodies=bodies)
    app = RequestContext(BodyLimit(admission, max_body_bytes=max_body_bytes), metrics=HttpMetrics(CollectorRegistry()))
    server = build_server(app, host="127.0.0.1", port=0, settings=of, on_drain=lambda: None)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, what="the server")
        yield EdgeServer(server.servers[0].sockets[0].getsockname()[1], toy, bodies)
    finally:
        toy.go.set()
        server.should_exit = True
        thread.join(HUNG_AFTER_S)
        assert not thread.is_alive()


def flood(connection: socket.socket, piece: bytes, *, total_bytes: int = 60_000_000) -> int:
    """Send `piece` repeatedly until the server stops it. Returns the number of bytes sent."""
    sent = 0
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while sent < total_bytes:
            sent += connection.send(piece)
    return sent


def read_to_end(connection: socket.socket) -> bytes:
    """All bytes received until the server closes the connection. A reset or a timeout is an error."""
    pieces = []
    while piece := connection.recv(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def read_answer(connection: socket.socket) -> bytes:
    """One answer with a Content-Length, on a connection that stays open."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _piece(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    [length] = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    while len(body) < length:
        body += _piece(connection)
    return head + b"\r\n\r\n" + body


def _piece(connection: socket.socket) -> bytes:
    piece = connection.recv(1 << 16)
    assert piece, "the server closed the connection"
    return piece


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
