"""A worker's sign of life: a key in Redis that names the service, host, process and queues, and ends by itself soon
after the worker does.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from typing import Final

import redis

from vitrine.errors import BrokerUnavailable
from vitrine.jobs import keys
from vitrine.jobs.connect import broker_errors
from vitrine.jobs.record import now

TTL_S: Final = 15
INTERVAL_S: Final = 5.0


def announcement_key(service: str, host: str, pid: int) -> str:
    return f"{keys.PREFIX}worker:{service}:{host}:{pid}"


class Announcer:
    """Announces this process until it is stopped."""

    def __init__(self, client: redis.Redis, *, service: str, queues: tuple[str, ...]) -> None:
        self._redis = client
        host = socket.gethostname()
        self._key = announcement_key(service, host, os.getpid())
        self._text = json.dumps(
            {"service": service, "host": host, "pid": os.getpid(), "started_at": now(), "queues": list(queues)}
        )
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="announcer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._write()
            if self._stopping.wait(INTERVAL_S):
                break
        try:
            with broker_errors():
                self._redis.delete(self._key)
        except BrokerUnavailable:
            return  # it ends by itself

    def _write(self) -> None:
        try:
            with broker_errors():
                self._redis.set(self._key, self._text, ex=TTL_S)
        except BrokerUnavailable:
            return  # written again at the next turn
