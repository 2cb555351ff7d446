"""The whole system as real processes on free ports, in its own folder, with generated catalogues and tiny releases."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import redis
from qdrant_client import QdrantClient

from harness.processes import Redis, Service, free_port
from harness.releases import TINY_MODEL, build_tiny_release, store_of
from harness.servers import open_test_qdrant
from harness.waiting import HUNG_AFTER_S, wait_until
from vitrine.jobs import JobKind, JobRecord, JobState, JobStore, open_redis
from vitrine.jobs.publisher import JobPublisher
from vitrine.qdrant.client import open_qdrant
from vitrine.qdrant.naming import alias_name, collection_name
from vitrine.settings import CommonSettings
from vitrine_local.demo_catalog.generate import generate_catalog

MODEL = TINY_MODEL.removeprefix("timm:")
_HEALTH = {"embedder": "readyz", "search_api": "livez"}
_TESTS = Path(__file__).parents[1]
# What runs in place of a service's own package, unless a test asks for that.
_PACKAGE = {"trainer": "harness.warm_trainer"}


class System:
    """Redis and Qdrant run from the start. Services are started by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.catalogs = folder / "catalogs"
        self.catalogs.mkdir(parents=True)
        self.releases = folder / "releases"
        self.redis = Redis(folder / "redis")
        self.qdrant = open_test_qdrant(folder / "qdrant")
        self.services: dict[str, Service] = {}
        self._ports = {"embedder": free_port(), "search_api": free_port()}
        self.env = {
            "VITRINE_REDIS_URL": self.redis.url,
            "VITRINE_QDRANT_URL": self.qdrant.url,
            "VITRINE_EMBEDDER_URL": self.url("embedder"),
            "VITRINE_EMBEDDER_PORT": str(self._ports["embedder"]),
            "VITRINE_API_PORT": str(self._ports["search_api"]),
            "VITRINE_RELEASES_URL": f"file:{self.releases}",
            "VITRINE_RELEASES_CACHE_DIR": str(folder / "release-cache"),
            "VITRINE_THUMBNAILS_DIR": str(folder / "thumbnails"),
            "VITRINE_UPLOADS_DIR": str(folder / "uploads"),
            "VITRINE_DOWNLOADS_DIR": str(folder / "downloads"),
            # A test may serve pictures there.
            "VITRINE_DOWNLOAD_HOSTS": f"127.0.0.2:{free_port()}",
            "VITRINE_DOWNLOAD_NETWORKS": "127.0.0.2/32",
            "VITRINE_WORK_DIR": str(folder / "work"),
            "VITRINE_REPORTS_DIR": str(folder / "reports"),
            "VITRINE_CATALOG_ROOTS": str(self.catalogs),
            # Most tests have no parser; where one is published, it is used.
            "VITRINE_KEEP_FACES_WITHOUT_PARSER": "true",
            "VITRINE_DEVICE": "cpu",
            "VITRINE_TRAINER_DEVICE": "cpu",
        }

    def start(self, *names: str, package: str | None = None, **env: str) -> None:
        """Start services by the names of their packages, or one service from another `package`.

        The trainer keeps its process from job to job (`harness.warm_trainer`); `package="trainer"` is the real one.
        Waits for the HTTP services.
        """
        for name in names:
            # The search API's readiness includes the embedder, which a test may not have started.
            ready_url = f"{self.url(name)}/{_HEALTH[name]}" if name in self._ports else None
            chosen = package or _PACKAGE.get(name, name)
            if chosen.startswith("harness."):
                env = {"PYTHONPATH": str(_TESTS), **env}
            self.services[name] = Service(
                chosen, folder=self.folder / "logs", env={**self.env, **env}, ready_url=ready_url, wait=False
            )
        for name in names:
            self.services[name].wait_ready()

    @contextlib.contextmanager
    def without(self, name: str) -> Iterator[None]:
        """The system without this service, which is restarted at the end."""
        self.services[name].kill()
        try:
            yield
        finally:
            self.services[name].start()
            self.services[name].wait_ready()
            if name == "embedder" and "search_api" in self.services:
                wait_until(self._search_api_has_its_embedder, what="the search API finds its embedder again")

    def _search_api_has_its_embedder(self) -> bool:
        up: bool = self.api.get("/readyz").json()["needs"]["embedder"]["up"]
        return up

    @contextlib.contextmanager
    def another_api(self, **env: str) -> Iterator[str]:
        """The address of a second search API on the same data, with other settings."""
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        own = {**self.env, "VITRINE_API_PORT": str(port), **env}
        folder = self.folder / "logs" / f"api-{port}"
        api = Service("search_api", folder=folder, env=own, ready_url=f"{url}/{_HEALTH['search_api']}")
        try:
            yield url
        finally:
            api.stop()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._ports[name]}"

    def stop(self) -> None:
        for client in ("redis_client", "publisher", "store", "api"):
            if client in self.__dict__:
                getattr(self, client).close()
        for process in (*reversed(self.services.values()), self.qdrant, self.redis):
            process.stop()

    def catalog(self, name: str = "drawn", *, count: int = 48, seed: int = 1) -> Path:
        """A generated catalogue below the allowed root. The same arguments give the same folder."""
        folder = self.catalogs / f"{name}-{count}-{seed}"
        if not folder.exists():
            generate_catalog(folder, count=count, seed=seed)
        return folder

    def release(self, **options: Any) -> str:
        """A tiny release in the system's store."""
        return build_tiny_release(self.releases, **options)

    @cached_property
    def redis_client(self) -> redis.Redis:
        """A client of the system's Redis."""
        return open_redis(self.redis.url)

    @cached_property
    def jobs(self) -> JobStore:
        return JobStore(self.redis_client)

    @cached_property
    def publisher(self) -> JobPublisher:
        return JobPublisher(CommonSettings(redis_url=self.redis.url))

    @cached_property
    def store(self) -> QdrantClient:
        return open_qdrant(self.qdrant.url, timeout_s=10)

    @cached_property
    def api(self) -> httpx.Client:
        return httpx.Client(base_url=self.url("search_api"), timeout=HUNG_AFTER_S, trust_env=False)

    def enqueue(self, kind: JobKind, params: dict[str, Any]) -> str:
        """Create a job and publish it, as the search API does."""
        record, _ = self.jobs.create(kind, params)
        self.publisher.publish(record)
        return record.id

    def enqueue_index(self, release_id: str, root: Path, *, dataset: str = "drawn", limit: int | None = None) -> str:
        params = {
            "dataset": dataset,
            "reader": "synthetic",
            "root": str(root),
            "model": store_of(self.releases).manifest(release_id).model,
            "release_id": release_id,
            "limit": limit,
        }
        return self.enqueue(JobKind.INDEX, params)

    def finished(self, job_id: str, *, deadline_s: float = HUNG_AFTER_S) -> JobRecord:
        """The finished job."""

        def ended() -> JobRecord | None:
            record = self.jobs.get(job_id)
            return record if record.state.finished else None

        record = wait_until(ended, deadline_s=deadline_s, what=f"the end of job {job_id}")
        assert record is not None
        return record

    def succeeded(self, job_id: str, *, deadline_s: float = HUNG_AFTER_S) -> JobRecord:
        """The finished job. Raises AssertionError with the logs of the services if it did not succeed."""
        try:
            record = self.finished(job_id, deadline_s=deadline_s)
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self.jobs.get(job_id)}\n{self.tails()}") from None
        assert record.state is JobState.SUCCEEDED, f"{record.error}\n{self.tails()}"
        return record

    def index(self, release_id: str, root: Path, **options: Any) -> JobRecord:
        return self.succeeded(self.enqueue_index(release_id, root, **options))

    def serving(self, *, dataset: str = "drawn", model: str = MODEL) -> str | None:
        """The collection that an alias points to."""
        alias = alias_name(dataset, model)
        named = {one.alias_name: one.collection_name for one in self.store.get_aliases().aliases}
        return named.get(alias)

    def collection(self, release_id: str, *, dataset: str = "drawn") -> str:
        return collection_name(dataset, release_id)

    def tails(self) -> str:
        return "\n".join(f"--- {name}\n{service.tail(chars=3000)}" for name, service in self.services.items())


@contextlib.contextmanager
def running_system(folder: Path, *services: str, **env: str) -> Iterator[System]:
    """A system with these services. They are killed at the end."""
    system = System(folder)
    try:
        system.start(*services, **env)
        yield system
    finally:
        system.stop()
