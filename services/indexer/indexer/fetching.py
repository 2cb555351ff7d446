"""Download pictures by their links: only from hosts that are allowed by name, and only from public addresses.

A link in a shop's file may be anything, and this process runs inside the shop's network. So each hop, the first and
every redirect, is checked twice: the host's name against the allowed ones, and then every address that the name
resolves to, once, right before connecting to one of them: a name that resolves differently a moment later changes
nothing. No proxies of the environment are used. Size, time and rate are bounded.

What was downloaded stays in the store (`vitrine.catalogs.downloads`), so that a later run asks for the rest only. A
download that breaks off is resumed where the server can.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urljoin, urlsplit

import httpcore
import redis

from indexer.settings import Settings
from vitrine.catalogs.downloads import Downloaded, Downloads, Validators
from vitrine.errors import ImageRejected
from vitrine.images.checks import inspect_image
from vitrine.jobs import keys
from vitrine.jobs.redis import broker_errors
from vitrine.telemetry import get_logger

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Sequence[str]]

_PARALLEL: Final = 8
_MAX_REDIRECTS: Final = 5
_MAX_LINK_CHARS: Final = 2_048
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_RETRIED: Final = frozenset({429, 500, 502, 503, 504})
_MAX_PAUSE_S: Final = 5.0
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
# IPv6 prefixes that carry an IPv4 address: NAT64 (RFC 6052 and RFC 8215).
_NAT64: Final = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))


class DownloadFailed(Exception):
    """A picture could not be downloaded. `retryable`: another attempt may succeed."""

    def __init__(self, detail: str, *, retryable: bool = False) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retryable = retryable


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """What downloads may cost. `hosts`: exact names, or `*.example.com` for every name below; a port other than the
    scheme's must be named (`example.com:8080`). `networks`: private addresses that are allowed nevertheless.
    """

    hosts: tuple[str, ...]
    networks: tuple[IpNetwork, ...] = ()
    max_bytes: int = 20_000_000
    rate_per_s: float = 10.0
    timeout_s: float = 20.0
    silence_s: float = 8.0
    attempts: int = 3
    total_s: float = 90.0
    max_age_s: float = 7 * 86_400.0

    @classmethod
    def of(cls, settings: Settings) -> FetchLimits:
        return cls(
            hosts=settings.download_hosts,
            networks=tuple(ipaddress.ip_network(one) for one in settings.download_networks),
            max_bytes=settings.download_max_bytes,
            rate_per_s=settings.download_rate_per_s,
            timeout_s=settings.download_timeout_s,
            max_age_s=settings.download_max_age_days * 86_400.0,
        )


class Rate:
    """At most so many requests a second to one host, counted in Redis for all processes."""

    def __init__(self, client: redis.Redis, per_s: float) -> None:
        self._redis = client
        # Below one a second, one in so many seconds.
        self._window_s = 1.0 if per_s >= 1 else 1.0 / per_s
        self._most = max(1, int(per_s))

    def wait(self, host: str, *, until_s: float) -> bool:
        """Wait for a turn. Returns False if it does not come before `until_s` (`time.monotonic`)."""
        while True:
            now_s = time.time()
            window = int(now_s / self._window_s)
            key = f"{keys.PREFIX}downloads:{host}:{window}"
            with broker_errors():
                pipe = self._redis.pipeline()
                pipe.incr(key)
                pipe.expire(key, int(self._window_s) + 2)
                taken = int(pipe.execute()[0])
            if taken <= self._most:
                return True
            pause_s = (window + 1) * self._window_s - now_s
            if time.monotonic() + pause_s > until_s:
                return False
            time.sleep(max(0.001, pause_s))


class PublicOnly(httpcore.SyncBackend):
    """Opens connections to public addresses alone, and to those of the given networks."""

    def __init__(self, networks: Sequence[IpNetwork], resolve: Resolve) -> None:
        self._networks = networks
        self._resolve = resolve

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = self._resolve(host, port)
        for address in addresses:
            if not self._is_allowed(address):
                raise DownloadFailed(
                    f"the host {host!r} has the address {address}, which is not public: downloads use public "
                    "addresses only (VITRINE_DOWNLOAD_NETWORKS allows a private network)"
                )
        if not addresses:
            raise DownloadFailed(f"the host {host!r} has no address")
        return super().connect_tcp(
            addresses[0], port, timeout=timeout, local_address=local_address, socket_options=socket_options
        )

    def _is_allowed(self, text: str) -> bool:
        address = ipaddress.ip_address(text.partition("%")[0])
        if any(address in network for network in self._networks if network.version == address.version):
            return True
        return all(one.is_global and not one.is_multicast for one in _meant(address))


def _meant(address: IpAddress) -> Iterator[IpAddress]:
    """The address, and the IPv4 address that it carries, if it is an IPv6 address that does."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            yield address.ipv4_mapped
            return
        if address.sixtofour is not None:
            yield address.sixtofour
        if address.teredo is not None:
            yield from address.teredo
        if any(address in network for network in _NAT64):
            yield ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
            return
    yield address


