"""Who looks at a page, as templates see it: whether there are keys at all, whose session it is, what it may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from starlette.types import Scope

from search_api.pages.sessions import Sessions
from vitrine.web import ANY_KEY, KeyRing, caller_name, scopes_held


@dataclass(frozen=True, slots=True)
class Visitor:
    """`name` is that of the session's key, None for someone without one."""

    keys_needed: bool
    name: str | None
    scopes: frozenset[str]

    def may(self, *scopes: str) -> bool:
        """Whether the visitor holds one of `scopes`."""
        return bool(self.scopes & frozenset(scopes))


_ANYBODY: Final = Visitor(keys_needed=False, name=None, scopes=ANY_KEY)


@dataclass(frozen=True, slots=True)
class Visitors:
    """Tells the visitor of a request. `public` is what somebody without a key may do."""

    ring: KeyRing
    sessions: Sessions
    public: frozenset[str]

    def of(self, scope: Scope) -> Visitor:
        """The visitor of a request, of a page that asks for no key too."""
        if not self.ring:
            return _ANYBODY
        held = scopes_held(scope)
        if held is not None:
            return Visitor(keys_needed=True, name=caller_name(scope), scopes=held)
        key = self.sessions.key_of(scope)
        if key is None:
            return Visitor(keys_needed=True, name=None, scopes=self.public)
        return Visitor(keys_needed=True, name=key.name, scopes=key.allowed)
