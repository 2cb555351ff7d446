"""What an indexer's process works with: made once in each, when its first task comes, and used by all that follow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import redis

from indexer.plans import PlanStore
from indexer.searches import SearchStore
from indexer.settings import Settings
from indexer.vectors import Vectors
from vitrine.embedding import EmbedderClient
from vitrine.jobs import JobStore, StepStore, open_redis
from vitrine.jobs.metrics import Counts
from vitrine.jobs.publisher import JobPublisher
from vitrine.qdrant import open_qdrant
from vitrine.releases import ReleaseStore
from vitrine.telemetry import configure_logging
from vitrine.uploads.store import Overlay


@dataclass(frozen=True, slots=True)
class Parts:
    """The indexer's parts."""

    settings: Settings
    jobs: JobStore
    steps: StepStore
    plans: PlanStore
    searches: SearchStore
    vectors: Vectors
    embedder: EmbedderClient
    overlay: Overlay
    releases: ReleaseStore
    publisher: JobPublisher
    counts: Counts
    # The connection that all of the above share.
    redis: redis.Redis

    def close(self) -> None:
        """Close every connection but that of the Redis client, which is its maker's."""
        self.publisher.close()
        self.embedder.close()
        self.vectors.close()


def build_parts(settings: Settings, client: redis.Redis) -> Parts:
    """Make the parts; none of them connects before it is used."""
    qdrant = open_qdrant(settings.qdrant_url, api_key=settings.qdrant_api_key, timeout_s=settings.qdrant_timeout_s)
    return Parts(
        settings=settings,
        jobs=JobStore(client),
        steps=StepStore(client),
        plans=PlanStore(client),
        searches=SearchStore(client),
        vectors=Vectors(qdrant),
        embedder=EmbedderClient(
            settings.embedder_url, api_key=settings.embedder_api_key, retry_budget_s=settings.embed_patience_s
        ),
        overlay=Overlay(settings.uploads_dir),
        releases=ReleaseStore(settings.releases_url, cache_dir=settings.releases_cache_dir),
        publisher=JobPublisher(settings),
        counts=Counts(client, service="indexer"),
        redis=client,
    )


@cache
def process_parts() -> Parts:
    """The parts of this process."""
    settings = Settings()
    configure_logging("indexer", level=settings.log_level, log_format=settings.log_format)
    return build_parts(settings, open_redis(settings.redis_url))