def resolve_host(host: str, port: int) -> list[str]:
    """The addresses of a host. Raises DownloadFailed."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise DownloadFailed(f"the host {host!r} cannot be found", retryable=True) from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Fetcher:
    """Downloads pictures into a store."""

    def __init__(
        self, downloads: Downloads, limits: FetchLimits, rate: Rate, *, resolve: Resolve = resolve_host
    ) -> None:
        self._downloads = downloads
        self._limits = limits
        self._rate = rate
        self._pool = httpcore.ConnectionPool(
            ssl_context=ssl.create_default_context(),
            network_backend=PublicOnly(limits.networks, resolve),
            max_connections=2 * _PARALLEL,
            keepalive_expiry=10.0,
        )

    def close(self) -> None:
        self._pool.close()

    def fetch_all(self, links: Iterable[str]) -> dict[str, str]:
        """Download the links that the store does not have. Returns why it failed, for each link that did.

        Raises BrokerUnavailable, and OSError if the store cannot be written.
        """
        wanted = [link for link in dict.fromkeys(links) if not self._is_fresh(self._downloads.find(link))]
        if not wanted:
            return {}
        until_s = time.monotonic() + self._limits.total_s
        with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="download") as pool:
            failures = dict(zip(wanted, pool.map(lambda link: self._failure(link, until_s), wanted), strict=True))
        return {link: failure for link, failure in failures.items() if failure is not None}

    def _is_fresh(self, found: Downloaded | None) -> bool:
        return found is not None and time.time() - found.fetched_at_s < self._limits.max_age_s

    def _failure(self, link: str, until_s: float) -> str | None:
        """Download one link. Returns why that failed; None if it did not."""
        known = self._downloads.find(link)
        for attempt in range(1, self._limits.attempts + 1):
            try:
                self._fetch(link, known, min(until_s, time.monotonic() + self._limits.timeout_s))
            except DownloadFailed as failed:
                if not failed.retryable or attempt == self._limits.attempts or time.monotonic() >= until_s:
                    if known is not None:  # an old picture is better than none
                        get_logger("downloads").warning("download_stale", link=link[:200], detail=failed.detail)
                        return None
                    return failed.detail
                time.sleep(min(_MAX_PAUSE_S, 0.25 * 2**attempt, max(0.0, until_s - time.monotonic())))
            else:
                return None
        return None

    def _fetch(self, link: str, known: Downloaded | None, until_s: float) -> None:
        """Follow a link to its picture and store it. Raises DownloadFailed."""
        address = link
        for _ in range(_MAX_REDIRECTS + 1):
            host = self._check(address)
            if not self._rate.wait(host, until_s=until_s):
                raise DownloadFailed(f"{link[:200]} was not downloaded in time: index again to go on with the rest")
            target = self._get(link, address, known, until_s)
            if target is None:
                return
            if address.lower().startswith("https:") and not target.lower().startswith("https:"):
                raise DownloadFailed(f"{link[:200]} redirects from https to {target[:200]!r}")
            address = target
        raise DownloadFailed(f"{link[:200]} redirects more than {_MAX_REDIRECTS} times")

    def _check(self, address: str) -> str:
        """The host of an address that may be fetched. Raises DownloadFailed."""
        if len(address) > _MAX_LINK_CHARS:
            raise DownloadFailed(f"the link {address[:80]!r}... has more than {_MAX_LINK_CHARS} characters")
        try:
            parts = urlsplit(address)
            host, port = (parts.hostname or "").lower().rstrip("."), parts.port
        except ValueError as error:
            raise DownloadFailed(f"the link {address[:200]!r} is malformed: {error}") from None
        if parts.scheme not in _DEFAULT_PORTS or not host:
            raise DownloadFailed(f"the link {address[:200]!r} is not an address of the web (http or https)")
        if parts.username is not None or parts.password is not None:
            raise DownloadFailed(f"the link to {host!r} contains a user name or password")
        named = host if port in (None, _DEFAULT_PORTS[parts.scheme]) else f"{host}:{port}"
        if not any(_matches(named, allowed) for allowed in self._limits.hosts):
            raise DownloadFailed(
                f"the host {named!r} is not allowed: add it to VITRINE_DOWNLOAD_HOSTS of the indexer to download "
                "pictures from it"
            )
        return host

    def _get(self, link: str, address: str, known: Downloaded | None, until_s: float) -> str | None:
        """Request an address. Returns the target of a redirect, or None once the picture is stored."""
        part = None if known is not None else self._downloads.part(link)
        headers = [("Accept", "image/*"), ("Accept-Encoding", "identity"), ("User-Agent", "vitrine")]
        if known is not None:
            headers += _conditional(known.validators)
        if part is not None and part.validators.if_range is not None:
            headers += [("Range", f"bytes={len(part.data)}-"), ("If-Range", part.validators.if_range)]
        silence_s = max(0.1, min(self._limits.silence_s, until_s - time.monotonic()))
        timeouts = {"connect": silence_s, "read": silence_s, "write": silence_s, "pool": self._limits.timeout_s}
        with (
            _network_errors(address),
            self._pool.stream("GET", _encoded(address), headers=headers, extensions={"timeout": timeouts}) as response,
        ):
            answered = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
            if response.status in _REDIRECTS:
                if "location" not in answered:
                    raise DownloadFailed(f"{address[:200]} redirects to nowhere")
                return urljoin(address, answered["location"])
            if response.status == HTTPStatus.NOT_MODIFIED and known is not None:
                self._downloads.note(Downloaded(link, known.sha256, known.size_bytes, time.time(), known.validators))
                return None
            if response.status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
                self._refuse(address, response.status, answered)
            start = b""
            if response.status == HTTPStatus.PARTIAL_CONTENT:
                if part is None or not answered.get("content-range", "").startswith(f"bytes {len(part.data)}-"):
                    self._downloads.drop_part(link)
                    raise DownloadFailed(f"{address[:200]} answered with another part than asked for", retryable=True)
                start = part.data
            data = self._body(link, address, response, answered, start, until_s)
        self._accept(link, address, data, _validators(answered))
        return None

    def _refuse(self, address: str, status: int, answered: dict[str, str]) -> None:
        retryable = status in _RETRIED
        if retryable and (pause_s := _retry_after_s(answered.get("retry-after"))) is not None:
            time.sleep(min(pause_s, _MAX_PAUSE_S))
        raise DownloadFailed(f"{address[:200]} answered {status}", retryable=retryable)

    def _body(
        self,
        link: str,
        address: str,
        response: httpcore.Response,
        answered: dict[str, str],
        start: bytes,
        until_s: float,
    ) -> bytes:
        """The whole picture. What was read of one that breaks off is kept as a part."""
        most = self._limits.max_bytes
        if answered.get("content-encoding", "identity").lower() not in ("", "identity"):
            raise DownloadFailed(f"{address[:200]} answered with a compressed body")
        stated = answered.get("content-length", "")
        if stated.isdigit() and len(start) + int(stated) > most:
            raise DownloadFailed(f"{address[:200]} has {len(start) + int(stated):,} bytes, more than {most:,}")
        data = bytearray(start)
        try:
            for chunk in response.iter_stream():
                data += chunk
                if len(data) > most:
                    raise DownloadFailed(f"{address[:200]} has more than {most:,} bytes")
                if time.monotonic() > until_s:
                    self._downloads.store_part(link, bytes(data), _validators(answered))
                    raise DownloadFailed(
                        f"{address[:200]} was not complete after {self._limits.timeout_s:g} s: index again to go on"
                    )
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException):
            self._downloads.store_part(link, bytes(data), _validators(answered))
            raise
        return bytes(data)

    def _accept(self, link: str, address: str, data: bytes, validators: Validators) -> None:
        """Store a download if it is a picture."""
        try:
            inspect_image(data)
        except ImageRejected as rejected:
            self._downloads.drop_part(link)
            raise DownloadFailed(f"{address[:200]} is not a usable picture: {rejected.detail}") from rejected
        self._downloads.store(link, data, validators)


def _matches(named: str, allowed: str) -> bool:
    """Whether a host, with its port if that is not the scheme's, is one that is allowed."""
    allowed = allowed.lower()
    return named.endswith(allowed[1:]) if allowed.startswith("*.") else named == allowed


