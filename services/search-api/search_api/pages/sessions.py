"""Sessions of visitors who logged in with an API key: a signed cookie with the key's name. Nothing is stored, so every
process of the API accepts every session. The signing secret derives from the configured keys: changing any of them
ends all sessions.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Any, Final

from itsdangerous import BadData, TimestampSigner, URLSafeTimedSerializer
from starlette.datastructures import MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import Scope

from search_api.answers import PATH_PREFIX
from vitrine.web import ApiKey, is_same_origin

MAX_AGE_S: Final = 12 * 3_600
_SALT: Final = "vitrine session"
_MAX_COOKIE_BYTES: Final = 1_024


class _Signer(TimestampSigner):
    """A signer with an injected clock."""

    def __init__(self, *arguments: Any, clock: Callable[[], float], **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._clock = clock

    def get_timestamp(self) -> int:
        return int(self._clock())


class Sessions:
    """Starts, reads and ends the sessions of `keys`."""

    def __init__(self, keys: tuple[ApiKey, ...], *, clock: Callable[[], float] = time.time) -> None:
        secret = hashlib.sha256("\n".join(f"{k.name}:{'+'.join(sorted(k.scopes))}:{k.sha256}" for k in keys).encode())
        # Browsers send cookies to every port of a host, so systems with other keys need other cookie names.
        self.cookie: Final = f"vitrine_session_{secret.hexdigest()[:8]}"
        self._keys = {(key.name, _print_of(key)): key for key in keys}
        self._serializer = URLSafeTimedSerializer(
            hmac.digest(secret.digest(), _SALT.encode(), "sha256"),
            salt=_SALT,
            signer=_Signer,
            signer_kwargs={"clock": clock, "digest_method": hashlib.sha256, "key_derivation": "hmac"},
        )

    def key_of(self, scope: Scope) -> ApiKey | None:
        """The key of a request's session; None without a session or if another site sends the request."""
        value = self._cookie_of(scope)
        if not value or not is_same_origin(scope):
            return None
        try:
            name, key_print = self._serializer.loads(value, max_age=MAX_AGE_S)
            return self._keys.get((name, key_print))
        except (BadData, ValueError, TypeError):
            return None

    def start(self, headers: MutableHeaders, key: ApiKey, *, secure: bool) -> None:
        """Set the cookie of a new session. `secure` keeps it from being sent without TLS."""
        value = self._serializer.dumps([key.name, _print_of(key)])
        headers.append("Set-Cookie", self._cookie_text(str(value), MAX_AGE_S, secure=secure))

    def end(self, headers: MutableHeaders, *, secure: bool) -> None:
        """Remove the cookie."""
        headers.append("Set-Cookie", self._cookie_text("", 0, secure=secure))

    def _cookie_text(self, value: str, max_age_s: int, *, secure: bool) -> str:
        attributes = f"Path={PATH_PREFIX.get() or '/'}; Max-Age={max_age_s}; HttpOnly; SameSite=Strict"
        return f"{self.cookie}={value}; {attributes}{'; Secure' if secure else ''}"

    def _cookie_of(self, scope: Scope) -> str | None:
        for name, value in scope["headers"]:
            if name == b"cookie" and self.cookie.encode() in value:
                text = cookie_parser(value.decode("latin-1")).get(self.cookie, "")
                return text if len(text) <= _MAX_COOKIE_BYTES else None
        return None


def _print_of(key: ApiKey) -> str:
    """A fingerprint that differs between keys of the same name and does not reveal the key."""
    return hashlib.sha256(f"{_SALT}:{key.sha256}".encode()).hexdigest()[:16]
