"""What proxies forward: the caller's address and scheme, and the path below which they serve an application."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

_PREFIX: Final = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+")
_MAX_PREFIX_CHARS: Final = 200


class TrustedProxies:
    """ASGI middleware, outermost, for a program behind proxies.

    From an address in `proxies`, `X-Forwarded-For` and `X-Forwarded-Proto` replace the caller's address and the scheme,
    and `X-Forwarded-Prefix` becomes the scope's `root_path`. From others these headers have no effect.
    """

    def __init__(self, app: ASGIApp, *, proxies: Iterable[str]) -> None:
        self._networks = tuple(ipaddress.ip_network(proxy) for proxy in proxies)
        self._app = ProxyHeadersMiddleware(app, trusted_hosts=list(map(str, self._networks)))  # type: ignore[arg-type]  # uvicorn has its own types of ASGI

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._is_trusted(scope):
            values = [value for name, value in scope["headers"] if name == b"x-forwarded-prefix"]
            if prefix := forwarded_prefix(value.decode("latin-1") for value in values):
                scope = {**scope, "root_path": prefix}
        await self._app(scope, receive, send)  # type: ignore[arg-type]  # uvicorn has its own types of ASGI

    def _is_trusted(self, scope: Scope) -> bool:
        client = scope.get("client")
        try:
            address = ipaddress.ip_address(client[0] if client else "")
        except ValueError:
            return False
        return any(address in network for network in self._networks)


def forwarded_prefix(values: Iterable[str]) -> str:
    """The path in `X-Forwarded-Prefix`, such as `/shop/vitrine`; empty if it is missing or not a plain path.

    Proxies in a row append theirs after a comma or as another header: the parts are joined.
    """
    parts = [part.strip().rstrip("/") for value in values for part in value.split(",")]
    prefix = "".join(parts)
    return prefix if len(prefix) <= _MAX_PREFIX_CHARS and _PREFIX.fullmatch(prefix) else ""
