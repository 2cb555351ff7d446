"""Which scopes and which kind of work each route declares, and the table of all routes.

A route declares its scopes below its own decorator, a mounted application before it is mounted:

    @router.post("/api/jobs/train")
    @requires("train")
    async def start_train(...): ...

`declared_routes(app)` collects the declarations when every route is added, and raises if one is missing, so a service
with an undeclared route does not start. `vitrine.web.api_keys` checks the scopes of each request.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from fastapi import FastAPI
from fastapi.routing import RouteContext, iter_route_contexts
from starlette.routing import Mount, Route
from starlette.types import Scope

ScopeName = Literal["search", "ingest", "train", "admin", "jobs", "embed"]
# What a call costs. A query uses the embedder and changes nothing: it is stopped when its caller disconnects. A write
# waits for the indexer. Health calls and streams are unbounded: neither counted nor timed.
Work = Literal["call", "query", "write", "unbounded"]
T = TypeVar("T")

# What a key of the search API may hold. `jobs` reads jobs; `admin` may do everything.
KEY_SCOPES: Final[frozenset[str]] = frozenset({"search", "ingest", "train", "admin", "jobs"})
ANY_KEY: Final[frozenset[str]] = KEY_SCOPES | {"embed"}
_MARK: Final = "__vitrine_access__"


class ScopeUndeclared(RuntimeError):
    """A route declares no scopes. Raised when a service starts; a defect of the program."""


@dataclass(frozen=True, slots=True)
class Access:
    """The scopes of which a key needs one (None: no key is needed), and what a call costs.

    A call that accepts the media type `streams` is unbounded.
    """

    scopes: frozenset[str] | None
    work: Work = "call"
    streams: str | None = None


def requires(*scopes: ScopeName, work: Work = "call", streams: str | None = None) -> Callable[[T], T]:
    """Mark an endpoint or a mounted application: a key needs one of `scopes`."""
    if not scopes:
        raise ValueError("name at least one scope, or use open_to_all")
    return _marking(Access(frozenset(scopes), work, streams))


def requires_any_key(endpoint: T) -> T:
    """Mark an endpoint that every key may call, whatever its scope."""
    return _marking(Access(ANY_KEY))(endpoint)


def open_to_all(endpoint: T) -> T:
    """Mark an endpoint that needs no key."""
    return _marking(Access(None))(endpoint)


def health_call(endpoint: T) -> T:
    """Mark an endpoint that needs no key and that a service answers even when it is full."""
    return _marking(Access(None, "unbounded"))(endpoint)


def _marking(access: Access) -> Callable[[T], T]:
    def mark(endpoint: T) -> T:
        setattr(endpoint, _MARK, access)
        return endpoint

    return mark


@dataclass(frozen=True, slots=True)
class DeclaredRoute:
    """A route and its declaration. `path` names its parameters without their converters. `methods` is None for a
    mounted application, which takes any method.
    """

    path: str
    methods: frozenset[str] | None
    access: Access
    pattern: re.Pattern[str]

    @property
    def scopes(self) -> frozenset[str] | None:
        return self.access.scopes


class DeclaredRoutes:
    """Every route of an application, in the order in which they are matched."""

    def __init__(self, routes: tuple[DeclaredRoute, ...]) -> None:
        self.routes = routes

    def match(self, method: str, path: str) -> DeclaredRoute | None:
        """The route that answers a call, or None for an unknown path or a method the path does not take."""
        for route in self.routes:
            if (route.methods is None or method in route.methods) and route.pattern.match(path):
                return route
        return None

    def scopes_of(self, method: str, path: str) -> frozenset[str] | None:
        """The scopes of which a call needs one; None if it needs no key. Unknown routes need any key."""
        route = self.match(method, path)
        return ANY_KEY if route is None else route.scopes

    def is_open(self, method: str, path: str) -> bool:
        """Whether the call needs no key."""
        return self.scopes_of(method, path) is None

    def is_query(self, method: str, path: str) -> bool:
        """Whether the call uses the embedder and changes nothing."""
        route = self.match(method, path)
        return route is not None and route.access.work == "query"

    def timeouts(self, seconds: Mapping[Work, float | None]) -> Callable[[Scope], float | None]:
        """A function of a request's scope that returns the seconds a call may take, None for no limit."""

        def timeout_of(scope: Scope) -> float | None:
            route = self.match(scope["method"], scope["path"])
            if route is None:
                return seconds["call"]
            streams = route.access.streams is not None and asks_for(scope, route.access.streams)
            return seconds["unbounded" if streams else route.access.work]

        return timeout_of


def declared_routes(app: FastAPI) -> DeclaredRoutes:
    """The routes of `app`, mounts and documentation included. Raises ScopeUndeclared, naming undeclared routes."""
    routes, undeclared = [], []
    for context in iter_route_contexts(app.router.routes):
        access: Access | None = getattr(_marked(context), _MARK, None)
        if access is None:
            undeclared.append(f"{'/'.join(sorted(context.methods or ())) or 'any method'} {context.path}")
            continue
        methods = None if context.methods is None else frozenset(context.methods)
        path = (context.path or "").replace(":path}", "}")
        routes.append(DeclaredRoute(path, methods, access, context.path_regex))
    if undeclared:
        raise ScopeUndeclared(
            f"no scope is declared for {', '.join(undeclared)}: put @requires(...) or @open_to_all below the route"
        )
    return DeclaredRoutes(tuple(routes))


def _marked(context: RouteContext) -> Any:
    """The object that carries a route's mark; None for a kind of route without one, such as a web socket."""
    route = context.original_route
    if isinstance(route, Mount):
        return route.app
    return route.endpoint if isinstance(route, Route) else None


def asks_for(scope: Mapping[str, Any], media_type: str) -> bool:
    """Whether the Accept header names `media_type`. `*/*` does not count."""
    accepted = b",".join(value for name, value in scope["headers"] if name == b"accept").decode("latin-1")
    return media_type in (offer.partition(";")[0].strip().lower() for offer in accepted.split(","))
