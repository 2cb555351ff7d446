"""How the supervisor sees that a service is ready or alive: by its health routes, by its answer to a ping, or by the
key with which a worker announces itself. A probe answers None for yes, else what is missing.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Protocol

import httpx
import redis.asyncio
from redis.exceptions import BusyLoadingError, RedisError, ResponseError

PROBE_TIMEOUT_S = 3.0


class Probe(Protocol):
    """Is the service ready, or alive? `pid` is the process that the supervisor started, or None if it started none."""

    async def __call__(self, pid: int | None, /) -> str | None: ...


@dataclass(frozen=True, slots=True)
class HttpProbe:
    """Ready, or alive, when the route answers 200."""

    url: str
    api_key: str | None = None

    async def __call__(self, _pid: int | None) -> str | None:
        headers = {"api-key": self.api_key} if self.api_key else {}
        try:
            # The environment's proxies are for the world outside; these services are on this machine. Without TLS there
            # is nothing to verify, and reading the certificates for each probe costs 30 ms of the processor.
            async with httpx.AsyncClient(
                timeout=PROBE_TIMEOUT_S, trust_env=False, verify=self.url.startswith("https:"), headers=headers
            ) as client:
                answer = await client.get(self.url)
        except httpx.HTTPError as error:
            return f"{self.url}: {str(error) or type(error).__name__}"
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
class RedisLiveness:
    """Alive when anything is answered: that it loads, is full or wants another password is an answer too."""

    url: str

    async def __call__(self, _pid: int | None) -> str | None:
        try:
            async with _connection(self.url) as client:
                await client.ping()
        except (BusyLoadingError, ResponseError):
            return None
        except (RedisError, OSError) as error:
            return f"Redis: {error}"
        return None


@dataclass(frozen=True, slots=True)
class WorkerLiveness:
    """Alive while announced. A Redis that cannot be asked says nothing against the worker."""

    url: str
    service: str

    async def __call__(self, pid: int | None) -> str | None:
        try:
            return await _unannounced(self.url, self.service, pid)
        except (RedisError, OSError):
            return None


@dataclass(frozen=True, slots=True)
class WorkerProbe:
    """Ready when the worker's announcement is there and comes from the process that was started, not from one that
    died moments ago."""

    url: str
    service: str

    async def __call__(self, pid: int | None) -> str | None:
        try:
            return await _unannounced(self.url, self.service, pid)
        except (RedisError, OSError) as error:
            return f"Redis: {error}"


async def _unannounced(url: str, service: str, pid: int | None) -> str | None:
    """None where the service's process is announced in Redis."""
    async with _connection(url) as client:
        async for key in client.scan_iter(match=f"vitrine:worker:{service}:*", count=100):
            announced = await client.get(key)
            if announced is not None and _belongs_to(announced, pid):
                return None
    return f"no announcement of the {service} in Redis"


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
