"""How the supervisor tells that a service is ready: by its readiness route, by its answer to a ping, or by the key with
which a worker announces itself. A probe answers None for ready, else what it still waits for.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Protocol

import httpx
import redis.asyncio
from redis.exceptions import RedisError

PROBE_TIMEOUT_S = 3.0


class Probe(Protocol):
    """Is the service ready? `pid` is the process the supervisor started for it, or None where it started none."""

    async def __call__(self, pid: int | None, /) -> str | None: ...


@dataclass(frozen=True, slots=True)
class HttpProbe:
    """Ready when the route answers 200."""

    url: str
    api_key: str | None = None

    async def __call__(self, _pid: int | None) -> str | None:
        headers = {"api-key": self.api_key} if self.api_key else {}
        try:
            # The environment's proxies are for the world outside; these services are on this machine.
            async with httpx.AsyncClient(timeout=PROBE_TIMEOUT_S, trust_env=False, headers=headers) as client:
                answer = await client.get(self.url)
        except httpx.HTTPError as error:
            return f"{self.url}: {error or type(error).__name__}"
        return None if answer.status_code == httpx.codes.OK else f"{self.url} answers {answer.status_code}"


@dataclass(frozen=True, slots=True)
class RedisProbe:
    """Ready when a ping is answered, which Redis does only after reading its append-only file."""

    url: str

    async def __call__(self, _pid: int | None) -> str | None:
        try:
            async with _connection(self.url) as client:
                await client.ping()
        except (RedisError, OSError) as error:
            return f"Redis: {error}"
        return None


@dataclass(frozen=True, slots=True)
class WorkerProbe:
    """Ready when the worker's announcement is there and comes from the process that was started, not from one that
    died moments ago."""

    url: str
    service: str

    async def __call__(self, pid: int | None) -> str | None:
        try:
            async with _connection(self.url) as client:
                async for key in client.scan_iter(match=f"vitrine:worker:{self.service}:*", count=100):
                    announced = await client.get(key)
                    if announced is not None and _belongs_to(announced, pid):
                        return None
        except (RedisError, OSError) as error:
            return f"Redis: {error}"
        return f"no announcement of the {self.service} in Redis"


def _connection(url: str) -> redis.asyncio.Redis:
    client: redis.asyncio.Redis = redis.asyncio.Redis.from_url(
        url, socket_timeout=PROBE_TIMEOUT_S, socket_connect_timeout=PROBE_TIMEOUT_S
    )
    return client


def _belongs_to(announcement: bytes | str, group: int | None) -> bool:
    try:
        pid = json.loads(announcement)["pid"]
        return group is None or os.getpgid(pid) == group
    except (ValueError, KeyError, TypeError, ProcessLookupError):
        return False
