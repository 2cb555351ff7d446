"""The status page: services, queues, collections, datasets and recent failures. It shows which services are unavailable
and what still works, and refreshes every five seconds.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import redis.asyncio
from fastapi import APIRouter, Request
from starlette.responses import Response

from search_api.context import Context, Ctx
from search_api.pages.formats import number, size
from search_api.pages.job_views import job_view
from search_api.pages.templating import Pages, is_fragment_request, render
from search_api.status.service import WORKERS, SystemFacts, system_facts
from vitrine.errors import BrokerUnavailable
from vitrine.jobs import JobState
from vitrine.qdrant.naming import parse_collection_name
from vitrine.web import requires_any_key

router = APIRouter(include_in_schema=False)
_READ: Final = ["GET", "HEAD"]
_ERRORS_SHOWN: Final = 5
_ASK_S: Final = 2.0
_STARTED_AT: Final = datetime.now(UTC).isoformat(timespec="seconds")
# The purpose of each service, and what still works without it.
_SAYS: Final = {
    "search-api": ("Answers searches and shows these pages.", ""),
    "embedder": (
        "Turns query pictures into vectors.",
        "Browsing, similar products and jobs of the trainer still work.",
    ),
    "qdrant": ("Keeps the vectors and attributes of products.", "Searches fail; jobs wait."),
    "redis": ("Keeps jobs and their queues.", "Searching still works; jobs can be neither started nor shown."),
    "indexer": ("Indexes catalogues and writes products.", "Searching still works; indexing and writes wait."),
    "trainer": ("Trains, evaluates and draws maps.", "Everything else still works; its jobs wait."),
}


@dataclass(frozen=True, slots=True)
class Part:
    """One service. `since` is when it started or became unavailable, if known."""

    name: str
    up: bool
    says: str
    meanwhile: str
    since: str | None = None
    reason: str | None = None
    facts: tuple[tuple[str, str], ...] = ()
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CollectionRow:
    """A collection. `release` is empty if the name has another form."""

    name: str
    dataset: str
    release: str
    products: int
    dim: int
    state: str
    serving: bool = field(default=False)


@router.api_route("/status", methods=_READ)
@requires_any_key
async def status_page(request: Request, context: Ctx) -> Response:
    pages: Pages = request.app.state.pages
    visitor = pages.visitor_of(request.scope)
    is_admin, sees_jobs = visitor.may("admin"), visitor.may("jobs")
    facts, redis_facts = await asyncio.gather(system_facts(context), _redis_memory(context))
    failed = []
    if sees_jobs and facts.redis.facts["up"]:
        try:
            found = await context.jobs.store.list(limit=_ERRORS_SHOWN, state=JobState.FAILED)
            failed = [job_view(record, visitor) for record in found]
        except BrokerUnavailable:
            failed = []
    serving = {one.collection for one in facts.qdrant.servings}
    return render(
        request,
        "status/_parts.html" if is_fragment_request(request) else "status/page.html",
        parts=_parts(context, facts, redis_facts, detailed=is_admin),
        waiting=facts.redis.waiting if is_admin or sees_jobs else None,
        failed=failed,
        sees_jobs=sees_jobs,
        datasets=facts.qdrant.datasets(),
        collections=[_row(info, info.name in serving) for info in facts.qdrant.collections] if is_admin else [],
        qdrant_up=facts.qdrant.facts["up"],
        now=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _parts(context: Context, facts: SystemFacts, redis_facts: Mapping[str, Any], *, detailed: bool) -> list[Part]:
    needs = context.dependencies.facts()["needs"]
    ready = facts.embedder.get("ready") if isinstance(facts.embedder.get("ready"), dict) else {}
    own = [("Version", version("vitrine-search-api")), *_own_memory()]
    found = [
        _part("search-api", {"up": True}, own, since=_STARTED_AT),
        _part("embedder", facts.embedder, _embedder_facts(ready or {}), needs=needs),
        _part("qdrant", facts.qdrant.facts, _qdrant_facts(facts), needs=needs,
              notices=tuple(facts.qdrant.facts.get("notices", ()))),
        _part("redis", facts.redis.facts, _memory_facts(redis_facts), needs=needs),
    ]  # fmt: skip
    for name in WORKERS:
        workers = facts.redis.of(name)
        broker_up = facts.redis.facts["up"]
        reason = "no worker is registered" if broker_up else "unknown while Redis is down"
        told = {"up": bool(workers), "reason": reason}
        started = min((str(worker.get("started_at")) for worker in workers), default=None)
        hosts = sorted({str(worker.get("host")) for worker in workers})
        lines = [("Workers", number(len(workers)))] if workers else []
        if hosts:
            lines.append(("Host" if len(hosts) == 1 else "Hosts", ", ".join(hosts)))
        found.append(_part(name, told, lines, since=started))
    if detailed:
        return found
    return [Part(one.name, one.up, one.says, one.meanwhile) for one in found]


def _part(
    name: str,
    told: Mapping[str, Any],
    facts: list[tuple[str, str]],
    *,
    needs: Mapping[str, Any] | None = None,
    since: str | None = None,
    notices: tuple[str, ...] = (),
) -> Part:
    says, meanwhile = _SAYS[name]
    up = bool(told["up"])
    known = (needs or {}).get(name, {})
    reason = None if up else str(told.get("reason") or known.get("reason") or "it is not ready")
    return Part(
        name=name,
        up=up,
        says=says,
        meanwhile="" if up else meanwhile,
        since=since if up else known.get("since"),
        reason=reason,
        facts=tuple(facts) if up else (),
        notices=notices,
    )


def _embedder_facts(ready: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = [
        ("Device", f"{ready['device']}, {ready.get('precision', '')}".strip(", ")) if ready.get("device") else None,
        ("Pictures in flight", number(ready["pictures_in_flight"]))
        if isinstance(ready.get("pictures_in_flight"), int)
        else None,
        ("Releases in memory", ", ".join(map(str, ready["releases"])) or "none")
        if isinstance(ready.get("releases"), list)
        else None,
    ]
    return [fact for fact in facts if fact is not None]


def _qdrant_facts(facts: SystemFacts) -> list[tuple[str, str]]:
    told = facts.qdrant.facts
    if not told["up"]:
        return []
    points = sum(info.points for info in facts.qdrant.collections)
    return [
        ("Version", str(told["version"])),
        ("Collections", number(told["collections"])),
        ("Vectors", number(points)),
        *((f"Node {node['url']}", "up" if node["up"] else f"down: {node['reason']}") for node in told.get("nodes", ())),
    ]


def _memory_facts(info: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = [("Version", str(info["redis_version"]))] if "redis_version" in info else []
    used, most = info.get("used_memory"), info.get("maxmemory")
    if isinstance(used, int):
        facts.append(("Memory", f"{size(used)} of {size(most)}" if isinstance(most, int) and most else size(used)))
    return facts


async def _redis_memory(context: Context) -> Mapping[str, Any]:
    """Redis's memory report; empty if Redis is unavailable or refuses the command."""
    try:
        async with asyncio.timeout(_ASK_S):
            found: Mapping[str, Any] = await context.redis.info()
            return found
    except (redis.asyncio.RedisError, OSError, TimeoutError):
        return {}


def _own_memory() -> list[tuple[str, str]]:
    """This process's memory, if the operating system reports it."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return [("Memory", size(pages * os.sysconf("SC_PAGE_SIZE")))]
    except (OSError, ValueError, IndexError):
        return []


def _row(info: Any, is_serving: bool) -> CollectionRow:
    parsed = parse_collection_name(info.name)
    return CollectionRow(
        name=info.name,
        dataset=info.metadata.dataset,
        release=parsed[1] if parsed else "",
        products=info.points,
        dim=info.dim,
        state=info.metadata.state,
        serving=is_serving,
    )
