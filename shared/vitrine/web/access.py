"""API keys, checked before a byte of the body is read. Only hashes of keys are configured, comparison takes the same
time for every wrong key, and a key never reaches a log.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from vitrine.errors import AccessDenied, KeyMissing, KeyRefused, SettingsInvalid
from vitrine.web.problems import send_problem

SCOPES: Final = frozenset({"search", "ingest", "train", "admin"})
_ENTRY = re.compile(r"(?P<name>[A-Za-z0-9_.-]{1,64}):(?P<scopes>[a-z+]+):(?P<digest>[0-9a-f]{64})")

# Which scope a call needs, by method and path; None where anybody may call.
ScopeOf = Callable[[str, str], str | None]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A configured key: a name for the log, what it may do, and the SHA-256 of the key itself."""

    name: str
    scopes: frozenset[str]
    sha256: str


def parse_api_keys(text: str) -> tuple[ApiKey, ...]:
    """Read `name:scope+scope:sha256hex` entries separated by commas. `admin` may do everything.

    Raises SettingsInvalid, without repeating the entry, which may be a key pasted by mistake.
    """
    keys = []
    for number, entry in enumerate(filter(None, (part.strip() for part in text.split(","))), start=1):
        match = _ENTRY.fullmatch(entry)
        scopes = frozenset(match["scopes"].split("+")) if match else frozenset()
        if match is None or not scopes <= SCOPES:
            raise SettingsInvalid(
                f"API key entry {number} is not of the form name:scope+scope:sha256hex with scopes {sorted(SCOPES)}"
            )
        keys.append(ApiKey(match["name"], scopes, match["digest"]))
    return tuple(keys)


class ApiKeys:
    """ASGI middleware. Answers 401 without a key and 403 with a wrong one; with no key configured it lets all pass."""

    def __init__(self, app: ASGIApp, *, keys: tuple[ApiKey, ...], scope_of: ScopeOf) -> None:
        self._app = app
        self._keys = keys
        self._scope_of = scope_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        needed = self._scope_of(scope["method"], scope["path"]) if scope["type"] == "http" and self._keys else None
        if needed is None:
            await self._app(scope, receive, send)
            return
        try:
            key = self._identify(scope, needed)
        except AccessDenied as error:
            await send_problem(send, error)
            return
        scope.setdefault("state", {})["api_key"] = key.name
        with structlog.contextvars.bound_contextvars(api_key=key.name):
            await self._app(scope, receive, send)

    def _identify(self, scope: Scope, needed: str) -> ApiKey:
        presented = _presented_key(scope)
        if presented is None:
            raise KeyMissing("this call needs an API key: send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'")
        digest = hashlib.sha256(presented).hexdigest()
        found: ApiKey | None = None
        for key in self._keys:  # every key is compared, so that the time tells nothing
            if hmac.compare_digest(key.sha256, digest):
                found = key
        if found is None:
            raise KeyRefused("the API key is not known")
        if needed not in found.scopes and "admin" not in found.scopes:
            raise KeyRefused(f"the API key lacks the scope {needed!r}")
        return found


def _presented_key(scope: Scope) -> bytes | None:
    for name, value in scope["headers"]:
        if name == b"x-api-key" and value:
            return bytes(value)
        if name == b"authorization" and value[:7].lower() == b"bearer " and value[7:].strip():
            return bytes(value[7:].strip())
    return None
