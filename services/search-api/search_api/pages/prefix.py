"""Behind a proxy that serves the application below a path. The proxy may take the prefix off or leave it on: within the
application paths have none, `root_path` is the prefix, and what makes addresses puts it before them.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class PathPrefix:
    """ASGI middleware. Health calls and others that come without the prefix, past the proxy, are answered too."""

    def __init__(self, app: ASGIApp, *, prefix: str) -> None:
        self._app = app
        self._prefix = prefix
        self._raw_prefix = prefix.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._prefix and scope["type"] == "http":
            path, raw_path = scope["path"], scope.get("raw_path")
            if path == self._prefix or path.startswith(f"{self._prefix}/"):
                path = path[len(self._prefix) :] or "/"
                if raw_path is not None:
                    raw_path = raw_path.removeprefix(self._raw_prefix) or b"/"
            scope = {**scope, "path": path, "raw_path": raw_path, "root_path": self._prefix}
        await self._app(scope, receive, send)
