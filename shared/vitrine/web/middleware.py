"""The middleware of both services. Nothing of a body is read before site, key, quota and declared size are checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fastapi import FastAPI
from starlette.middleware import Middleware

from vitrine.settings import HttpSettings
from vitrine.telemetry import HttpMetrics
from vitrine.web.access import DeclaredRoutes, Work
from vitrine.web.admission import Admission, StopWhenGone
from vitrine.web.api_keys import ApiKeys, KeyRing, SessionReader
from vitrine.web.bodies import Bodies, BodyLimit
from vitrine.web.request_context import RequestContext
from vitrine.web.sites import SiteGuard, hosts_checked


def install_middleware(
    app: FastAPI,
    *,
    settings: HttpSettings,
    routes: DeclaredRoutes,
    metrics: HttpMetrics,
    host: str,
    ring: KeyRing,
    max_body_bytes: int,
    max_concurrent: int,
    timeouts_s: Mapping[Work, float | None],
    sessions: SessionReader | None = None,
    public: frozenset[str] = frozenset(),
    outer: Sequence[Middleware] = (),
    before_keys: Sequence[Middleware] = (),
    before_body: Sequence[Middleware] = (),
) -> None:
    """Install the middleware in the order in which a request passes it.

    `outer` is a service's own outermost middleware; `before_keys` comes after the check of the site and before the API
    key, `before_body` after the key. `timeouts_s` are the seconds that each kind of work may take; work of None is
    neither counted nor timed. `host` is the address that the service listens on.
    """
    app.user_middleware[:0] = [
        *outer,
        Middleware(RequestContext, metrics=metrics),
        Middleware(SiteGuard, hosts=hosts_checked(host, settings.allowed_hosts), origins=settings.allowed_origins),
        *before_keys,
        Middleware(ApiKeys, ring=ring, routes=routes, sessions=sessions, public=public),
        *before_body,
        Middleware(BodyLimit, max_body_bytes=max_body_bytes),
        Middleware(StopWhenGone, applies=routes.is_query),
        Middleware(
            Admission,
            max_concurrent=max_concurrent,
            timeout_of=routes.timeouts(timeouts_s),
            bodies=Bodies.of(settings, max_body_bytes=max_body_bytes),
        ),
    ]
