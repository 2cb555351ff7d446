"""The route of the system's status. Shared services are reported here and not in readiness, which would take every
replica out when one of them fails.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from search_api.answers import JsonAnswer
from search_api.context import Ctx
from search_api.openapi import COMMON_ERRORS
from search_api.status.schemas import StatusAnswer
from search_api.status.service import WORKERS, system_facts
from vitrine.web import caller_scopes, problem_responses, requires_any_key

router = APIRouter(tags=["system"])


@router.get(
    "/api/status",
    summary="The parts of the system and what is indexed",
    description=(
        "Which parts are up, and the datasets. With a key of the scope `admin`, or where no keys are configured, also "
        "the details of each part: its workers, hosts and reasons."
    ),
    response_model=StatusAnswer,
    responses=problem_responses(*COMMON_ERRORS),
)
@requires_any_key
async def status(request: Request, context: Ctx) -> Response:
    facts = await system_facts(context)
    services = {
        "search-api": {"up": True},
        "embedder": facts.embedder,
        "qdrant": facts.qdrant.facts,
        "redis": facts.redis.facts,
    }
    for name in WORKERS:
        workers = facts.redis.of(name)
        services[name] = {"up": bool(workers), "workers": workers}
    if "admin" not in caller_scopes(request):  # hosts, process ids and addresses are for operators only
        services = {name: {"up": one["up"]} for name, one in services.items()}
    return JsonAnswer({"success": True, "services": services, "datasets": facts.qdrant.datasets()})
