"""A worker's sign of life: a key in Redis that names the service, host, process and queues, and expires soon after the
worker dies or hangs.

The announcing thread would live on beside a main loop that hangs, so the key is renewed only while that loop moves: the
runner has it call `beat` each second. A Redis that is at its memory limit refuses new keys but not a longer life for an
old one, so a running worker stays announced there.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from typing import Final

import redis

from vitrine.errors import BrokerFull, BrokerUnavailable
from vitrine.jobs import keys
from vitrine.jobs.record import now
from vitrine.jobs.redis import broker_errors
from vitrine.telemetry import get_logger

TTL_S: Final = 15
INTERVAL_S: Final = 5.0
BEAT_INTERVAL_S: Final = 1.0
# A main loop that is this late is hung, or away from its broker.
STALE_AFTER_S: Final = 30.0
_PROBE_KEY: Final = f"{keys.PREFIX}announcer-probe"


def announcement_key(service: str, host: str, pid: int) -> str:
    return f"{keys.PREFIX}worker:{service}:{host}:{pid}"


class Announcer:
    """Announces this process until it is stopped or its main loop stands still."""

    def __init__(
        self,
        client: redis.Redis,
        *,
        service: str,
        queues: tuple[str, ...],
        interval_s: float = INTERVAL_S,
        stale_after_s: float = STALE_AFTER_S,
    ) -> None:
        self._redis = client
        host = socket.gethostname()
        self._key = announcement_key(service, host, os.getpid())
        self._text = json.dumps(
            {"service": service, "host": host, "pid": os.getpid(), "started_at": now(), "queues": list(queues)}
        )
        self._interval_s = interval_s
        self._stale_after_s = stale_after_s
        self._beat_at_s: float | None = None
        self._silent = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="announcer", daemon=True)
        self._log = get_logger("announcer")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def beat(self) -> None:
        """The worker's main loop moves. A worker that never calls this is announced as long as its process lives."""
        self._beat_at_s = time.monotonic()

    def _run(self) -> None:
        while True:
            if self._moves() or self._redis_is_full():
                self._write()
            if self._stopping.wait(self._interval_s):
                break
        try:
            with broker_errors():
                self._redis.delete(self._key)
        except (BrokerUnavailable, redis.RedisError):
            return  # it expires by itself

    def _moves(self) -> bool:
        beat_at_s = self._beat_at_s
        silent = beat_at_s is not None and time.monotonic() - beat_at_s > self._stale_after_s
        if silent is not self._silent:
            self._silent = silent
            if silent:
                self._log.warning("worker_not_consuming", for_s=self._stale_after_s)
            else:
                self._log.info("worker_consuming_again")
        return not silent

    def _redis_is_full(self) -> bool:
        """Whether that is why the main loop does not consume: it reconnects for as long as Redis takes no writes."""
        try:
            with broker_errors():
                self._redis.set(_PROBE_KEY, "", px=1)
        except BrokerFull:
            return True
        except (BrokerUnavailable, redis.RedisError):
            return False
        return False

    def _write(self) -> None:
        try:
            with broker_errors():
                if not self._redis.expire(self._key, TTL_S):
                    self._redis.set(self._key, self._text, ex=TTL_S)
        except (BrokerUnavailable, redis.RedisError) as error:
            # Whatever Redis says, the thread lives on and tries again: a dead one would leave the worker unannounced.
            self._log.debug("announcement_failure", error=type(error).__name__)
