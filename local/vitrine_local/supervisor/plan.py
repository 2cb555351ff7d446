"""Which services make the local system, in which order, with which environment. Addresses that the user's environment
gives (REDIS_URL, QDRANT_URL) are used instead of starting that service; all else is started here, on loopback.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from vitrine_local.data_folder import DataFolder
from vitrine_local.redis_server import find_redis_server, redis_command
from vitrine_local.supervisor.ports import LOOPBACK, PortReservation
from vitrine_local.supervisor.probes import HttpProbe, RedisProbe, WorkerProbe
from vitrine_local.supervisor.spec import ServiceSpec

REDIS = "redis"
QDRANT = "qdrant"
EMBEDDER = "embedder"
INDEXER = "indexer"
TRAINER = "trainer"
SEARCH_API = "search-api"
SERVICES = (REDIS, QDRANT, EMBEDDER, INDEXER, TRAINER, SEARCH_API)

# Longer than a worker takes to put its running task back on the queue, and an HTTP service to answer what it has taken.
_SERVICE_STOP_GRACE_S = 30.0
_REDIS_VARIABLES = ("VITRINE_REDIS_URL", "REDIS_URL")
_QDRANT_VARIABLES = ("VITRINE_QDRANT_URL", "QDRANT_URL")
_QDRANT_KEY_VARIABLES = ("VITRINE_QDRANT_API_KEY", "QDRANT_API_KEY")
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_PYTHON = (sys.executable, "-m")


@dataclass(frozen=True, slots=True)
class Plan:
    """The services in the order of their starting, and where the search API will answer."""

    url: str
    services: tuple[ServiceSpec, ...]

    @property
    def ports(self) -> dict[str, int]:
        return {spec.name: spec.port for spec in self.services if spec.port is not None}

    def release_ports(self) -> None:
        for spec in self.services:
            if spec.reservation is not None:
                spec.reservation.close()


def make_plan(data: DataFolder, *, port: int, environment: Mapping[str, str]) -> Plan:
    """Reserve the ports and describe the services. `port` is the search API's, 0 for any.

    Raises PortTaken and RedisMissing. The caller closes the reservations with `release_ports`.
    """
    with contextlib.ExitStack() as undo:
        api = undo.enter_context(PortReservation(port))  # first: a taken port is told before anything else happens
        embedder = undo.enter_context(PortReservation())
        redis = _redis(data, environment, undo)
        qdrant = _qdrant(data, environment, undo)
        embedder_url = f"http://{LOOPBACK}:{embedder.port}"
        shared = {
            **_inherited(environment),
            "VITRINE_REDIS_URL": redis.address,
            "VITRINE_QDRANT_URL": qdrant.address,
            "VITRINE_EMBEDDER_URL": embedder_url,
            "VITRINE_RELEASES_URL": f"file:{data.releases}",
            "VITRINE_RELEASES_CACHE_DIR": str(data.cache / "releases"),
            "VITRINE_UPLOADS_DIR": str(data.uploads),
            "VITRINE_WORK_DIR": str(data.work),
            "VITRINE_REPORTS_DIR": str(data.reports),
            "VITRINE_CATALOG_ROOTS_FILE": str(data.catalog_roots_file),
        }
        one_thread, all_threads = _with_threads(shared, 1), _with_threads(shared, os.cpu_count() or 1)
        api_url = f"http://{LOOPBACK}:{api.port}"
        services = (
            ServiceSpec(
                name=REDIS,
                command=redis.command,
                environment=shared,
                probe=RedisProbe(redis.address),
                reservation=redis.reservation,
            ),
            ServiceSpec(
                name=QDRANT,
                command=qdrant.command,
                environment=shared,
                probe=HttpProbe(f"{qdrant.address}/readyz", api_key=_given(environment, _QDRANT_KEY_VARIABLES)),
                reservation=qdrant.reservation,
                stop_grace_s=_SERVICE_STOP_GRACE_S,
            ),
            ServiceSpec(
                name=EMBEDDER,
                command=(*_PYTHON, "embedder"),
                environment=all_threads
                | {"VITRINE_EMBEDDER_HOST": LOOPBACK, "VITRINE_EMBEDDER_PORT": str(embedder.port)},
                probe=HttpProbe(f"{embedder_url}/readyz"),
                reservation=embedder,
                stop_grace_s=_SERVICE_STOP_GRACE_S,
            ),
            ServiceSpec(
                name=INDEXER,
                command=(*_PYTHON, "indexer"),
                environment=one_thread,
                after=(REDIS, QDRANT),
                probe=WorkerProbe(redis.address, INDEXER),
                stop_grace_s=_SERVICE_STOP_GRACE_S,
            ),
            ServiceSpec(
                name=TRAINER,
                command=(*_PYTHON, "trainer"),
                environment=all_threads,
                after=(REDIS,),
                probe=WorkerProbe(redis.address, TRAINER),
                stop_grace_s=_SERVICE_STOP_GRACE_S,
            ),
            ServiceSpec(
                name=SEARCH_API,
                command=(*_PYTHON, "search_api"),
                environment=one_thread | {"VITRINE_API_HOST": LOOPBACK, "VITRINE_API_PORT": str(api.port)},
                after=(REDIS, QDRANT, EMBEDDER),
                probe=HttpProbe(f"{api_url}/readyz"),
                reservation=api,
                stop_grace_s=_SERVICE_STOP_GRACE_S,
            ),
        )
        undo.pop_all()
        return Plan(url=api_url, services=services)


@dataclass(frozen=True, slots=True)
class _Store:
    """Redis or Qdrant: where it answers, and how it is started if it is ours to start."""

    address: str
    command: tuple[str, ...] | None = None
    reservation: PortReservation | None = None


def _redis(data: DataFolder, environment: Mapping[str, str], undo: contextlib.ExitStack) -> _Store:
    given = _given(environment, _REDIS_VARIABLES)
    if given is not None:
        return _Store(given)
    binary = find_redis_server()
    reservation = undo.enter_context(PortReservation())
    return _Store(
        f"redis://{LOOPBACK}:{reservation.port}/0",
        redis_command(binary, folder=data.redis, host=LOOPBACK, port=reservation.port),
        reservation,
    )


def _qdrant(data: DataFolder, environment: Mapping[str, str], undo: contextlib.ExitStack) -> _Store:
    given = _given(environment, _QDRANT_VARIABLES)
    if given is not None:
        return _Store(given.rstrip("/"))
    reservation = undo.enter_context(PortReservation())
    port = reservation.port
    options = ("--storage", str(data.qdrant), "--host", LOOPBACK, "--port", str(port))
    return _Store(f"http://{LOOPBACK}:{port}", (*_PYTHON, "vitrine_local.qdrant", *options), reservation)


def _inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """The user's environment, with the proxies kept away from loopback and output unbuffered."""
    loopback = f"{LOOPBACK},localhost"
    bypass = environment.get("no_proxy") or environment.get("NO_PROXY")
    no_proxy = f"{bypass},{loopback}" if bypass else loopback
    return {**environment, "NO_PROXY": no_proxy, "no_proxy": no_proxy, "PYTHONUNBUFFERED": "1"}


def _with_threads(environment: Mapping[str, str], threads: int) -> dict[str, str]:
    """The environment with as many numeric threads as are good for the service, unless the user says otherwise."""
    wanted = environment.get("OMP_NUM_THREADS", str(threads))
    return {**dict.fromkeys(_THREAD_VARIABLES, wanted), **environment}


def _given(environment: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((environment[name] for name in names if environment.get(name)), None)
