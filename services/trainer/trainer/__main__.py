"""Run the trainer: `python -m trainer`. One job at a time."""

from __future__ import annotations

import os
import sys

from trainer.settings import Settings
from vitrine.errors import SettingsInvalid
from vitrine.settings import EXIT_SETTINGS, load_settings
from vitrine.telemetry import configure_logging


def main() -> int:
    # Billiard, which the imports below load, reads this when it is imported.
    os.environ["REMAP_SIGTERM"] = "SIGQUIT"
    from trainer.tasks import build_dependencies
    from vitrine.jobs import open_redis
    from vitrine.jobs.celery import TRAIN, celery_app
    from vitrine.jobs.publisher import JobPublisher
    from vitrine.jobs.sweeper import Sweeper, SweepPolicy
    from vitrine.jobs.worker import run_worker

    try:
        settings = load_settings(Settings)
        configure_logging("trainer", level=settings.log_level, log_format=settings.log_format)
        client = open_redis(settings.redis_url)
        sweeper = Sweeper(
            client,
            service="trainer",
            profile=TRAIN,
            policy=SweepPolicy(cancel=build_dependencies(settings, client).runner.cancel),
            publisher=JobPublisher(settings),
        )
        return run_worker(
            celery_app(TRAIN, redis_url=settings.redis_url, include=("trainer.tasks",)),
            TRAIN,
            service="trainer",
            concurrency=1,
            client=client,
            companions=(sweeper,),
        )
    except SettingsInvalid as error:
        sys.stderr.write(f"trainer: {error.detail}\n")
        return EXIT_SETTINGS


if __name__ == "__main__":
    sys.exit(main())
