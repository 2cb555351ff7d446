"""The scope of each route, declared next to it and read before the body.

A route is marked below its own decorator, a mounted application before it is mounted:

    @router.post("/api/jobs/train")
    @requires("train")
    async def start_train(...): ...

`declared_routes(app)` collects the marks once every route is added, and raises if one of them has none: a service
with a forgotten route does not start.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from fastapi import FastAPI
from fastapi.routing import RouteContext, iter_route_contexts
from starlette.routing import Mount, Route

ScopeName = Literal["search", "ingest", "train", "admin", "jobs", "embed"]
T = TypeVar("T")

# What a key of the search API may hold. `jobs` reads jobs; `admin` may do everything.
KEY_SCOPES: Final[frozenset[str]] = frozenset({"search", "ingest", "train", "admin", "jobs"})
# A key that may start jobs may read them.
IMPLIED_SCOPES: Final[dict[str, frozenset[str]]] = {
    "ingest": frozenset({"jobs"}),
    "train": frozenset({"jobs"}),
    "admin": KEY_SCOPES,
}
ANY_KEY: Final[frozenset[str]] = KEY_SCOPES | {"embed"}
_MARK: Final = "__vitrine_scopes__"
_OPEN: Final = "open to all"


class ScopeUndeclared(RuntimeError):
    """A route says nothing about who may call it. A defect of the program, found when it starts."""


def requires(*scopes: ScopeName) -> Callable[[T], T]:
    """Mark an endpoint or a mounted application: a key needs one of `scopes`."""
    if not scopes:
        raise ValueError("name at least one scope, or use open_to_all")

    def mark(endpoint: T) -> T:
        setattr(endpoint, _MARK, frozenset(scopes))
        return endpoint

    return mark


def requires_any_key(endpoint: T) -> T:
    """Mark an endpoint that every key may call, whatever its scope."""
    setattr(endpoint, _MARK, ANY_KEY)
    return endpoint


def open_to_all(endpoint: T) -> T:
    """Mark an endpoint that needs no key."""
    setattr(endpoint, _MARK, _OPEN)
    return endpoint


@dataclass(frozen=True, slots=True)
class DeclaredRoute:
    """A route and who may call it: with a key that has one of `scopes`, or anybody where that is None."""

    path: str
    methods: frozenset[str] | None  # None: any, as for a mounted application
    scopes: frozenset[str] | None
    pattern: re.Pattern[str]


class DeclaredRoutes:
    """Every route of an application, in the order in which it is matched."""

    def __init__(self, routes: tuple[DeclaredRoute, ...]) -> None:
        self.routes = routes

    def match(self, method: str, path: str) -> DeclaredRoute | None:
        """The route that answers a call, or None for an unknown path or a method the path does not take."""
        for route in self.routes:
            if (route.methods is None or method in route.methods) and route.pattern.match(path):
                return route
        return None

    def scopes_of(self, method: str, path: str) -> frozenset[str] | None:
        """The scopes of which a call needs one; None where anybody may call. What is unknown needs a key."""
        route = self.match(method, path)
        return ANY_KEY if route is None else route.scopes

    def is_open(self, method: str, path: str) -> bool:
        return self.scopes_of(method, path) is None


def declared_routes(app: FastAPI) -> DeclaredRoutes:
    """The routes of `app`, mounts and documentation included. Raises ScopeUndeclared, naming what has no mark."""
    routes, undeclared = [], []
    for context in iter_route_contexts(app.router.routes):
        mark = getattr(_marked(context), _MARK, None)
        if mark is None:
            undeclared.append(f"{'/'.join(sorted(context.methods or ())) or 'any method'} {context.path}")
            continue
        methods = None if context.methods is None else frozenset(context.methods)
        scopes = None if mark == _OPEN else mark
        routes.append(DeclaredRoute(context.path or "", methods, scopes, context.path_regex))
    if undeclared:
        raise ScopeUndeclared(
            f"no scope is declared for {', '.join(undeclared)}: put @requires(...) or @open_to_all below the route"
        )
    return DeclaredRoutes(tuple(routes))


def _marked(context: RouteContext) -> Any:
    """What carries a route's mark. None for a kind of route that can carry none, such as a web socket."""
    route = context.original_route
    if isinstance(route, Mount):
        return route.app
    return route.endpoint if isinstance(route, Route) else None
