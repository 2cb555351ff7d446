"""What both HTTP services share: pure ASGI middleware, problem details and the health routes."""

from vitrine.web.access import ApiKey, ApiKeys, parse_api_keys
from vitrine.web.admission import Admission
from vitrine.web.body_limit import BodyLimit
from vitrine.web.health import health_router
from vitrine.web.problems import Problem, install_problem_handlers, problem_responses, send_problem
from vitrine.web.request_context import RequestContext
from vitrine.web.server import build_server

__all__ = [
    "Admission",
    "ApiKey",
    "ApiKeys",
    "BodyLimit",
    "Problem",
    "RequestContext",
    "build_server",
    "health_router",
    "install_problem_handlers",
    "parse_api_keys",
    "problem_responses",
    "send_problem",
]
