"""Health checks: readiness and liveness of a service, and the detection of a hung process.

A check returns None if the service is ready or alive, else what is missing.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import httpx
import redis.asyncio
from redis.exceptions import BusyLoadingError, RedisError, ResponseError

PROBE_TIMEOUT_S: Final = 3.0
INTERVAL_S: Final = 2.0
ASK_TIMEOUT_S: Final = 4.0
# A process that uses the CPU, for example for one large picture, gets this many times `hung_after_s`.
_BUSY_PATIENCE: Final = 3.0
# Fraction of one core. A process that only waits stays far below.
_BUSY_SHARE: Final = 0.1
_FAILURES_BEFORE_WARNING: Final = 2


class Probe(Protocol):
    """A check. `pid` is the process that the supervisor started, None if it started none."""

    async def __call__(self, pid: int | None, /) -> str | None: ...


@dataclass(frozen=True, slots=True)
class HttpProbe:
    """Passes if the URL answers 200."""

    url: str
    api_key: str | None = None

    async def __call__(self, _pid: int | None) -> str | None:
        headers = {"api-key": self.api_key} if self.api_key else {}
        try:
            # No proxies: these services are on this machine. Over plain HTTP there is no certificate to verify, and
            # loading the certificate store for each probe costs 30 ms of CPU.
            async with httpx.AsyncClient(
                timeout=PROBE_TIMEOUT_S, trust_env=False, verify=self.url.startswith("https:"), headers=headers
            ) as client:
                answer = await client.get(self.url)
        except httpx.HTTPError as error:
            return f"{self.url}: {str(error) or type(error).__name__}"
        return None if answer.status_code == httpx.codes.OK else f"{self.url} answers {answer.status_code}"


@dataclass(frozen=True, slots=True)
class AnyProbe:
    """Passes if one of these passes, as a cluster works while one node does."""

    probes: tuple[HttpProbe, ...]

    async def __call__(self, pid: int | None) -> str | None:
        reasons = await asyncio.gather(*(probe(pid) for probe in self.probes))
        return None if None in reasons else reasons[0]


@dataclass(frozen=True, slots=True)
class RedisProbe:
    """Ready if Redis answers a ping, which it does only after it has loaded its append-only file."""

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
    """Alive if Redis answers at all, also with an error: loading, out of memory, wrong password."""

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
class WorkerProbe:
    """Ready if the worker's heartbeat key is in Redis and belongs to the started process, not to an earlier one."""

    url: str
    service: str

    async def __call__(self, pid: int | None) -> str | None:
        try:
            return await _missing_heartbeat(self.url, self.service, pid)
        except (RedisError, OSError) as error:
            return f"Redis: {error}"


@dataclass(frozen=True, slots=True)
class WorkerLiveness:
    """Alive while the heartbeat key is in Redis. If Redis does not answer, the worker counts as alive."""

    url: str
    service: str

    async def __call__(self, pid: int | None) -> str | None:
        try:
            return await _missing_heartbeat(self.url, self.service, pid)
        except (RedisError, OSError):
            return None


async def _missing_heartbeat(url: str, service: str, pid: int | None) -> str | None:
    async with _connection(url) as client:
        async for key in client.scan_iter(match=f"vitrine:worker:{service}:*", count=100):
            heartbeat = await client.get(key)
            if heartbeat is not None and _belongs_to(heartbeat, pid):
                return None
    return f"no heartbeat of the {service} in Redis"


def _connection(url: str) -> redis.asyncio.Redis:
    client: redis.asyncio.Redis = redis.asyncio.Redis.from_url(
        url, socket_timeout=PROBE_TIMEOUT_S, socket_connect_timeout=PROBE_TIMEOUT_S
    )
    return client


def _belongs_to(heartbeat: bytes | str, group: int | None) -> bool:
    try:
        pid = json.loads(heartbeat)["pid"]
        return group is None or os.getpgid(pid) == group
    except (ValueError, KeyError, TypeError, ProcessLookupError):
        return False


class LivenessMonitor:
    """Repeats the liveness check of one process and decides when it has hung.

    Only time spent on checks counts as silence. So a machine that slept, or a supervisor that was stopped, does not
    make a healthy process look hung.
    """

    def __init__(
        self, probe: Probe, *, pid: int, hung_after_s: float, interval_s: float = INTERVAL_S,
        ask_timeout_s: float = ASK_TIMEOUT_S,
    ) -> None:  # fmt: skip
        self._probe = probe
        self._pid = pid
        self._hung_after_s = hung_after_s
        self._interval_s = interval_s
        self._ask_timeout_s = ask_timeout_s

    async def watch(self, *, on_silent: Callable[[str], None], on_answer: Callable[[], None]) -> str:
        """Return when the process has hung, with the reason to kill it.

        `on_silent` is called when it stops answering, `on_answer` when it answers again.
        """
        silent_s, failures = 0.0, 0
        used_s = cpu_s(self._pid)
        while True:
            began_s = time.monotonic()
            await asyncio.sleep(self._interval_s)
            missing = await self._ask()
            if missing is None:
                if failures >= _FAILURES_BEFORE_WARNING:
                    on_answer()
                silent_s, failures, used_s = 0.0, 0, cpu_s(self._pid)
                continue
            failures += 1
            silent_s += min(time.monotonic() - began_s, self._interval_s + self._ask_timeout_s)
            if failures == _FAILURES_BEFORE_WARNING:
                on_silent(missing)
            now_s = cpu_s(self._pid)
            spent_s = None if used_s is None or now_s is None else now_s - used_s
            if is_hung(silent_s=silent_s, used_s=spent_s, hung_after_s=self._hung_after_s):
                return f"no answer for {silent_s:.0f} s: {missing}"

    async def _ask(self) -> str | None:
        try:
            async with asyncio.timeout(self._ask_timeout_s):
                return await self._probe(self._pid)
        except TimeoutError:
            return f"no answer within {self._ask_timeout_s:g} s"
        except Exception as defect:  # a bug in a probe must not stop the supervisor
            return f"{type(defect).__name__}: {defect}"


def is_hung(*, silent_s: float, used_s: float | None, hung_after_s: float) -> bool:
    """Whether a process has hung that did not answer for `silent_s` seconds.

    `used_s` is the CPU time it used meanwhile. None: unknown, and then it gets the patience of a busy process.
    """
    busy = used_s is None or used_s >= _BUSY_SHARE * silent_s
    return silent_s >= hung_after_s * (_BUSY_PATIENCE if busy else 1.0)


def cpu_s(pid: int) -> float | None:
    """CPU seconds a process has used; None if the system does not report them."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
