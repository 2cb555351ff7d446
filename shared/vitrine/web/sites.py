"""The origin of a request: the caller's address, and whether a page of another web site sends it.

A page of any site can send requests to a loopback address. With DNS rebinding it can also read the answers, under its
own name in `Host`. So `Host` must be a name of the service, and unsafe methods must not come from another site. Clients
other than browsers send neither `Sec-Fetch-Site` nor `Origin` and are not affected.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from vitrine.errors import ForeignSite, HostRefused, VitrineError
from vitrine.web.problems import send_problem

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITE: Final = frozenset({"same-origin", "none"})
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_AUTHORITY: Final = r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?"
_HOST: Final = re.compile(_AUTHORITY)
_ORIGIN: Final = re.compile(rf"(?P<scheme>(?i:https?))://{_AUTHORITY}")
_MAX_SHOWN: Final = 100
_IPV6_PREFIX: Final = 64  # the network of one customer of a provider, who can use any address in it


def address_of(scope: Scope) -> str:
    """The caller's address, as `caller_address`. Behind a trusted proxy it is the forwarded one."""
    client = scope.get("client")
    return caller_address(client[0] if client else "")


def caller_address(text: str) -> str:
    """The caller of an address: the /64 network of an IPv6 address; `unknown` if `text` is not an address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), _IPV6_PREFIX), strict=False))


def is_loopback(host: str) -> bool:
    """Whether a host name or address, without a port, is loopback."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def hosts_checked(listening_on: str, allowed: Iterable[str]) -> frozenset[str] | None:
    """The names that `SiteGuard` accepts beside loopback ones; None if `Host` is not checked.

    It is not checked on a network address, whose callers need a key, unless the settings name hosts.
    """
    named = frozenset(name.lower().rstrip(".") for name in allowed)
    return named if named or is_loopback(listening_on) else None


class SiteGuard:
    """ASGI middleware. Answers 421 to a foreign `Host` and 403 to an unsafe call from another site.

    `hosts` are the names accepted beside loopback ones; None accepts any. `origins` are sites (`https://shop.example`)
    whose pages may make every call.
    """

    def __init__(self, app: ASGIApp, *, hosts: frozenset[str] | None, origins: Iterable[str] = ()) -> None:
        self._app = app
        self._hosts = hosts
        self._origins = frozenset(filter(None, map(_normal_origin, origins)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                self._check(scope)
            except VitrineError as error:
                await send_problem(send, error)
                return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        if self._hosts is not None:
            self._check_host(_single(scope, b"host"))
        # A preflight asks whether the call that follows may be made.
        if scope["method"] not in _SAFE_METHODS or _is_preflight(scope):
            self._check_site(scope)

    def _check_host(self, host: str | None) -> None:
        name = _host_name(host)
        if name is None:
            raise HostRefused("the request needs one Host header with the name or address of this service")
        assert self._hosts is not None
        if not is_loopback(name) and name not in self._hosts:
            raise HostRefused(
                f"{name[:_MAX_SHOWN]!r} is not a name of this service: use localhost or 127.0.0.1, "
                "or name it in VITRINE_ALLOWED_HOSTS"
            )

    def _check_site(self, scope: Scope) -> None:
        site, origin = _single(scope, b"sec-fetch-site"), _single(scope, b"origin")
        if origin is not None and _normal_origin(origin) in self._origins:
            return
        if is_same_origin(scope):
            return
        raise ForeignSite(
            f"pages of another site ({(origin or site or '')[:_MAX_SHOWN]!r}) may not make this call: name the site in "
            "VITRINE_ALLOWED_ORIGINS to allow it"
        )


def is_same_origin(scope: Scope) -> bool:
    """Whether a request comes from a page of the service itself, from the address bar, or from another client.

    A cookie alone does not prove it: browsers send it to every port of a host.
    """
    site, origin = _single(scope, b"sec-fetch-site"), _single(scope, b"origin")
    if site is not None:
        return site in _OWN_SITE
    return origin is None or _same_host(origin, _single(scope, b"host"))


def _is_preflight(scope: Scope) -> bool:
    return scope["method"] == "OPTIONS" and _single(scope, b"access-control-request-method") is not None


def _single(scope: Scope, name: bytes) -> str | None:
    """The value of a header; None if it is missing, empty if it is repeated, which no check accepts."""
    values = [value for key, value in scope["headers"] if key == name]
    if not values:
        return None
    return values[0].decode("latin-1").strip() if len(values) == 1 else ""


def _host_name(host: str | None) -> str | None:
    """The name in a Host header, without its port, in lower case; None if it is not valid."""
    match = _HOST.fullmatch(host or "")
    return match["name"].lower().rstrip(".") or None if match else None


def _normal_origin(origin: str) -> str | None:
    """An origin in lower case with its port; None if it is not an origin (`null`, for example)."""
    match = _ORIGIN.fullmatch(origin)
    if match is None:
        return None
    scheme = match["scheme"].lower()
    return f"{scheme}://{match['name'].lower()}:{match['port'] or _DEFAULT_PORTS[scheme]}"


def _same_host(origin: str, host: str | None) -> bool:
    """Whether an origin's host and port are those that the request was sent to."""
    normal = _normal_origin(origin)
    return normal is not None and normal == _normal_origin(f"{normal.partition(':')[0]}://{host}")
