"""The plan of the local system: which services, in which order, with which commands and environment.

If the user's environment sets REDIS_URL or QDRANT_URL, that server is used and none is started. Every started service
listens on loopback and asks for a secret. Secrets reach a service through its environment or standard input, never
through the command line, which every user of the machine can read.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from vitrine.errors import SettingsInvalid
from vitrine.node_addresses import parse_nodes
from vitrine_local.data_folder import DataFolder
from vitrine_local.redis_repair import repair_append_only_file
from vitrine_local.redis_server import find_redis_server, redis_command, redis_configuration
from vitrine_local.secrets import LocalSecrets
from vitrine_local.supervisor.health import (
    AnyProbe,
    HttpProbe,
    RedisLiveness,
    RedisProbe,
    WorkerLiveness,
    WorkerProbe,
)
from vitrine_local.supervisor.spec import LOOPBACK, PortReservation, Repair, ServiceSpec

REDIS = "redis"
QDRANT = "qdrant"
EMBEDDER = "embedder"
INDEXER = "indexer"
TRAINER = "trainer"
SEARCH_API = "search-api"
SERVICES = (REDIS, QDRANT, EMBEDDER, INDEXER, TRAINER, SEARCH_API)

# Longer than a worker needs to requeue its running task, and an HTTP service to finish its open requests.
_SERVICE_STOP_GRACE_S = 30.0
_REDIS_VARIABLES = ("VITRINE_REDIS_URL", "REDIS_URL")
_QDRANT_VARIABLES = ("VITRINE_QDRANT_URL", "QDRANT_URL")
_QDRANT_KEY = "VITRINE_QDRANT_API_KEY"
_QDRANT_KEY_VARIABLES = (_QDRANT_KEY, "QDRANT_API_KEY")
_RECIPES = "VITRINE_RECIPES_DIR"
# A link in a checkout, files in a wheel.
_RECIPES_FOLDER = Path(__file__).parents[1] / "recipes"
_EMBEDDER_KEY = "VITRINE_EMBEDDER_API_KEY"
_LOWER_PRIORITY = "VITRINE_LOWER_PRIORITY"
# CPU priority: searches first, then indexing, then training.
_INDEXER_NICENESS = 5
_TRAINER_NICENESS = 10
# A store may wait for its disk for a while. A worker's heartbeat key lives for 15 s, and comes back up to 35 s after
# Redis was down.
_STORE_HUNG_AFTER_S = 30.0
_WORKER_HUNG_AFTER_S = 60.0
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_PYTHON = (sys.executable, "-m")


@dataclass(frozen=True, slots=True)
class Plan:
    """The services in start order, and the URL of the search API."""

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
    """Reserve the ports and describe the services. `port` is the search API's, 0 for any free one.

    Raises PortTaken and RedisMissing. The caller releases the ports with `release_ports`.
    """
    with contextlib.ExitStack() as undo:
        api = undo.enter_context(PortReservation(port))  # first, so that a taken port is reported before anything else
        embedder = undo.enter_context(PortReservation())
        secrets = data.load_or_create_secrets()
        redis = _redis(data, environment, secrets, undo)
        qdrant = _qdrant(data, environment, secrets, undo)
        embedder_url = f"http://{LOOPBACK}:{embedder.port}"
        api_url = f"http://{LOOPBACK}:{api.port}"
        key = environment.get(_EMBEDDER_KEY) or secrets.embedder_api_key.get_secret_value()
        common = _common_settings(data, environment)
        to_embedder = {"VITRINE_EMBEDDER_URL": embedder_url, _EMBEDDER_KEY: key}
        lower = _lower_priority(environment)
        one_thread, all_threads = _with_threads(common, 1), _with_threads(common, os.cpu_count() or 1)
        services = (
            ServiceSpec(
                name=REDIS,
                command=redis.command,
                environment=_inherited(environment),
                stdin=redis.stdin,
                probe=RedisProbe(redis.url),
                liveness=RedisLiveness(redis.url),
                hung_after_s=_STORE_HUNG_AFTER_S,
                repair=redis.repair,
                reservation=redis.reservation,
            ),
            ServiceSpec(
                name=QDRANT,
                command=qdrant.command,
                environment=_inherited(environment) | qdrant.settings,
                probe=_each_node(qdrant, "readyz", api_key=_given(qdrant.settings, _QDRANT_KEY_VARIABLES)),
                liveness=_each_node(qdrant, "livez"),
                hung_after_s=_STORE_HUNG_AFTER_S,
                reservation=qdrant.reservation,
                stop_grace_s=_SERVICE_STOP_GRACE_S,
            ),
            ServiceSpec(
                name=EMBEDDER,
                command=(*_PYTHON, "embedder"),
                environment=all_threads
                | {"VITRINE_EMBEDDER_HOST": LOOPBACK, "VITRINE_EMBEDDER_PORT": str(embedder.port), _EMBEDDER_KEY: key},
                probe=HttpProbe(f"{embedder_url}/readyz"),
                liveness=HttpProbe(f"{embedder_url}/livez"),
                reservation=embedder,
                stop_grace_s=_SERVICE_STOP_GRACE_S,
            ),
            _worker(
                INDEXER,
                one_thread | redis.settings | qdrant.settings | to_embedder,
                redis_url=redis.url,
                after=(REDIS, QDRANT),
                niceness=_INDEXER_NICENESS if lower else 0,
            ),
            _worker(
                TRAINER,
                all_threads | redis.settings | qdrant.settings,
                redis_url=redis.url,
                after=(REDIS,),
                niceness=_TRAINER_NICENESS if lower else 0,
            ),
            ServiceSpec(
                name=SEARCH_API,
                command=(*_PYTHON, "search_api"),
                environment=one_thread
                | redis.settings
                | qdrant.settings
                | to_embedder
                | {"VITRINE_API_HOST": LOOPBACK, "VITRINE_API_PORT": str(api.port)}
                | _recipes(environment),
                after=(REDIS, QDRANT, EMBEDDER),
                # Not /readyz, which includes its dependencies: restarted while one is down, it would never be ready.
                probe=HttpProbe(f"{api_url}/livez"),
                liveness=HttpProbe(f"{api_url}/livez"),
                reservation=api,
                stop_grace_s=_SERVICE_STOP_GRACE_S,
            ),
        )
        undo.pop_all()
        return Plan(url=api_url, services=services)


def _lower_priority(environment: Mapping[str, str]) -> bool:
    """The setting VITRINE_LOWER_PRIORITY. Raises SettingsInvalid."""
    value = environment.get(_LOWER_PRIORITY, "true").lower()
    if value not in ("true", "false", "1", "0"):
        raise SettingsInvalid(f"{_LOWER_PRIORITY} is {value[:80]!r}; it must be true or false")
    return value in ("true", "1")


def _worker(
    name: str, environment: Mapping[str, str], *, redis_url: str, after: tuple[str, ...], niceness: int
) -> ServiceSpec:
    return ServiceSpec(
        name=name,
        command=(*_PYTHON, name),
        environment=environment,
        after=after,
        probe=WorkerProbe(redis_url, name),
        liveness=WorkerLiveness(redis_url, name),
        hung_after_s=_WORKER_HUNG_AFTER_S,
        niceness=niceness,
        stop_grace_s=_SERVICE_STOP_GRACE_S,
    )


def _common_settings(data: DataFolder, environment: Mapping[str, str]) -> dict[str, str]:
    return {
        **_inherited(environment),
        "VITRINE_RELEASES_URL": f"file:{data.releases}",
        "VITRINE_RELEASES_CACHE_DIR": str(data.cache / "releases"),
        "VITRINE_THUMBNAILS_DIR": str(data.cache / "thumbnails"),
        "VITRINE_UPLOADS_DIR": str(data.uploads),
        "VITRINE_DOWNLOADS_DIR": str(data.downloads),
        "VITRINE_WORK_DIR": str(data.work),
        "VITRINE_REPORTS_DIR": str(data.reports),
        "VITRINE_CATALOG_ROOTS_FILE": str(data.catalog_roots_file),
    }


def _recipes(environment: Mapping[str, str]) -> dict[str, str]:
    """The recipe folder that comes with Vitrine, unless the user sets another one."""
    return {} if _RECIPES in environment else {_RECIPES: str(_RECIPES_FOLDER)}


@dataclass(frozen=True, slots=True)
class _Store:
    """Redis or Qdrant: its URL, the settings of its clients, and how to start it. No `command`: it runs elsewhere."""

    url: str
    settings: dict[str, str] = field(repr=False)
    command: tuple[str, ...] | None = None
    stdin: bytes = field(default=b"", repr=False)
    reservation: PortReservation | None = None
    repair: Repair | None = None


def _redis(
    data: DataFolder, environment: Mapping[str, str], secrets: LocalSecrets, undo: contextlib.ExitStack
) -> _Store:
    given = _given(environment, _REDIS_VARIABLES)
    if given is not None:
        return _Store(given, {"VITRINE_REDIS_URL": given})
    binary = find_redis_server()
    password = secrets.redis_password.get_secret_value()
    stdin = redis_configuration(binary, password=password)
    reservation = undo.enter_context(PortReservation())
    url = f"redis://:{password}@{LOOPBACK}:{reservation.port}/0"
    return _Store(
        url,
        {"VITRINE_REDIS_URL": url},
        command=redis_command(binary, folder=data.redis, host=LOOPBACK, port=reservation.port),
        stdin=stdin,
        reservation=reservation,
        repair=partial(repair_append_only_file, binary, data.redis),
    )


def _qdrant(
    data: DataFolder, environment: Mapping[str, str], secrets: LocalSecrets, undo: contextlib.ExitStack
) -> _Store:
    given, given_key = _given(environment, _QDRANT_VARIABLES), _given(environment, _QDRANT_KEY_VARIABLES)
    if given is not None:
        url = ",".join(node.url for node in parse_nodes(given))
        return _Store(url, {"VITRINE_QDRANT_URL": url} | ({_QDRANT_KEY: given_key} if given_key else {}))
    reservation = undo.enter_context(PortReservation())
    options = ("--storage", str(data.qdrant), "--host", LOOPBACK, "--port", str(reservation.port))
    url = f"http://{LOOPBACK}:{reservation.port}"
    return _Store(
        url,
        {
            "VITRINE_QDRANT_URL": url,
            "VITRINE_QDRANT_GRPC_PORT": "0",  # the local Qdrant has no gRPC
            _QDRANT_KEY: given_key or secrets.qdrant_api_key.get_secret_value(),
        },
        command=(*_PYTHON, "vitrine_local.qdrant", *options),
        reservation=reservation,
    )


def _each_node(qdrant: _Store, path: str, *, api_key: str | None = None) -> AnyProbe:
    """Passes if one node of the Qdrant passes."""
    return AnyProbe(tuple(HttpProbe(f"{node.url}/{path}", api_key=api_key) for node in parse_nodes(qdrant.url)))


def _inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """The user's environment without secrets, with no proxy for loopback and with unbuffered output."""
    own = (*_REDIS_VARIABLES, *_QDRANT_VARIABLES, *_QDRANT_KEY_VARIABLES, _EMBEDDER_KEY)
    environment = {name: value for name, value in environment.items() if name not in own}
    loopback = f"{LOOPBACK},localhost"
    bypass = environment.get("no_proxy") or environment.get("NO_PROXY")
    no_proxy = f"{bypass},{loopback}" if bypass else loopback
    return {**environment, "NO_PROXY": no_proxy, "no_proxy": no_proxy, "PYTHONUNBUFFERED": "1"}


def _with_threads(environment: Mapping[str, str], threads: int) -> dict[str, str]:
    """The environment with the number of OpenMP and BLAS threads, unless the user sets OMP_NUM_THREADS."""
    wanted = environment.get("OMP_NUM_THREADS", str(threads))
    return {**dict.fromkeys(_THREAD_VARIABLES, wanted), **environment}


def _given(environment: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    """The first of these variables that is set and not empty."""
    return next((environment[name] for name in names if environment.get(name)), None)
