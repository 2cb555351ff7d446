"""Who a caller is, by key or address, and how often each caller may do something."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from starlette.types import Scope

_MAX_CALLERS_KEPT: Final = 10_000
_IPV6_PREFIX: Final = 64  # what one customer of a provider has; single addresses of it cost nothing


class TokenBuckets:
    """A token bucket for each caller: `burst` tokens, of which `per_s` come back each second. The callers that have
    been quiet longest are forgotten where there are very many.
    """

    def __init__(self, *, per_s: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # caller -> tokens, as of when

    def wait_s(self, caller: str) -> float:
        """The seconds until there is a token; 0 where there is one."""
        return max(0.0, 1 - self._tokens(caller, self._clock())) / self._per_s

    def take(self, caller: str) -> float:
        """Take a token. Returns 0, or the seconds until the next token if the bucket is empty."""
        now_s = self._clock()
        tokens = self._tokens(caller, now_s)
        allowed = tokens >= 1
        self._buckets[caller] = (tokens - 1 if allowed else tokens, now_s)
        self._buckets.move_to_end(caller)
        if len(self._buckets) > _MAX_CALLERS_KEPT:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - tokens) / self._per_s

    def _tokens(self, caller: str, now_s: float) -> float:
        tokens, as_of_s = self._buckets.get(caller, (float(self._burst), now_s))
        return min(float(self._burst), tokens + (now_s - as_of_s) * self._per_s)


def address_of(scope: Scope) -> str:
    """The caller's address; an IPv6 address stands for its /64 network. The server has put the address that a
    trusted proxy forwards into the scope; everything that is not an address counts as one caller.
    """
    client = scope.get("client")
    return caller_address(client[0] if client else "")


def caller_address(text: str) -> str:
    """The caller of an address: an IPv6 address stands for its /64 network; `unknown` if it is not an address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), _IPV6_PREFIX), strict=False))
