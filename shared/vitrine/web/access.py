"""Who may call what: the scopes declared on each route, and the API keys that carry them, checked before a byte of the
body is read. Only hashes of keys are configured, comparison takes the same time for every wrong key, and a key never
reaches a log.

A route declares its scopes below its own decorator, a mounted application before it is mounted:

    @router.post("/api/jobs/train")
    @requires("train")
    async def start_train(...): ...

`declared_routes(app)` collects the declarations once every route is added, and raises if one is missing: a service with
a forgotten route does not start.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeVar

import structlog
from fastapi import FastAPI, Request
from fastapi.routing import RouteContext, iter_route_contexts
from pydantic import SecretStr
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from vitrine.errors import AccessDenied, KeyMissing, KeyRefused, SettingsInvalid, TooManyRequests
from vitrine.telemetry import get_logger
from vitrine.web.problems import send_problem
from vitrine.web.sites import address_of

ScopeName = Literal["search", "ingest", "train", "admin", "jobs", "embed"]
# What a call costs. A query costs the embedder and changes nothing: it is stopped when its caller has gone. A write
# waits for the indexer. Health calls and streams are unbounded: neither counted nor timed.
Work = Literal["call", "query", "write", "unbounded"]
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
_MARK: Final = "__vitrine_access__"
_MAX_CALLERS_KEPT: Final = 10_000


class ScopeUndeclared(RuntimeError):
    """A route says nothing about who may call it. A defect of the program, found when it starts."""


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call a route, None for anybody, and what a call costs; unbounded where its caller asks for the media type
    `streams`.
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
    """Mark an endpoint that needs no key and is answered even by a service that is full."""
    return _marking(Access(None, "unbounded"))(endpoint)


def _marking(access: Access) -> Callable[[T], T]:
    def mark(endpoint: T) -> T:
        setattr(endpoint, _MARK, access)
        return endpoint

    return mark


@dataclass(frozen=True, slots=True)
class DeclaredRoute:
    """A route and what is declared of it. `methods` is None for a mounted application, which takes any."""

    path: str
    methods: frozenset[str] | None
    access: Access
    pattern: re.Pattern[str]

    @property
    def scopes(self) -> frozenset[str] | None:
        return self.access.scopes


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
        """Whether anybody may call."""
        return self.scopes_of(method, path) is None

    def is_query(self, method: str, path: str) -> bool:
        """Whether the call costs the embedder and changes nothing."""
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
    """The routes of `app`, mounts and documentation included. Raises ScopeUndeclared, naming what has no mark."""
    routes, undeclared = [], []
    for context in iter_route_contexts(app.router.routes):
        access: Access | None = getattr(_marked(context), _MARK, None)
        if access is None:
            undeclared.append(f"{'/'.join(sorted(context.methods or ())) or 'any method'} {context.path}")
            continue
        methods = None if context.methods is None else frozenset(context.methods)
        routes.append(DeclaredRoute(context.path or "", methods, access, context.path_regex))
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


class KeyRing:
    """The configured keys, and who has guessed at them. It is false where no key is configured.

    An address that has sent `wrong_keys_per_minute` wrong keys is refused until some time has passed, before the key it
    sends is looked at; 0 is no limit. A key that was accepted once is always looked at: behind a proxy, one caller's
    guesses do not shut out the others.
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
        # Of keys that were accepted, what Python's own hash, seeded anew for each process, makes of them.
        self._accepted: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self.keys)

    def identify(self, presented: bytes, address: str) -> ApiKey:
        """The key that an address presents. Raises KeyRefused for an unknown one, TooManyRequests after too many."""
        if hash(presented) not in self._accepted:
            self._check_wrong_keys(address)
        digest = hashlib.sha256(presented).hexdigest()
        found: ApiKey | None = None
        for key in self.keys:  # every key is compared, so that the time tells nothing
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
                "too many wrong API keys came from this address: send the right one after the time in Retry-After",
                retry_after_s=wait_s,
            )


class SessionReader(Protocol):
    """Finds the key that a browser's session was started with."""

    def key_of(self, scope: Scope) -> ApiKey | None:
        """The key of the request's session; None without a session that may be used for this request."""
        ...


class ApiKeys:
    """ASGI middleware. Answers 401 without a key and 403 with a wrong one; with no key configured it lets all pass.

    A session stands for its key in requests that present none. With `public` scopes, whoever presents neither may make
    the calls that declare one of them.
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
        """Whether a call needs no key because it declares a public scope. What is unknown may be asked for as well."""
        route = self._routes.match(scope["method"], scope["path"])
        if not self._public or route is None:
            return bool(self._public)
        return route.scopes != ANY_KEY and bool((route.scopes or frozenset()) & self._public)


def asks_for(scope: Mapping[str, Any], media_type: str) -> bool:
    """Whether a request names the media type among those it accepts. One that takes anything does not."""
    accepted = b",".join(value for name, value in scope["headers"] if name == b"accept").decode("latin-1")
    return media_type in (offer.partition(";")[0].strip().lower() for offer in accepted.split(","))


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
