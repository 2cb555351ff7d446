"""API keys: their configuration, the check before a byte of the body is read, and rate limits of wrong keys.

Only hashes of keys are configured. Comparing takes the same time for every wrong key, and no key is ever logged.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog
from fastapi import Request
from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send

from vitrine.errors import AccessDenied, KeyMissing, KeyRefused, SettingsInvalid, TooManyRequests
from vitrine.telemetry import get_logger
from vitrine.web.access import ANY_KEY, KEY_SCOPES, DeclaredRoutes
from vitrine.web.problems import send_problem
from vitrine.web.sites import address_of

# A key that may start jobs may read them.
IMPLIED_SCOPES: Final[dict[str, frozenset[str]]] = {
    "ingest": frozenset({"jobs"}),
    "train": frozenset({"jobs"}),
    "admin": KEY_SCOPES,
}
_MAX_CALLERS_KEPT: Final = 10_000
_NAME: Final = "api_key"
_SCOPES: Final = "api_scopes"
_ENTRY = re.compile(r"(?P<name>[A-Za-z0-9_.-]{1,64}):(?P<scopes>[a-z+]+):(?P<digest>[0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A configured key: its name in logs, its scopes, and the SHA-256 of the key itself."""

    name: str
    scopes: frozenset[str]
    sha256: str

    @property
    def allowed(self) -> frozenset[str]:
        """The scopes, with those that they imply."""
        return self.scopes.union(*(IMPLIED_SCOPES.get(scope, frozenset()) for scope in self.scopes))


def parse_api_keys(text: str) -> tuple[ApiKey, ...]:
    """Parse `name:scope+scope:sha256hex` entries separated by commas.

    Raises SettingsInvalid. The message does not repeat the entry, which may be a key that was pasted by mistake.
    """
    keys = []
    for number, entry in enumerate(filter(None, (part.strip() for part in text.split(","))), start=1):
        match = _ENTRY.fullmatch(entry)
        scopes = frozenset(match["scopes"].split("+")) if match else frozenset()
        if match is None or not scopes <= KEY_SCOPES:
            raise SettingsInvalid(
                f"API key entry {number} is not of the form name:scope+scope:sha256hex with scopes {sorted(KEY_SCOPES)}"
            )
        keys.append(ApiKey(match["name"], scopes, match["digest"]))
    return tuple(keys)


def key_between_services(name: str, secret: SecretStr | None) -> tuple[ApiKey, ...]:
    """The key of a service that only other services call; empty if no secret is configured."""
    if secret is None or not secret.get_secret_value():
        return ()
    return (ApiKey(name, ANY_KEY, hashlib.sha256(secret.get_secret_value().encode()).hexdigest()),)


