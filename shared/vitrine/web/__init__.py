"""HTTP for both services: the server, pure ASGI middleware, problem details, forms and the common routes."""

from vitrine.web.access import (
    ANY_KEY,
    KEY_SCOPES,
    DeclaredRoutes,
    ScopeUndeclared,
    asks_for,
    declared_routes,
    open_to_all,
    requires,
    requires_any_key,
)
from vitrine.web.admission import Admission, StopWhenGone
from vitrine.web.api_keys import (
    ApiKey,
    ApiKeys,
    KeyRing,
    TokenBuckets,
    caller_name,
    caller_scopes,
    key_between_services,
    parse_api_keys,
    scopes_held,
)
from vitrine.web.bodies import Bodies, BodyLimit
from vitrine.web.connections import ConnectionLimits
from vitrine.web.forms import is_picture, media_type, read_form, read_picture_body
from vitrine.web.json_bodies import JsonRoute, is_json, parse_json, read_json_bytes
from vitrine.web.middleware import install_middleware
from vitrine.web.problems import PROBLEM_CODE, error_headers, install_problem_handlers, problem_responses, send_problem
from vitrine.web.request_context import RequestContext
from vitrine.web.routes import document_router, health_router
from vitrine.web.server import build_limited_server, build_server
from vitrine.web.sites import SiteGuard, address_of, hosts_checked, is_loopback, is_same_origin

__all__ = [
    "ANY_KEY",
    "KEY_SCOPES",
    "DeclaredRoutes",
    "ScopeUndeclared",
    "asks_for",
    "declared_routes",
    "open_to_all",
    "requires",
    "requires_any_key",
    "Admission",
    "StopWhenGone",
    "ApiKey",
    "ApiKeys",
    "KeyRing",
    "TokenBuckets",
    "caller_name",
    "caller_scopes",
    "key_between_services",
    "parse_api_keys",
    "scopes_held",
    "Bodies",
    "BodyLimit",
    "ConnectionLimits",
    "is_picture",
    "media_type",
    "read_form",
    "read_picture_body",
    "JsonRoute",
    "is_json",
    "parse_json",
    "read_json_bytes",
    "install_middleware",
    "PROBLEM_CODE",
    "error_headers",
    "install_problem_handlers",
    "problem_responses",
    "send_problem",
    "RequestContext",
    "document_router",
    "health_router",
    "build_limited_server",
    "build_server",
    "SiteGuard",
    "address_of",
    "hosts_checked",
    "is_loopback",
    "is_same_origin",
]
