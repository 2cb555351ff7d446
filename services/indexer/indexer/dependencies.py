"""The clients and stores that the indexer's tasks use, created once per process at its first task."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import redis

from indexer.crash_search import CrashSearches, SearchStore
from indexer.fetching import Fetcher, FetchLimits, Rate
from indexer.plan import PlanStore
from indexer.settings import Settings
from indexer.vectors import Vectors
from vitrine.catalogs.downloads import Downloads
from vitrine.embedding import EmbedderClient
from vitrine.jobs import JobStore, StepStore, open_redis
from vitrine.jobs.metrics import Counts
from vitrine.jobs.publisher import JobPublisher
from vitrine.jobs.schedules import ScheduleStore
from vitrine.qdrant.client import open_qdrant
from vitrine.releases import ReleaseStore
from vitrine.telemetry import configure_logging
from vitrine.uploads.store import UploadStore


@dataclass(frozen=True, slots=True)
class Dependencies:
    settings: Settings
    jobs: JobStore
    steps: StepStore
    plans: PlanStore
    schedules: ScheduleStore
    crash_searches: CrashSearches
    vectors: Vectors
    embedder: EmbedderClient
    upload_store: UploadStore
    downloads: Downloads
    fetcher: Fetcher
    releases: ReleaseStore
    publisher: JobPublisher
    counts: Counts
    # The connection of the stores above.
    redis: redis.Redis

    def close(self) -> None:
        """Close every connection except the Redis client's."""
        self.fetcher.close()
        self.publisher.close()
        self.embedder.close()
        self.vectors.close()


def build_dependencies(settings: Settings, client: redis.Redis) -> Dependencies:
    """Create the dependencies. None of them connects before its first call."""
    qdrant = open_qdrant(
        settings.qdrant_url,
        api_key=settings.qdrant_api_key,
        timeout_s=settings.qdrant_timeout_s,
        grpc_port=settings.qdrant_grpc_port,
    )
    steps = StepStore(client)
    downloads = Downloads(settings.downloads_dir)
    limits = FetchLimits.of(settings)
    return Dependencies(
        settings=settings,
        jobs=JobStore(client),
        steps=steps,
        plans=PlanStore(client),
        schedules=ScheduleStore(client),
        crash_searches=CrashSearches(SearchStore(client), steps, settings),
        vectors=Vectors(qdrant),
        embedder=EmbedderClient(
            settings.embedder_url, api_key=settings.embedder_api_key, retry_budget_s=settings.embed_patience_s
        ),
        upload_store=UploadStore(settings.uploads_dir),
        downloads=downloads,
        fetcher=Fetcher(downloads, limits, Rate(client, limits.rate_per_s)),
        releases=ReleaseStore(settings.releases_url, cache_dir=settings.releases_cache_dir),
        publisher=JobPublisher(settings),
        counts=Counts(client, service="indexer"),
        redis=client,
    )


@cache
def process_dependencies() -> Dependencies:
    """The dependencies of this process."""
    settings = Settings()
    configure_logging("indexer", level=settings.log_level, log_format=settings.log_format)
    return build_dependencies(settings, open_redis(settings.redis_url))
