"""The visitor of a page as templates see it: the session and its scopes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from starlette.types import Scope

from search_api.pages.sessions import Sessions
from vitrine.web import ANY_KEY, KeyRing, caller_name, scopes_held


@dataclass(frozen=True, slots=True)
class Visitor:
    """`name` is the name of the session's key, None without a session."""

    keys_needed: bool
    name: str | None
    scopes: frozenset[str]

    def may(self, *scopes: str) -> bool:
        """Whether the visitor holds one of `scopes`."""
        return bool(self.scopes & frozenset(scopes))


_ANYBODY: Final = Visitor(keys_needed=False, name=None, scopes=ANY_KEY)


@dataclass(frozen=True, slots=True)
class Visitors:
    """Finds the visitor of a request. `public` are the scopes without a key."""

    ring: KeyRing
    sessions: Sessions
    public: frozenset[str]

    def of(self, scope: Scope) -> Visitor:
        """The visitor of a request, also on pages that need no key."""
        if not self.ring:
            return _ANYBODY
        held = scopes_held(scope)
        if held is not None:
            return Visitor(keys_needed=True, name=caller_name(scope), scopes=held)
        key = self.sessions.key_of(scope)
        if key is None:
            return Visitor(keys_needed=True, name=None, scopes=self.public)
        return Visitor(keys_needed=True, name=key.name, scopes=key.allowed)