class TokenBuckets:
    """A token bucket for each caller: up to `burst` tokens, refilled by `per_s` a second.

    Beyond 10,000 callers the least recent ones are forgotten.
    """

    def __init__(self, *, per_s: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # caller -> tokens, as of when

    def wait_s(self, caller: str) -> float:
        """Seconds until a token is available; 0 if there is one."""
        return max(0.0, 1 - self._tokens(caller, self._clock())) / self._per_s

    def take(self, caller: str) -> float:
        """Take a token. Returns 0, or the seconds until the next one if the bucket is empty."""
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


class KeyRing:
    """The configured keys, and a limit of wrong ones. False if no key is configured.

    An address that has sent `wrong_keys_per_minute` wrong keys is refused for a while, before the key that it sends is
    checked; 0 means no limit. A key that was accepted once is always checked: behind a proxy, the guesses of one caller
    do not lock out the others.
    """

    def __init__(
        self,
        keys: tuple[ApiKey, ...],
        *,
        wrong_keys_per_minute: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.keys: Final = keys
        self._wrong_keys = (
            TokenBuckets(per_s=wrong_keys_per_minute / 60, burst=wrong_keys_per_minute, clock=clock)
            if wrong_keys_per_minute
            else None
        )
        # Python's hashes, seeded for each process, of the keys that were accepted.
        self._accepted: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self.keys)

    def identify(self, presented: bytes, address: str) -> ApiKey:
        """The configured key equal to `presented`. Raises KeyRefused, and TooManyRequests after too many wrong keys."""
        if hash(presented) not in self._accepted:
            self._check_wrong_keys(address)
        digest = hashlib.sha256(presented).hexdigest()
        found: ApiKey | None = None
        for key in self.keys:  # every key is compared, so that the time reveals nothing
            if hmac.compare_digest(key.sha256, digest):
                found = key
        if found is None:
            if self._wrong_keys is not None:
                self._wrong_keys.take(address)
            get_logger("access").warning("wrong_key", address=address)
            raise KeyRefused("the API key is not known")
        self._accepted.add(hash(presented))
        return found

    def _check_wrong_keys(self, address: str) -> None:
        wait_s = self._wrong_keys.wait_s(address) if self._wrong_keys is not None else 0.0
        if wait_s > 0:
            raise TooManyRequests(
                "too many wrong API keys came from this address: wait for the seconds in Retry-After",
                retry_after_s=wait_s,
            )


class SessionReader(Protocol):
    """Finds the key that a browser session was started with."""

    def key_of(self, scope: Scope) -> ApiKey | None:
        """The key of the request's session; None if there is no session that may be used for this request."""
        ...


class ApiKeys:
    """ASGI middleware. Answers 401 without a key and 403 with a wrong one. If no key is configured, every call passes.

    A session counts as its key if the request presents no key. Calls that declare one of the `public` scopes need
    neither.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        ring: KeyRing,
        routes: DeclaredRoutes,
        sessions: SessionReader | None = None,
        public: frozenset[str] = frozenset(),
    ) -> None:
        self._app = app
        self._ring = ring
        self._routes = routes
        self._sessions = sessions
        self._public = public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        needed = self._routes.scopes_of(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if needed is None or not self._ring:
            await self._app(scope, receive, send)
            return
        try:
            key = self._identify(scope)
            if key is None and not self._is_public(scope):
                raise KeyMissing(
                    "this call needs an API key: send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"
                )
            if key is not None and not needed & key.allowed:
                raise KeyRefused(f"the API key lacks the scope {' or '.join(map(repr, sorted(needed)))}")
        except AccessDenied as error:
            await send_problem(send, error)
            return
        state = scope.setdefault("state", {})
        if key is None:
            state[_SCOPES] = self._public
            await self._app(scope, receive, send)
            return
        state.update({_NAME: key.name, _SCOPES: key.allowed})
        with structlog.contextvars.bound_contextvars(api_key=key.name):
            await self._app(scope, receive, send)

    def _identify(self, scope: Scope) -> ApiKey | None:
        presented = _presented_key(scope)
        if presented is not None:
            return self._ring.identify(presented, address_of(scope))
        return self._sessions.key_of(scope) if self._sessions is not None else None

    def _is_public(self, scope: Scope) -> bool:
        """Whether the call declares a public scope, or is unknown and there are public scopes."""
        route = self._routes.match(scope["method"], scope["path"])
        if not self._public or route is None:
            return bool(self._public)
        return route.scopes != ANY_KEY and bool((route.scopes or frozenset()) & self._public)


def caller_name(scope: Mapping[str, Any]) -> str | None:
    """The name of the caller's key; None if the call has no key."""
    name: str | None = scope.get("state", {}).get(_NAME)
    return name


def caller_scopes(request: Request) -> frozenset[str]:
    """The caller's scopes; all of them if no key is configured."""
    held = scopes_held(request.scope)
    return ANY_KEY if held is None else held


def scopes_held(scope: Mapping[str, Any]) -> frozenset[str] | None:
    """The scopes that a request was accepted with; None if it needed no key."""
    scopes: frozenset[str] | None = scope.get("state", {}).get(_SCOPES)
    return scopes


def _presented_key(scope: Scope) -> bytes | None:
    for name, value in scope["headers"]:
        if name == b"x-api-key" and value:
            return bytes(value)
        if name == b"authorization" and value[:7].lower() == b"bearer " and value[7:].strip():
            return bytes(value[7:].strip())
    return None
