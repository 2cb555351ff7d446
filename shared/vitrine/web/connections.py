"""The open connections of one HTTP server, and their limits.

Beyond `max_connections` a few reserved places are left for health calls alone, so that a full service is not mistaken
for a dead one. If those are taken too, the oldest is closed for the next.
"""

from __future__ import annotations

import ipaddress
import resource
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol

from vitrine.telemetry import get_logger
from vitrine.web.sites import caller_address

# Paths that a full service still answers. They are not logged either: load balancers call them every few seconds.
HEALTH_PATHS: Final = frozenset({"/livez", "/readyz", "/metrics"})
_FILES_BESIDE_CONNECTIONS: Final = 512  # outgoing connections, pictures being read, logs
_LOG_INTERVAL_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits of each connection and of their number. 0 for `max_connections_per_address` means no limit."""

    max_connections: int = 1024
    max_connections_per_address: int = 0
    reserved_connections: int = 32
    max_header_bytes: int = 32_768
    max_headers: int = 128
    header_timeout_s: float = 10.0
    body_grace_s: float = 10.0
    body_min_bytes_per_s: int = 4_096
    body_timeout_s: float = 120.0
    write_timeout_s: float = 30.0
    refusal_pause_s: float = 0.0


class Place(Enum):
    """How a new connection is accepted."""

    FULL = "full"
    HEALTH_ONLY = "health_only"
    REFUSED = "refused"


class Connection(Protocol):
    """A connection, as `Connections` uses it."""

    address: str

    def make_room(self) -> None: ...

    def check(self, now_s: float) -> None: ...


@dataclass(slots=True)
class Connections:
    """The open connections of one server. Each address in `proxies` carries many callers."""

    limits: ConnectionLimits
    proxies: tuple[str, ...] = ()  # addresses and networks
    _full: int = 0
    _health_only: OrderedDict[Connection, None] = field(default_factory=OrderedDict)
    _by_address: Counter[str] = field(default_factory=Counter)
    _refused: Counter[str] = field(default_factory=Counter)
    _logged_s: float = float("-inf")

    def add(self, connection: Connection) -> Place:
        """Add a connection and return its place. A REFUSED one is not counted and need not be removed."""
        caller = caller_address(connection.address)
        most = self.limits.max_connections_per_address
        if most and self._by_address[caller] >= most and not self._of_many(connection.address):
            self.count_refusal("address")
            return Place.REFUSED
        self._by_address[caller] += 1
        if self._full < self.limits.max_connections:
            self._full += 1
            return Place.FULL
        if len(self._health_only) >= self.limits.reserved_connections:
            oldest, _ = self._health_only.popitem(last=False)
            oldest.make_room()
        self._health_only[connection] = None
        return Place.HEALTH_ONLY

    def remove(self, connection: Connection, place: Place) -> None:
        if place is Place.REFUSED:
            return
        caller = caller_address(connection.address)
        self._by_address[caller] -= 1
        if not self._by_address[caller]:
            del self._by_address[caller]
        if place is Place.FULL:
            self._full -= 1
        else:
            self._health_only.pop(connection, None)

    def is_proxy(self, address: str) -> bool:
        """Whether the address is a trusted proxy's."""
        try:
            of = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        return any(of in ipaddress.ip_network(proxy) for proxy in self.proxies)

    def _of_many(self, address: str) -> bool:
        # A Unix socket has no address; its callers are on this machine, like those of loopback.
        if not address or self.is_proxy(address):
            return True
        try:
            return ipaddress.ip_address(address.partition("%")[0]).is_loopback
        except ValueError:
            return False

    def count_refusal(self, reason: str) -> None:
        self._refused[reason] += 1

    def sweep(self, connections: Iterable[Connection], now_s: float) -> None:
        """Check the time limits of each connection. Called a few times a second."""
        for connection in tuple(connections):
            connection.check(now_s)
        if self._refused and now_s - self._logged_s >= _LOG_INTERVAL_S:
            # One line for many refusals: a line for each would make refusing expensive.
            get_logger("connections").warning("connections_refused", open=self._full, **self._refused)
            self._refused.clear()
            self._logged_s = now_s


def allow_open_files(limits: ConnectionLimits) -> None:
    """Raise this process's limit of open files, as far as it may, to one for each connection."""
    wanted = limits.max_connections + limits.reserved_connections + _FILES_BESIDE_CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    reachable = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, reachable), hard))
    except (ValueError, OSError):
        reachable = soft
    if reachable < wanted:
        get_logger("connections").warning("open_files_limited", limit=reachable, wanted=wanted)
