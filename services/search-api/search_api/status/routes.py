"""The parts of the system as this process sees them. Dependencies are told here and not in readiness, which would take
every replica away when one shared part fails.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

import httpx
import redis.asyncio
from fastapi import APIRouter, Request
from starlette.responses import Response

from search_api.answers import JsonAnswer
from search_api.context import Context, Ctx
from search_api.openapi import COMMON_ERRORS
from search_api.status.schemas import StatusAnswer
from vitrine.errors import VitrineError
from vitrine.web import caller_scopes, problem_responses, requires_any_key

_WORKER_KEYS: Final = "vitrine:worker:*"
_TIMEOUT_S: Final = 2.0
_MAX_WORKERS_TOLD: Final = 200
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
    embedder, (qdrant, datasets), (broker, workers) = await asyncio.gather(
        _embedder(context), _qdrant(context), _redis(context)
    )
    services = {"search-api": _up(), "embedder": embedder, "qdrant": qdrant, "redis": broker}
    for name in ("indexer", "trainer"):
        of_this = [worker for worker in workers if worker.get("service") == name]
        services[name] = {"up": bool(of_this), "workers": of_this}
    if "admin" not in caller_scopes(request):  # hosts, process ids and addresses are not for every caller
        services = {name: {"up": facts["up"]} for name, facts in services.items()}
    return JsonAnswer({"success": True, "services": services, "datasets": datasets})


def _up(**facts: Any) -> dict[str, Any]:
    return {"up": True, **facts}


def _down(reason: str) -> dict[str, Any]:
    return {"up": False, "reason": reason}


async def _embedder(context: Context) -> dict[str, Any]:
    try:
        answer = await context.probe.get(f"{context.settings.embedder_url}/readyz", timeout=_TIMEOUT_S)
        facts = answer.json()
    except httpx.HTTPError as error:
        return _down(type(error).__name__)
    except ValueError:
        return _down("the answer is not JSON")
    return {"up": answer.status_code == 200, "ready": facts}


async def _qdrant(context: Context) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            servings = await context.store.servings(fresh=True)
            collections = {info.name: info for info in await context.store.collections()}
            server = await context.store.server_version()
            issues = await context.store.issues()
    except VitrineError as error:
        return _down(error.detail), []
    except TimeoutError:
        return _down(f"no answer within {_TIMEOUT_S:g} s"), []
    datasets: dict[str, list[dict[str, Any]]] = {}
    for serving in servings:
        info = collections.get(serving.collection)
        told = {"model": serving.model, "release": serving.release_id, "products": info.points if info else 0}
        datasets.setdefault(serving.dataset, []).append(told)
    listed = [{"dataset": name, "models": models} for name, models in sorted(datasets.items())]
    facts = _up(collections=len(collections), version=server.version)
    notices = [*([server.notice] if server.notice else []), *issues]
    return ({**facts, "notices": notices} if notices else facts), listed


async def _redis(context: Context) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            await context.redis.ping()
            return _up(), await _workers(context.redis)
    except (redis.asyncio.RedisError, OSError) as error:
        return _down(type(error).__name__), []
    except TimeoutError:
        return _down(f"no answer within {_TIMEOUT_S:g} s"), []


async def _workers(connection: redis.asyncio.Redis) -> list[dict[str, Any]]:
    """What the workers last said of themselves; one that died is forgotten with its key."""
    keys = []
    async for key in connection.scan_iter(match=_WORKER_KEYS, count=500):
        keys.append(key)
        if len(keys) >= _MAX_WORKERS_TOLD:
            break
    said = await connection.mget(keys) if keys else []
    return [json.loads(text) for text in said if text]
