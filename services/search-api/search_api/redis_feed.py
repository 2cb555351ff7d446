"""One subscription to Redis for the whole process.

    feed.on("vitrine:collections", callback)    callback(data) for each message on that channel, in the event loop
    callback(None)                              after each connection: messages may have been missed before it

Redis delivers a message only to connected subscribers, so a callback with a cache clears it on None.
The feed subscribes to the pattern `vitrine:*` once; more callbacks cost Redis nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Final

import redis.asyncio
from redis.exceptions import RedisError

from vitrine.jobs import keys, open_async_redis
from vitrine.telemetry import get_logger

Callback = Callable[[bytes | None], None]

_PING_AFTER_S: Final = 5.0
_SILENCE_MAX_S: Final = 15.0  # no answer to a ping either: the connection is half-open
_BACKOFF_MAX_S: Final = 5.0


class RedisFeed:
    """Delivers messages on `vitrine:*` to the callbacks of their channel, and always reconnects."""

    def __init__(self, url: str, *, ping_after_s: float = _PING_AFTER_S, silence_max_s: float = _SILENCE_MAX_S) -> None:
        self._url = url
        self._ping_after_s = ping_after_s
        self._silence_max_s = silence_max_s
        self._callbacks: defaultdict[str, list[Callback]] = defaultdict(list)
        self._task: asyncio.Task[None] | None = None
        self._log = get_logger("redis_feed")
        self.connected = asyncio.Event()

    def on(self, channel: str, callback: Callback) -> Callable[[], None]:
        """Call `callback` with each message on `channel`; returns the function that ends this.

        The callback runs in the event loop and must not block. It is called with None after each connection.
        """
        assert channel.startswith(keys.PREFIX), channel
        self._callbacks[channel].append(callback)

        def off() -> None:
            with contextlib.suppress(ValueError):
                self._callbacks[channel].remove(callback)
            if not self._callbacks[channel]:
                del self._callbacks[channel]

        return off

    def start(self) -> None:
        """Connect in the background. Calling it again does nothing."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._task is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._task = None

    async def _run(self) -> None:
        backoff_s = 0.1
        while True:
            client = open_async_redis(self._url)
            try:
                await self._listen(client)
            except (RedisError, OSError, TimeoutError) as error:
                if self.connected.is_set():
                    self._log.warning("redis_feed_lost", error=type(error).__name__)
                    backoff_s = 0.1
            except Exception as error:  # an unexpected message must not end the feed
                self._log.error("redis_feed_defect", exc_info=error)
            finally:
                self.connected.clear()
                with contextlib.suppress(RedisError, OSError):
                    await client.aclose()
            await asyncio.sleep(backoff_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            backoff_s = min(2 * backoff_s, _BACKOFF_MAX_S)

    async def _listen(self, client: redis.asyncio.Redis) -> None:
        """Deliver messages until the connection breaks or goes silent."""
        heard_s = time.monotonic()
        async with client.pubsub() as subscription:
            await subscription.psubscribe(f"{keys.PREFIX}*")
            while True:
                message = await subscription.get_message(timeout=self._ping_after_s)
                now_s = time.monotonic()
                if message is None:
                    if now_s - heard_s > self._silence_max_s:
                        raise TimeoutError("Redis has gone silent")
                    await subscription.ping()
                    continue
                heard_s = now_s
                if message["type"] == "psubscribe":
                    self.connected.set()
                    for channel in list(self._callbacks):
                        self._deliver(channel, None)
                elif message["type"] == "pmessage":
                    self._deliver(message["channel"].decode(errors="replace"), message["data"])

    def _deliver(self, channel: str, data: bytes | None) -> None:
        for callback in tuple(self._callbacks.get(channel, ())):
            try:
                callback(data)
            except Exception as defect:  # one faulty callback must not end the feed of the others
                self._log.error("redis_feed_callback_defect", channel=channel, exc_info=defect)