def _conditional(validators: Validators) -> list[tuple[str, str]]:
    if validators.etag is not None:
        return [("If-None-Match", validators.etag)]
    return [] if validators.modified is None else [("If-Modified-Since", validators.modified)]


def _validators(answered: dict[str, str]) -> Validators:
    return Validators(answered.get("etag"), answered.get("last-modified"))


def _retry_after_s(text: str | None) -> float | None:
    if text is None:
        return None
    if text.strip().isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def _encoded(address: str) -> str:
    """The address in ASCII, as HTTP needs it. What is percent-encoded already stays."""
    parts = urlsplit(address)
    host = (parts.hostname or "").encode("idna").decode() if not (parts.hostname or "").isascii() else parts.netloc
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = f"?{quote(parts.query, safe='/%:@!$&()*+,;=~-._?')}" if parts.query else ""
    return f"{parts.scheme}://{host}{path}{query}"


@contextmanager
def _network_errors(address: str) -> Iterator[None]:
    try:
        yield
    except (httpcore.TimeoutException, TimeoutError) as error:
        raise DownloadFailed(f"{address[:200]} did not answer in time", retryable=True) from error
    except httpcore.ConnectError as error:
        raise DownloadFailed(f"{address[:200]} cannot be reached: {error}", retryable=True) from error
    except (httpcore.NetworkError, httpcore.ProtocolError, UnicodeError) as error:
        raise DownloadFailed(f"{address[:200]} broke off: {error}", retryable=True) from error
