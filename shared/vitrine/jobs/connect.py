"""Redis clients as every service needs them: no call waits for ever, a dead connection is noticed, a short gap is
bridged. `broker_errors` is the one place where Redis's errors become ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import BusyLoadingError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from vitrine.errors import BrokerUnavailable

CONNECT_TIMEOUT_S: Final = 2.0
CALL_TIMEOUT_S: Final = 10.0
HEALTH_CHECK_INTERVAL_S: Final = 15
_MAX_CONNECTIONS: Final = 64
_RETRIES: Final = 3
_BACKOFF_BASE_S: Final = 0.05
_BACKOFF_CAP_S: Final = 0.5


def open_redis(url: str) -> redis.Redis:
    """A client of the Redis at `url`. Nothing is connected yet."""
    return redis.Redis.from_url(
        url,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=CALL_TIMEOUT_S,
        health_check_interval=HEALTH_CHECK_INTERVAL_S,
        retry=Retry(ExponentialWithJitterBackoff(base=_BACKOFF_BASE_S, cap=_BACKOFF_CAP_S), _RETRIES),
    )


def open_async_redis(url: str) -> redis.asyncio.Redis:
    """The same for asyncio. A call waits for one of its connections rather than fail when all are in use."""
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
    """Turn Redis's connection errors into BrokerUnavailable. The address, which may hold a password, is not told."""
    try:
        yield
    except (RedisConnectionError, RedisTimeoutError, BusyLoadingError) as error:
        raise BrokerUnavailable("Redis cannot be reached; try again shortly") from error
