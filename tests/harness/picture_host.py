"""A web server of pictures, good and bad, for the tests of downloads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from harness.pictures import encoded, gradient

PICTURE = encoded(gradient(64, 80), "JPEG", quality=95)


@dataclass
class PictureHost:
    """A web server whose behaviour each path chooses. `asked` holds each request's path and Range header."""

    address: str
    port: int = 0
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    flaky: int = 1
    picture: bytes = PICTURE
    stop: threading.Event = field(default_factory=threading.Event)
    url: str = ""
    version: str = '"v1"'


def _handler(host: PictureHost) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            host.asked.append((self.path, self.headers.get("Range")))
            name = urlsplit(self.path).path.removeprefix("/")
            getattr(self, name.partition(".")[0].partition("-")[0], self.missing)()

        def answer(self, data: bytes, *, status: int = 200, length: int | None = None, **headers: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(data) if length is None else length))
            for one, value in headers.items():
                self.send_header(one.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(data)

        def good(self) -> None:
            if self.headers.get("If-None-Match") == host.version:
                self.answer(b"", status=304, ETag=host.version)
            else:
                self.answer(PICTURE, ETag=host.version)

        def slow(self) -> None:
            """Sends a little at a time, and goes on where it is asked to."""
            start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(PICTURE) - start))
            self.send_header("ETag", host.version)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(PICTURE) - 1}/{len(PICTURE)}")
            self.end_headers()
            for at in range(start, len(PICTURE), 100):
                if host.stop.wait(0.1):
                    return
                self.wfile.write(PICTURE[at : at + 100])

        def endless(self) -> None:
            self.send_response(200)
            self.send_header("Connection", "close")
            self.end_headers()
            while not host.stop.is_set():
                self.wfile.write(b"x" * 65_536)

        def silent(self) -> None:
            host.stop.wait(30)

        def large(self) -> None:
            self.answer(b"", length=10_000_000_000)
            self.close_connection = True

        def short(self) -> None:
            """States more bytes than it sends."""
            self.answer(PICTURE[:200], length=len(PICTURE))
            self.close_connection = True

        def dying(self) -> None:
            """Breaks off in the middle as often as `flaky` says; then goes on where it is asked to."""
            start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
            rest = PICTURE[start:]
            headers: dict[str, Any] = {"ETag": host.version}
            if start:
                headers["Content_Range"] = f"bytes {start}-{len(PICTURE) - 1}/{len(PICTURE)}"
            if host.flaky > 0:
                host.flaky -= 1
                self.answer(rest[: len(rest) // 2], status=206 if start else 200, length=len(rest), **headers)
                self.close_connection = True
            else:
                self.answer(rest, status=206 if start else 200, **headers)

        def html(self) -> None:
            self.answer(b"<!doctype html><title>Sign in</title>", Content_Type="image/jpeg")

        def broken(self) -> None:
            self.answer(b"later", status=503, Retry_After="0")

        def missing(self) -> None:
            self.answer(b"", status=404)

        def moved(self) -> None:
            self.answer(b"", status=302, Location="good.jpg?from=moved")

        def circle(self) -> None:
            self.answer(b"", status=302, Location="circle.jpg")

        def to(self) -> None:
            self.answer(b"", status=302, Location=unquote(urlsplit(self.path).query))

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    return Handler


def serve_pictures(host: PictureHost) -> Iterator[PictureHost]:
    server = ThreadingHTTPServer((host.address, host.port), _handler(host))
    server.daemon_threads = True
    host.url = f"http://{host.address}:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield host
    host.stop.set()
    server.shutdown()
    server.server_close()
    thread.join()
