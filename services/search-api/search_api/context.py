"""The dependencies of the routes: built once by `create_app` and closed with it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Annotated

import httpx
import redis.asyncio
from fastapi import Depends, Request

from search_api.answers import Confidences
from search_api.explain.service import Explanations
from search_api.jobs.feed import JobFeed
from search_api.jobs.gateway import JobsGateway
from search_api.products.pictures import Pictures
from search_api.products.service import Products
from search_api.products.thumbnail_cache import ThumbnailCache
from search_api.products.thumbnails import Thumbnails
from search_api.products.writes import ProductWrites
from search_api.redis_feed import RedisFeed
from search_api.search.parsers import Parsers
from search_api.search.query_embedding import QueryEmbedder
from search_api.search.retrieval import Retrieval
from search_api.search.service import SearchService
from search_api.search.uploads import FaceBlur, Uploads
from search_api.settings import Settings
from search_api.status.dependencies import Dependencies, Dependency, ask_embedder, ask_qdrant, ask_redis
from search_api.streams import StreamPlaces
from search_api.vector_store import VectorStore
from vitrine.disk_space import MIB
from vitrine.embedding import AsyncEmbedderClient
from vitrine.errors import BrokerUnavailable
from vitrine.jobs import AsyncJobStore, open_async_redis
from vitrine.jobs.schedules import AsyncScheduleStore
from vitrine.qdrant.aliases import CHANGES_CHANNEL, announce_change_async
from vitrine.qdrant.client import open_async_qdrant
from vitrine.qdrant.nodes import Nodes
from vitrine.qdrant.planner import Planner
from vitrine.releases import ReleaseStore
from vitrine.telemetry import get_logger
from vitrine.uploads.store import UploadStore


@dataclass(slots=True)
class Lifecycle:
    """The state of the process. Once `draining` is set, readiness fails and the event streams end."""

    draining: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Context:
    """The services and clients of the search API."""

    settings: Settings
    lifecycle: Lifecycle
    store: VectorStore
    retrieval: Retrieval
    search: SearchService
    uploads: Uploads
    explanations: Explanations
    embedder: AsyncEmbedderClient
    jobs: JobsGateway
    schedules: AsyncScheduleStore
    redis_feed: RedisFeed
    job_feed: JobFeed
    stream_places: StreamPlaces
    export_places: StreamPlaces
    releases: ReleaseStore
    upload_store: UploadStore
    products: Products
    pictures: Pictures
    thumbnails: Thumbnails
    writes: ProductWrites
    redis: redis.asyncio.Redis
    probe: httpx.AsyncClient
    qdrant_nodes: Nodes
    dependencies: Dependencies

    async def announce_change(self, dataset: str) -> None:
        """Make every search process reload aliases and collections, this one at once."""
        self.store.forget()
        try:
            await announce_change_async(self.redis, dataset)
        except BrokerUnavailable as error:  # the other processes notice when their caches expire
            get_logger("context").warning("change_announcement_failure", dataset=dataset, code=error.code)

    async def close(self) -> None:
        await self.dependencies.close()
        await self.embedder.aclose()
        await self.store.close()
        await self.job_feed.close()
        await self.redis_feed.close()
        await self.jobs.close()
        await self.redis.aclose()
        await self.probe.aclose()


def build_context(settings: Settings) -> Context:
    """Create the clients. None connects before its first use."""
    nodes = Nodes(settings.qdrant_url)
    qdrant = open_async_qdrant(
        nodes,
        api_key=settings.qdrant_api_key,
        timeout_s=settings.qdrant_timeout_s,
        grpc_port=settings.qdrant_grpc_port,
    )
    store = VectorStore(
        qdrant,
        alias_ttl_s=settings.alias_ttl_s,
        collection_ttl_s=settings.collection_ttl_s,
        match_count_ttl_s=settings.match_count_ttl_s,
    )
    planner = Planner(
        exact_max_matches=settings.exact_max_matches,
        hnsw_ef=settings.hnsw_ef,
        acorn_ef=settings.acorn_ef,
    )
    upload_store = UploadStore(settings.uploads_dir, reserve_bytes=settings.disk_reserve_mb * MIB)
    products = Products(store)
    pictures = Pictures(products, upload_store, settings)
    connection = open_async_redis(settings.redis_url)
    records = AsyncJobStore(connection)
    redis_feed = RedisFeed(settings.redis_url)
    redis_feed.on(CHANGES_CHANNEL, lambda _: store.forget())
    job_feed = JobFeed(redis_feed, records)
    jobs = JobsGateway(records, job_feed, settings)
    releases = ReleaseStore(settings.releases_url, cache_dir=settings.releases_cache_dir)
    probe = httpx.AsyncClient(trust_env=False)
    embedder_is_silent = asyncio.Event()
    embedder = AsyncEmbedderClient(settings.embedder_url, api_key=settings.embedder_api_key, silent=embedder_is_silent)
    retrieval = Retrieval(store, planner=planner, default_dataset=settings.default_dataset)
    timeout_s = settings.request_timeout_s
    parsers = Parsers(releases, model=settings.parser_model)
    search = SearchService(
        retrieval, QueryEmbedder(embedder, parsers, timeout_s=timeout_s), products, Confidences(releases)
    )
    return Context(
        settings=settings,
        lifecycle=Lifecycle(),
        store=store,
        retrieval=retrieval,
        search=search,
        uploads=Uploads(
            connection,
            FaceBlur(embedder, parsers, settings.keep_faces_without_parser, timeout_s),
            ttl_s=settings.upload_ttl_s,
            max_uploads=settings.max_uploads,
            max_total_bytes=settings.max_uploads_mb * MIB,
        ),
        explanations=Explanations(retrieval, pictures, embedder, parsers, timeout_s=timeout_s),
        embedder=embedder,
        jobs=jobs,
        schedules=AsyncScheduleStore(connection),
        redis_feed=redis_feed,
        job_feed=job_feed,
        stream_places=StreamPlaces(
            max_streams=settings.max_event_streams,
            max_streams_per_caller=settings.max_event_streams_per_caller,
        ),
        export_places=StreamPlaces(
            max_streams=settings.max_exports,
            max_streams_per_caller=settings.max_exports_per_caller,
            what="export",
            instead="list them page by page",
        ),
        releases=releases,
        upload_store=upload_store,
        products=products,
        pictures=pictures,
        thumbnails=Thumbnails(
            products,
            pictures,
            embedder,
            ThumbnailCache(
                settings.thumbnails_dir,
                max_bytes=settings.thumbnails_max_mb * MIB,
                reserve_bytes=settings.disk_reserve_mb * MIB,
            ),
        ),
        writes=ProductWrites(
            store, products, pictures, upload_store, embedder, jobs, timeout_s=settings.product_write_timeout_s
        ),
        redis=connection,
        probe=probe,
        qdrant_nodes=nodes,
        dependencies=Dependencies(
            embedder=Dependency(
                "embedder",
                ask_embedder(probe, settings.embedder_url, embedder.answered_within),
                silent=embedder_is_silent,
            ),
            qdrant=Dependency("qdrant", ask_qdrant(probe, nodes)),
            redis=Dependency("redis", ask_redis(connection)),
        ),
    )


def _context_of(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


Ctx = Annotated[Context, Depends(_context_of)]
