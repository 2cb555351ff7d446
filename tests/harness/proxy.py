"""A reverse proxy that serves another address below a path, as nginx or Caddy in front of Vitrine would."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator, Iterator

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from harness.waiting import HUNG_AFTER_S, wait_until

# Headers of a single connection, and headers that the server here sets itself.
_OWN: frozenset[str] = frozenset({"connection", "transfer-encoding", "keep-alive", "date"})


@contextlib.contextmanager
def running_proxy(upstream: str, *, prefix: str, strips: bool, forwards: bool = False) -> Iterator[str]:
    """The address at which `upstream` is served below `prefix`.

    The proxy removes the prefix from the path if it `strips`, and sends it as `X-Forwarded-Prefix` if it `forwards` it.

    Requests outside the prefix get status 502, so an address without it is noticed.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with httpx.AsyncClient(base_url=upstream, timeout=HUNG_AFTER_S) as client:
            app.state.client = client
            yield

    async def passed_on(request: Request) -> Response:
        path = request.url.path
        if path != prefix and not path.startswith(f"{prefix}/"):
            return PlainTextResponse("outside of the prefix", status_code=502)
        onwards = (path[len(prefix) :] or "/") if strips else path
        address = f"{onwards}?{request.url.query}" if request.url.query else onwards
        headers = [(name, value) for name, value in request.headers.raw if name.decode().lower() not in _OWN]
        if forwards:
            headers.append((b"X-Forwarded-Prefix", prefix.encode()))
        sent = request.app.state.client.build_request(
            request.method, address, headers=headers, content=await request.body()
        )
        answer = await request.app.state.client.send(sent, stream=True)
        body = b"".join([chunk async for chunk in answer.aiter_raw()])  # still compressed
        await answer.aclose()
        passed = Response(body, status_code=answer.status_code)
        passed.raw_headers = [(name, value) for name, value in answer.headers.raw if name.decode().lower() not in _OWN]
        return passed

    methods = ["GET", "HEAD", "POST", "PUT", "DELETE"]
    app = Starlette(routes=[Route("/{path:path}", passed_on, methods=methods)], lifespan=lifespan)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, what="the proxy")
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(HUNG_AFTER_S)
