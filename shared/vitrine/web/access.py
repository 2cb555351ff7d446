"""API keys, checked before a byte of the body is read. Only hashes of keys are configured, comparison takes the same
time for every wrong key, and a key never reaches a log.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from fastapi import Request
from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send

from vitrine.errors import AccessDenied, KeyMissing, KeyRefused, SettingsInvalid, TooManyRequests
from vitrine.telemetry import get_logger
from vitrine.web.callers import TokenBuckets, address_of
from vitrine.web.problems import send_problem
from vitrine.web.scopes import ANY_KEY, IMPLIED_SCOPES, KEY_SCOPES, DeclaredRoutes

_NAME: Final = "api_key"
_SCOPES: Final = "api_scopes"
_ENTRY = re.compile(r"(?P<name>[A-Za-z0-9_.-]{1,64}):(?P<scopes>[a-z+]+):(?P<digest>[0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A configured key: a name for the log, what it may do, and the SHA-256 of the key itself."""

    name: str
    scopes: frozenset[str]
    sha256: str

    @property
    def allowed(self) -> frozenset[str]:
        """Its scopes and those that come with them."""
        return self.scopes.union(*(IMPLIED_SCOPES.get(scope, frozenset()) for scope in self.scopes))


def parse_api_keys(text: str) -> tuple[ApiKey, ...]:
    """Read `name:scope+scope:sha256hex` entries separated by commas. `admin` may do everything.

    Raises SettingsInvalid, without repeating the entry, which may be a key pasted by mistake.
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
    """The one key of a service that only others of the system call; none where no secret is configured."""
    if secret is None or not secret.get_secret_value():
        return ()
    return (ApiKey(name, ANY_KEY, hashlib.sha256(secret.get_secret_value().encode()).hexdigest()),)


class ApiKeys:
    """ASGI middleware. Answers 401 without a key and 403 with a wrong one; with no key configured it lets all pass.

    An address that has sent `wrong_keys_per_minute` wrong keys is answered 429 until some time has passed, before the
    key it sends is looked at; 0 is no limit. A key that was accepted once is always looked at: behind a proxy, one
    caller's guesses do not shut out the others.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: tuple[ApiKey, ...],
        routes: DeclaredRoutes,
        wrong_keys_per_minute: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._keys = keys
        self._routes = routes
        self._wrong_keys = (
            TokenBuckets(per_s=wrong_keys_per_minute / 60, burst=wrong_keys_per_minute, clock=clock)
            if wrong_keys_per_minute
            else None
        )
        # Of keys that were accepted, what Python's own hash, seeded anew for each process, makes of them.
        self._accepted: set[int] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        needed = self._routes.scopes_of(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if needed is None or not self._keys:
            await self._app(scope, receive, send)
            return
        try:
            key = self._identify(scope, needed)
        except AccessDenied as error:
            await send_problem(send, error)
            return
        scope.setdefault("state", {}).update({_NAME: key.name, _SCOPES: key.allowed})
        with structlog.contextvars.bound_contextvars(api_key=key.name):
            await self._app(scope, receive, send)

    def _identify(self, scope: Scope, needed: frozenset[str]) -> ApiKey:
        presented = _presented_key(scope)
        if presented is None:
            raise KeyMissing("this call needs an API key: send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'")
        address = address_of(scope)
        if hash(presented) not in self._accepted:
            self._check_wrong_keys(address)
        digest = hashlib.sha256(presented).hexdigest()
        found: ApiKey | None = None
        for key in self._keys:  # every key is compared, so that the time tells nothing
            if hmac.compare_digest(key.sha256, digest):
                found = key
        if found is None:
            if self._wrong_keys is not None:
                self._wrong_keys.take(address)
            get_logger("access").warning("wrong_key", address=address)
            raise KeyRefused("the API key is not known")
        self._accepted.add(hash(presented))
        if not needed & found.allowed:
            raise KeyRefused(f"the API key lacks the scope {' or '.join(map(repr, sorted(needed)))}")
        return found

    def _check_wrong_keys(self, address: str) -> None:
        wait_s = self._wrong_keys.wait_s(address) if self._wrong_keys is not None else 0.0
        if wait_s > 0:
            raise TooManyRequests(
                "too many wrong API keys came from this address: send the right one after the time in Retry-After",
                retry_after_s=wait_s,
            )


def caller_name(scope: Mapping[str, Any]) -> str | None:
    """The name of the caller's key, or None where the call needs none."""
    name: str | None = scope.get("state", {}).get(_NAME)
    return name


def caller_scopes(request: Request) -> frozenset[str]:
    """What the caller may do: everything where no key is configured."""
    held = scopes_held(request.scope)
    return ANY_KEY if held is None else held


def scopes_held(scope: Mapping[str, Any]) -> frozenset[str] | None:
    """The scopes of the key that a request was let in with; None where it was asked for none."""
    scopes: frozenset[str] | None = scope.get("state", {}).get(_SCOPES)
    return scopes


def _presented_key(scope: Scope) -> bytes | None:
    for name, value in scope["headers"]:
        if name == b"x-api-key" and value:
            return bytes(value)
        if name == b"authorization" and value[:7].lower() == b"bearer " and value[7:].strip():
            return bytes(value[7:].strip())
    return None
