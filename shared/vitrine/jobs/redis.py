"""Redis clients with timeouts, health checks and retries, and the mapping of Redis's errors to Vitrine's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from vitrine.errors import BrokerFull, BrokerUnavailable

CONNECT_TIMEOUT_S: Final = 2.0
CALL_TIMEOUT_S: Final = 10.0
HEALTH_CHECK_INTERVAL_S: Final = 15
_MAX_CONNECTIONS: Final = 64
_RETRIES: Final = 3
_BACKOFF_BASE_S: Final = 0.05
_BACKOFF_CAP_S: Final = 0.5
_RETRY_AFTER_S: Final = 1.0
_RETRY_AFTER_FULL_S: Final = 10.0
_UNREACHABLE: Final = (RedisConnectionError, RedisTimeoutError, BusyLoadingError)
_REFUSING: Final = (ReadOnlyError, MasterDownError, ClusterDownError, TryAgainError)
# An error inside a script is a plain ResponseError. The reason is in its text.
_OUT_OF_MEMORY: Final = re.compile(r"(^|-)OOM command not allowed|(^|: |-)command not allowed when used memory")
_CANNOT_WRITE: Final = re.compile(r"(^|-)(MISCONF|NOREPLICAS|READONLY|MASTERDOWN) ")


def open_redis(url: str) -> redis.Redis:
    """A client of the Redis at `url`. Does not connect yet."""
    return redis.Redis.from_url(
        url,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=CALL_TIMEOUT_S,
        health_check_interval=HEALTH_CHECK_INTERVAL_S,
        retry=Retry(ExponentialWithJitterBackoff(base=_BACKOFF_BASE_S, cap=_BACKOFF_CAP_S), _RETRIES),
    )


def open_async_redis(url: str) -> redis.asyncio.Redis:
    """The same for asyncio. If all connections are in use, a call waits for one."""
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        url,
        max_connections=_MAX_CONNECTIONS,
        timeout=CONNECT_TIMEOUT_S,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=CALL_TIMEOUT_S,
        health_check_interval=HEALTH_CHECK_INTERVAL_S,
        retry=AsyncRetry(ExponentialWithJitterBackoff(base=_BACKOFF_BASE_S, cap=_BACKOFF_CAP_S), _RETRIES),
    )
    return redis.asyncio.Redis.from_pool(pool)


@contextmanager
def broker_errors() -> Iterator[None]:
    """Raise BrokerUnavailable if Redis is away, full or cannot write. Other errors of Redis are not changed.

    The message does not contain the address, because that may contain a password.
    """
    try:
        yield
    except RedisError as error:
        known = as_broker_error(error)
        if known is None:
            raise
        raise known from error


def as_broker_error(error: RedisError) -> BrokerUnavailable | None:
    """The BrokerUnavailable for `error`, or None if trying again cannot help."""
    if isinstance(error, _UNREACHABLE):
        return BrokerUnavailable("Redis cannot be reached; try again shortly", retry_after_s=_RETRY_AFTER_S)
    if isinstance(error, OutOfMemoryError) or (isinstance(error, ResponseError) and _OUT_OF_MEMORY.search(str(error))):
        return BrokerFull(
            "Redis is at its memory limit (maxmemory) and takes no new work; try again later, delete old jobs, "
            "or give it more memory",
            retry_after_s=_RETRY_AFTER_FULL_S,
        )
    if isinstance(error, _REFUSING) or (isinstance(error, ResponseError) and _CANNOT_WRITE.search(str(error))):
        return BrokerUnavailable("Redis refuses writes for now; try again shortly", retry_after_s=_RETRY_AFTER_S)
    return None
