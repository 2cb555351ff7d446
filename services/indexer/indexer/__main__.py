"""Run the indexer: `python -m indexer`."""

from __future__ import annotations

import os
import sys

from indexer.settings import Settings
from vitrine.errors import SettingsInvalid
from vitrine.settings import EXIT_SETTINGS, load_settings
from vitrine.telemetry import configure_logging


def main() -> int:
    # billiard reads this when it is imported, which the imports below do.
    os.environ["REMAP_SIGTERM"] = "SIGQUIT"
    from indexer.dependencies import build_dependencies
    from indexer.qdrant_version import QdrantVersionCheck
    from indexer.scheduler import Scheduler
    from indexer.tasks import sweep_policy
    from vitrine.jobs import open_redis
    from vitrine.jobs.celery import INDEX, celery_app
    from vitrine.jobs.metrics import MetricsServer, WorkerCollector
    from vitrine.jobs.sweeper import Sweeper
    from vitrine.jobs.worker import Companion, run_worker

    try:
        settings = load_settings(Settings)
        configure_logging("indexer", level=settings.log_level, log_format=settings.log_format)
        client = open_redis(settings.redis_url)
        deps = build_dependencies(settings, client)
        companions: list[Companion] = [
            Sweeper(client, service="indexer", profile=INDEX, policy=sweep_policy(deps), publisher=deps.publisher),
            Scheduler(deps.schedules, deps.jobs, deps.vectors, deps.publisher),
            QdrantVersionCheck(deps.vectors),
        ]
        if settings.indexer_metrics_port:
            collector = WorkerCollector(client, deps.counts, service="indexer", profile=INDEX)
            host, port = settings.indexer_metrics_host, settings.indexer_metrics_port
            companions.append(MetricsServer(collector, host=host, port=port))
        return run_worker(
            celery_app(INDEX, redis_url=settings.redis_url, include=("indexer.tasks",)),
            INDEX,
            service="indexer",
            concurrency=settings.index_processes,
            client=client,
            companions=tuple(companions),
        )
    except SettingsInvalid as error:
        sys.stderr.write(f"indexer: {error.detail}\n")
        return EXIT_SETTINGS


if __name__ == "__main__":
    sys.exit(main())
