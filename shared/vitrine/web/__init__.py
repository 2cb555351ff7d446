"""What both HTTP services share: pure ASGI middleware, problem details and the health routes."""

from vitrine.web.access import (
    ANY_KEY,
    KEY_SCOPES,
    ApiKey,
    ApiKeys,
    DeclaredRoutes,
    KeyRing,
    ScopeUndeclared,
    TokenBuckets,
    asks_for,
    caller_name,
    caller_scopes,
    declared_routes,
    key_between_services,
    open_to_all,
    parse_api_keys,
    requires,
    requires_any_key,
    scopes_held,
)
from vitrine.web.admission import Admission, Bodies, BodyLimit, StopWhenGone
from vitrine.web.connections import ConnectionLimits
from vitrine.web.document import document_router
from vitrine.web.forms import Form, media_type, read_form
from vitrine.web.health import health_router
from vitrine.web.json_bodies import MAX_JSON_BYTES, JsonRoute, is_json, parse_json, read_json_bytes
from vitrine.web.problems import (
    PROBLEM_CODE,
    Problem,
    error_headers,
    install_problem_handlers,
    problem_responses,
    send_problem,
)
from vitrine.web.request_context import RequestContext
from vitrine.web.server import build_limited_server, build_server
from vitrine.web.sites import SiteGuard, address_of, hosts_checked, is_loopback, is_same_origin

__all__ = [
    "ANY_KEY",
    "KEY_SCOPES",
    "MAX_JSON_BYTES",
    "PROBLEM_CODE",
    "Admission",
    "ApiKey",
    "ApiKeys",
    "Bodies",
    "BodyLimit",
    "ConnectionLimits",
    "DeclaredRoutes",
    "Form",
    "JsonRoute",
    "KeyRing",
    "Problem",
    "RequestContext",
    "ScopeUndeclared",
    "SiteGuard",
    "TokenBuckets",
    "address_of",
    "asks_for",
    "StopWhenGone",
    "build_limited_server",
    "build_server",
    "caller_name",
    "caller_scopes",
    "declared_routes",
    "document_router",
    "error_headers",
    "health_router",
    "hosts_checked",
    "install_problem_handlers",
    "is_json",
    "is_loopback",
    "is_same_origin",
    "key_between_services",
    "media_type",
    "open_to_all",
    "parse_api_keys",
    "parse_json",
    "problem_responses",
    "read_form",
    "read_json_bytes",
    "requires",
    "requires_any_key",
    "scopes_held",
    "send_problem",
]
