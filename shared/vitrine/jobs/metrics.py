"""Metrics of the workers. The processes of a pool come and go, so they count in Redis, and each worker's parent process
exports the totals of the service. Every worker exports the same numbers: read one of them, or take the maximum.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import redis
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from vitrine.errors import BrokerUnavailable
from vitrine.jobs import keys
from vitrine.jobs.celery import Profile
from vitrine.jobs.operations import text
from vitrine.jobs.redis import broker_errors
from vitrine.telemetry import get_logger

_SEPARATOR: Final = ":"
# The broker's hash of messages that workers have taken and not yet acknowledged.
_UNACKED: Final = "unacked"


class Counts:
    """Counters of one service, by name and kind, for example `pictures`, `done`. There are only a few kinds."""

    def __init__(self, client: redis.Redis, *, service: str) -> None:
        self._redis = client
        self._key = f"{keys.PREFIX}counts:{service}"

    def add(self, name: str, kinds: Mapping[str, int | float]) -> None:
        """Add to the counts of `name`. Does nothing if Redis is away: counting must not fail the work."""
        try:
            with broker_errors(), self._redis.pipeline(transaction=False) as pipe:
                for kind, count in kinds.items():
                    if count:
                        pipe.hincrbyfloat(self._key, f"{name}{_SEPARATOR}{kind}", count)
                pipe.execute()
        except BrokerUnavailable:
            return

    def read(self) -> dict[tuple[str, str], float]:
        """All counts, by (name, kind). Raises BrokerUnavailable."""
        with broker_errors():
            stored = self._redis.hgetall(self._key)
        counts = {}
        for field, count in stored.items():
            name, _, kind = text(field).partition(_SEPARATOR)
            counts[name, kind] = float(count)
        return counts


class WorkerCollector(Collector):
    """A service's counts and the lengths of its queues."""

    def __init__(self, client: redis.Redis, counts: Counts, *, service: str, profile: Profile) -> None:
        self._redis = client
        self._counts = counts
        self._service = service
        self._profile = profile

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        try:
            counts = self._counts.read()
            messages = self._messages()
        except BrokerUnavailable:
            yield GaugeMetricFamily("vitrine_worker_redis_up", "Whether the worker reaches Redis", value=0)
            return
        yield GaugeMetricFamily("vitrine_worker_redis_up", "Whether the worker reaches Redis", value=1)
        for name in sorted({name for name, _ in counts}):
            family = CounterMetricFamily(
                f"vitrine_{self._service}_{name}", f"The {self._service}'s {name.replace('_', ' ')}", labels=["kind"]
            )
            for (counted, kind), count in sorted(counts.items()):
                if counted == name:
                    family.add_metric([kind], count)
            yield family
        queues = GaugeMetricFamily(
            "vitrine_worker_queue_messages", "Messages in a queue; `unacked`: at work", labels=["queue"]
        )
        for queue, count in messages.items():
            queues.add_metric([queue], count)
        yield queues

    def _messages(self) -> dict[str, int]:
        prefix = self._profile.key_prefix
        with broker_errors():
            messages = {queue.value: int(self._redis.llen(prefix + queue.value)) for queue in self._profile.queues}
            messages[_UNACKED] = int(self._redis.hlen(prefix + _UNACKED))
        return messages


class MetricsServer:
    """Serves /metrics in the worker's parent process."""

    def __init__(self, collector: Collector, *, host: str, port: int) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(collector)
        self._host = host
        self._port = port

    def start(self) -> None:
        self._server, self._thread = start_http_server(self._port, self._host, self._registry)
        get_logger("metrics").info("metrics_ready", port=self._server.server_port)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
