"""A small HTTP server in place of the search API: it gives the replies of a test and keeps what was asked."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from vitrine_client import Vitrine

ANSWER: dict[str, Any] = {
    "success": True, "ranking": [7], "dataset": "d", "model": "m", "release": "m-0123456789", "plan": "exact",
    "tookMs": {"decode": 1.0, "embed": 2.0, "search": 3.0, "total": 6.0}, "total": 1,
    "results": [{"id": 7, "score": 0.9, "dataset": "d", "image": "/api/images/7?dataset=d", "gender": "Women"}],
}  # fmt: skip
JOB = {"id": "j1", "kind": "index", "created_at": "2026-01-01T00:00:00+00:00"}


@dataclass
class Call:
    """A request that arrived."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    """An answer. `breaks`: the connection ends in the middle of the body."""

    status: int = 200
    content: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    media_type: str = "application/json"
    breaks: bool = False
    after_s: float = 0.0

    def body(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else json.dumps(self.content).encode()


@dataclass
class Api:
    """A server that gives the replies in order, the last one again and again."""

    url: str
    replies: list[Reply] = field(default_factory=lambda: [Reply(content=ANSWER)])
    calls: list[Call] = field(default_factory=list)
    choose: Callable[[Call], Reply] | None = None

    def reply_to(self, call: Call) -> Reply:
        self.calls.append(call)
        if self.choose is not None:
            return self.choose(call)
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    def client(self, **options: Any) -> Vitrine:
        return Vitrine(self.url, **{"max_retries": 0, **options})


@contextlib.contextmanager
def running_api() -> Iterator[Api]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            headers = {name.lower(): value for name, value in self.headers.items()}
            call = Call(
                self.command,
                parts.path,
                parse_qsl(parts.query, keep_blank_values=True),
                headers,
                self.rfile.read(length),
            )
            reply = found.reply_to(call)
            if reply.after_s:
                released.wait(reply.after_s)
            body = reply.body()
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.media_type)
            self.send_header("Content-Length", str(len(body) + (10 if reply.breaks else 0)))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
            if reply.breaks:
                self.close_connection = True

        do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - the names of the base class

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that gave up is part of a test."""

    released = threading.Event()
    server = Server(("127.0.0.1", 0), Handler)
    found = Api(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        released.set()
        server.shutdown()
        server.server_close()
        thread.join()


def problem(status: int, code: str, headers: dict[str, str] | None = None, *, retryable: bool = False) -> Reply:
    content = {"success": False, "status": status, "code": code, "detail": f"it is {code}", "retryable": retryable}
    return Reply(status, content, headers or {}, "application/problem+json")


def form(call: Call) -> dict[str, list[str]]:
    """The fields of a multipart form."""
    boundary = call.headers["content-type"].partition("boundary=")[2].encode()
    fields: dict[str, list[str]] = {}
    for part in call.body.split(b"--" + boundary)[1:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        name = head.partition(b'name="')[2].partition(b'"')[0].decode()
        fields.setdefault(name, []).append(value.removesuffix(b"\r\n").decode())
    return fields


def event(version: int, state: str, **more: Any) -> str:
    return f"id: {version}\nevent: {state}\ndata: {json.dumps({**JOB, 'version': version, 'state': state, **more})}\n\n"


def stream(*parts: str) -> Reply:
    return Reply(content="".join(parts).encode(), media_type="text/event-stream")


def job(version: int, state: str) -> Reply:
    return Reply(content={"success": True, "job": {**JOB, "version": version, "state": state}})
