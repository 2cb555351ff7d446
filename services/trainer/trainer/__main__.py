"""Run the trainer: `python -m trainer`. One job at a time."""

from __future__ import annotations

import os
import sys

from trainer.settings import Settings
from vitrine.errors import SettingsInvalid
from vitrine.settings import EXIT_SETTINGS, load_settings
from vitrine.telemetry import configure_logging


def main() -> int:
    # The process pool's library reads this when it is loaded, which the imports below do.
    os.environ["REMAP_SIGTERM"] = "SIGQUIT"
    from trainer.duties import TrainerDuties
    from vitrine.jobs import JobStore, open_redis
    from vitrine.jobs.celery import TRAIN, celery_app
    from vitrine.jobs.heartbeat import Announcer
    from vitrine.jobs.publisher import producer
    from vitrine.jobs.sweeper import Sweeper
    from vitrine.jobs.worker import run_worker

    try:
        settings = load_settings(Settings)
        configure_logging("trainer", level=settings.log_level, log_format=settings.log_format)
        client = open_redis(settings.redis_url)
        publisher = producer(settings)
        return run_worker(
            celery_app(TRAIN, redis_url=settings.redis_url, include=("trainer.tasks",)),
            TRAIN,
            service="trainer",
            concurrency=1,
            companions=(
                Announcer(client, service="trainer", queues=tuple(queue.value for queue in TRAIN.queues)),
                Sweeper(client, service="trainer", duties=TrainerDuties(JobStore(client)), publisher=publisher),
            ),
        )
    except SettingsInvalid as error:
        sys.stderr.write(f"trainer: {error.detail}\n")
        return EXIT_SETTINGS


if __name__ == "__main__":
    sys.exit(main())
