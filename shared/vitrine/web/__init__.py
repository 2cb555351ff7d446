"""What both HTTP services share: pure ASGI middleware, problem details and the health routes."""

from vitrine.web.access import ApiKey, ApiKeys, caller_name, caller_scopes, parse_api_keys
from vitrine.web.admission import Admission
from vitrine.web.body_limit import BodyLimit
from vitrine.web.document import document_router
from vitrine.web.health import health_router
from vitrine.web.problems import Problem, install_problem_handlers, problem_responses, send_problem
from vitrine.web.request_context import RequestContext
from vitrine.web.scopes import (
    DeclaredRoutes,
    ScopeUndeclared,
    declared_routes,
    open_to_all,
    requires,
    requires_any_key,
)
from vitrine.web.server import build_server

__all__ = [
    "Admission",
    "ApiKey",
    "ApiKeys",
    "BodyLimit",
    "DeclaredRoutes",
    "Problem",
    "RequestContext",
    "ScopeUndeclared",
    "build_server",
    "caller_name",
    "caller_scopes",
    "declared_routes",
    "document_router",
    "health_router",
    "install_problem_handlers",
    "open_to_all",
    "parse_api_keys",
    "problem_responses",
    "requires",
    "requires_any_key",
    "send_problem",
]
