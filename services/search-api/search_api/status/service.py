"""The current state of every service, as this process sees it. Shared by the JSON route and the page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx
import redis.asyncio

from search_api.context import Context
from vitrine.errors import VitrineError
from vitrine.jobs.celery import PROFILES
from vitrine.qdrant.naming import Serving
from vitrine.qdrant.schema import CollectionInfo

_WORKER_KEYS: Final = "vitrine:worker:*"
_TIMEOUT_S: Final = 2.0
_MAX_WORKERS_TOLD: Final = 200
WORKERS: Final = ("indexer", "trainer")


@dataclass(frozen=True, slots=True)
class VectorStoreFacts:
    """The state of Qdrant. `facts` has `up`, and the reason if it is down."""

    facts: dict[str, Any]
    servings: tuple[Serving, ...] = ()
    collections: tuple[CollectionInfo, ...] = ()

    def datasets(self) -> list[dict[str, Any]]:
        """The datasets and the models that serve them."""
        points = {info.name: info.points for info in self.collections}
        found: dict[str, list[dict[str, Any]]] = {}
        for serving in self.servings:
            told = {
                "model": serving.model,
                "release": serving.release_id,
                "products": points.get(serving.collection, 0),
            }
            found.setdefault(serving.dataset, []).append(told)
        return [{"dataset": name, "models": models} for name, models in sorted(found.items())]


@dataclass(frozen=True, slots=True)
class BrokerFacts:
    """The state of Redis: registered workers, and waiting messages by queue."""

    facts: dict[str, Any]
    workers: tuple[dict[str, Any], ...] = ()
    waiting: Mapping[str, int] | None = None

    def of(self, service: str) -> list[dict[str, Any]]:
        return [worker for worker in self.workers if worker.get("service") == service]


@dataclass(frozen=True, slots=True)
class SystemFacts:
    """The state of all services."""

    embedder: dict[str, Any]
    qdrant: VectorStoreFacts
    redis: BrokerFacts


async def system_facts(context: Context) -> SystemFacts:
    """Ask every service, each with a timeout of two seconds. An unavailable one raises nothing."""
    embedder, qdrant, broker = await asyncio.gather(_embedder(context), _qdrant(context), _redis(context))
    return SystemFacts(embedder, qdrant, broker)


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


async def _qdrant(context: Context) -> VectorStoreFacts:
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            servings = await context.store.servings(fresh=True)
            collections = await context.store.collections()
            server = await context.store.server.version()
            issues = await context.store.server.issues()
    except VitrineError as error:
        return VectorStoreFacts(_down(error.detail))
    except TimeoutError:
        return VectorStoreFacts(_down(f"no answer within {_TIMEOUT_S:g} s"))
    facts = _up(collections=len({info.name for info in collections}), version=server.version)
    if context.qdrant_nodes.are_several:
        facts["nodes"] = context.qdrant_nodes.facts()
    notices = [*([server.notice] if server.notice else []), *issues]
    return VectorStoreFacts({**facts, "notices": notices} if notices else facts, tuple(servings), tuple(collections))


async def _redis(context: Context) -> BrokerFacts:
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            await context.redis.ping()
            workers = await _workers(context.redis)
            return BrokerFacts(_up(), tuple(workers), await _waiting(context.redis))
    except (redis.asyncio.RedisError, OSError) as error:
        return BrokerFacts(_down(type(error).__name__))
    except TimeoutError:
        return BrokerFacts(_down(f"no answer within {_TIMEOUT_S:g} s"))


async def _workers(connection: redis.asyncio.Redis) -> list[dict[str, Any]]:
    """The last reports of the workers. The report of a dead worker expires with its key."""
    keys = []
    async for key in connection.scan_iter(match=_WORKER_KEYS, count=500):
        keys.append(key)
        if len(keys) >= _MAX_WORKERS_TOLD:
            break
    said = await connection.mget(keys) if keys else []
    return [json.loads(text) for text in said if text]


async def _waiting(connection: redis.asyncio.Redis) -> dict[str, int]:
    """Messages that no worker has taken yet, by queue."""
    queues = [(queue.value, f"{profile.key_prefix}{queue.value}") for profile in PROFILES for queue in profile.queues]
    async with connection.pipeline(transaction=False) as pipe:
        for _, key in queues:
            pipe.llen(key)
        lengths = await pipe.execute()
    return {name: int(length) for (name, _), length in zip(queues, lengths, strict=True)}
