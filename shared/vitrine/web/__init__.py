"""What both HTTP services share: pure ASGI middleware, problem details and the health routes."""

from vitrine.web.access import ApiKey, ApiKeys, caller_name, caller_scopes, key_between_services, parse_api_keys
from vitrine.web.admission import Admission
from vitrine.web.bodies import Bodies
from vitrine.web.body_limit import BodyLimit
from vitrine.web.callers import TokenBuckets, address_of
from vitrine.web.connections import ConnectionLimits
from vitrine.web.disconnects import StopWhenGone
from vitrine.web.document import document_router
from vitrine.web.health import health_router
from vitrine.web.json_bodies import MAX_JSON_BYTES, JsonRoute, is_json, parse_json, read_json_bytes
from vitrine.web.problems import Problem, install_problem_handlers, problem_code, problem_responses, send_problem
from vitrine.web.request_context import RequestContext
from vitrine.web.scopes import (
    DeclaredRoutes,
    ScopeUndeclared,
    declared_routes,
    open_to_all,
    requires,
    requires_any_key,
)
from vitrine.web.server import build_limited_server, build_server
from vitrine.web.sites import SiteGuard, hosts_checked, is_loopback

__all__ = [
    "MAX_JSON_BYTES",
    "Admission",
    "ApiKey",
    "ApiKeys",
    "Bodies",
    "BodyLimit",
    "ConnectionLimits",
    "DeclaredRoutes",
    "JsonRoute",
    "Problem",
    "RequestContext",
    "ScopeUndeclared",
    "SiteGuard",
    "TokenBuckets",
    "address_of",
    "StopWhenGone",
    "build_limited_server",
    "build_server",
    "caller_name",
    "caller_scopes",
    "declared_routes",
    "document_router",
    "health_router",
    "hosts_checked",
    "install_problem_handlers",
    "is_json",
    "is_loopback",
    "key_between_services",
    "open_to_all",
    "parse_api_keys",
    "parse_json",
    "problem_code",
    "problem_responses",
    "read_json_bytes",
    "requires",
    "requires_any_key",
    "send_problem",
]
