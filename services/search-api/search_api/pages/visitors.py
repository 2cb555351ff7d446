"""Who looks at a page, as templates see it: whether there are keys at all, whose session it is, what it may do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from vitrine.web import ApiKey, caller_name
from vitrine.web.access import ANY_KEY, scopes_held


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


def visitors(keys: tuple[ApiKey, ...]) -> Callable[[Mapping[str, Any]], Visitor]:
    """What tells the visitor of a request's scope: with no key configured, somebody who may do everything."""

    def visitor_of(scope: Mapping[str, Any]) -> Visitor:
        if not keys:
            return _ANYBODY
        return Visitor(keys_needed=True, name=caller_name(scope), scopes=scopes_held(scope) or frozenset())

    return visitor_of
