"""Scopes: every route of the search API is called with no key, a wrong key, and a key of each scope."""

from __future__ import annotations

import asyncio
import functools
import hashlib
from typing import Final

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from embedder.app import create_app as create_embedder
from embedder.settings import Settings as EmbedderSettings
from search_api.app import create_app
from search_api.settings import Settings
from vitrine.web import ScopeUndeclared, declared_routes, open_to_all, requires

SCOPES: Final = ("search", "ingest", "train", "admin", "jobs")
OPEN: Final = frozenset({"no key", "a wrong key", *SCOPES})
ANY_KEY: Final = frozenset(SCOPES)
SEARCH: Final = frozenset({"search", "admin"})
INGEST: Final = frozenset({"ingest", "admin"})
TRAIN: Final = frozenset({"train", "admin"})
INGEST_OR_TRAIN: Final = INGEST | TRAIN
JOBS: Final = frozenset({"jobs", "ingest", "train", "admin"})
ADMIN: Final = frozenset({"admin"})

# The test fails if a route is missing here, or if one here does not exist.
WHO_PASSES: Final = {
    "GET /": SEARCH,
    "HEAD /": SEARCH,
    "POST /": SEARCH,
    "GET /search/more": SEARCH,
    "GET /search/facets": SEARCH,
    "GET /search/garments": SEARCH,
    "GET /static/{version}/{path}": OPEN,
    "HEAD /static/{version}/{path}": OPEN,
    "GET /login": OPEN,
    "HEAD /login": OPEN,
    "POST /login": OPEN,
    "POST /logout": OPEN,
    "GET /docs": OPEN,
    "HEAD /docs": OPEN,
    "GET /jobs": JOBS,
    "HEAD /jobs": JOBS,
    "GET /jobs/recipes": TRAIN,
    "HEAD /jobs/recipes": TRAIN,
    "GET /jobs/new/{kind}": INGEST_OR_TRAIN,
    "HEAD /jobs/new/{kind}": INGEST_OR_TRAIN,
    "GET /jobs/{job_id}": JOBS,
    "HEAD /jobs/{job_id}": JOBS,
    "GET /models": JOBS,
    "HEAD /models": JOBS,
    "GET /models/reports/{report_id}": JOBS,
    "HEAD /models/reports/{report_id}": JOBS,
    "GET /models/reports/{report_id}/files/{name}": JOBS,
    "HEAD /models/reports/{report_id}/files/{name}": JOBS,
    "GET /models/health/{report_id}": JOBS,
    "HEAD /models/health/{report_id}": JOBS,
    "GET /models/maps/{report_id}": JOBS,
    "HEAD /models/maps/{report_id}": JOBS,
    "GET /models/maps/{report_id}/data": JOBS,
    "HEAD /models/maps/{report_id}/data": JOBS,
    "GET /models/{release_id}": JOBS,
    "HEAD /models/{release_id}": JOBS,
    "GET /status": ANY_KEY,
    "HEAD /status": ANY_KEY,
    "POST /jobs/new/{kind}": INGEST_OR_TRAIN,
    "POST /jobs/{job_id}/cancel": INGEST_OR_TRAIN,
    "POST /jobs/{job_id}/remove": INGEST_OR_TRAIN,
    "GET /catalogue": SEARCH,
    "HEAD /catalogue": SEARCH,
    "GET /catalogue/more": SEARCH,
    "GET /catalogue/new": INGEST,
    "HEAD /catalogue/new": INGEST,
    "GET /catalogue/taken": INGEST,
    "GET /catalogue/deleted": INGEST,
    "HEAD /catalogue/deleted": INGEST,
    "GET /products/{product_id}": SEARCH,
    "HEAD /products/{product_id}": SEARCH,
    "GET /products/{product_id}/more": SEARCH,
    "GET /openapi.json": OPEN,
    "GET /livez": OPEN,
    "GET /readyz": OPEN,
    "GET /metrics": ADMIN,
    "GET /api/status": ANY_KEY,
    "POST /api/search": SEARCH,
    "POST /api/regions": SEARCH,
    "POST /api/explain": SEARCH,
    "POST /api/recommend": SEARCH,
    "GET /api/facets": SEARCH,
    "POST /api/uploads": SEARCH,
    "GET /api/uploads/{upload_id}": SEARCH,
    "GET /api/models": SEARCH,
    "GET /api/releases": SEARCH,
    "GET /api/images/{product_id}": SEARCH,
    "HEAD /api/images/{product_id}": SEARCH,
    "GET /api/products": SEARCH,
    "GET /api/products/{product_id}": SEARCH,
    "GET /api/products/{product_id}/similar": SEARCH,
    "PUT /api/products/{product_id}": INGEST,
    "PATCH /api/products/{product_id}": INGEST,
    "DELETE /api/products/{product_id}": INGEST,
    "POST /api/products/{product_id}/restore": INGEST,
    "GET /api/products/{product_id}/variants": SEARCH,
    "GET /api/datasets": SEARCH,
    "GET /api/datasets/{dataset}/deleted": INGEST,
    "DELETE /api/datasets/{dataset}": ADMIN,
    "POST /api/jobs/index": INGEST,
    "POST /api/jobs/project": TRAIN,
    "POST /api/jobs/train": TRAIN,
    "POST /api/jobs/adapt": TRAIN,
    "POST /api/jobs/tune": TRAIN,
    "POST /api/jobs/evaluate": TRAIN,
    "POST /api/jobs/experiment": TRAIN,
    "POST /api/jobs/visualize": TRAIN,
    "POST /api/jobs/health": TRAIN,
    "GET /api/jobs": JOBS,
    "GET /api/jobs/{job_id}": JOBS,
    "GET /api/jobs/{job_id}/events": JOBS,
    "GET /api/jobs/{job_id}/changes": JOBS,
    "GET /api/datasets/{dataset}": JOBS,
    "PUT /api/datasets/{dataset}/schedule": INGEST,
    "DELETE /api/datasets/{dataset}/schedule": INGEST,
    "GET /datasets": JOBS,
    "HEAD /datasets": JOBS,
    "GET /datasets/{dataset}": JOBS,
    "HEAD /datasets/{dataset}": JOBS,
    "DELETE /api/jobs/{job_id}": INGEST_OR_TRAIN,
    "DELETE /api/jobs/{job_id}/record": INGEST_OR_TRAIN,
    "POST /api/releases/{release_id}/activate": ADMIN,
    # Not routes: an unknown path, and methods that a path does not support.
    "GET /anything/else": ANY_KEY,
    "HEAD /api/models": ANY_KEY,
    "DELETE /docs": ANY_KEY,
}
NOT_ROUTES: Final = frozenset({"GET /anything/else", "HEAD /api/models", "DELETE /docs"})


def secret_of(scope: str) -> str:
    return f"the-key-for-{scope}"


@functools.cache
def keyed_app() -> FastAPI:
    """The search API with one key per scope. No dependency runs: their ports are closed."""
    keys = ",".join(f"{scope}-key:{scope}:{hashlib.sha256(secret_of(scope).encode()).hexdigest()}" for scope in SCOPES)
    return create_app(
        Settings(
            api_keys=SecretStr(keys),
            wrong_keys_per_minute=0,
            qdrant_url="http://127.0.0.1:9",
            redis_url="redis://127.0.0.1:9/0",
            embedder_url="http://127.0.0.1:9",
            releases_url="memory://route-scopes",
        )
    )


def routes_of(app: FastAPI) -> set[str]:
    return {f"{method} {route.path}" for route in declared_routes(app).routes for method in route.methods or {"ANY"}}


def test_the_table_names_every_route() -> None:
    assert set(WHO_PASSES) - NOT_ROUTES == routes_of(keyed_app())


@pytest.mark.parametrize("call", sorted(WHO_PASSES))
def test_a_route_accepts_only_keys_with_its_scope(call: str) -> None:
    method, _, path = call.partition(" ")
    address = (
        path.replace("{path}", "icon.svg")
        .replace("{name}", "index.html")
        .format(
            version="x",
            product_id="1",
            job_id="0" * 21,
            release_id="net-0123456789",
            dataset="shop",
            upload_id="A" * 32,
            # A kind without a form: those with a form also need the scope of the kind.
            kind="upsert",
            report_id="0" * 21,
        )
        if "{" in path
        else path
    )

    async def passing() -> set[str]:
        transport = httpx.ASGITransport(keyed_app(), raise_app_exceptions=False)
        asked = {"no key": {}, "a wrong key": {"x-api-key": "guessed"}}
        asked |= {scope: {"x-api-key": secret_of(scope)} for scope in SCOPES}
        passed = set()
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            for who, headers in asked.items():
                answer = await client.request(method, address, headers=headers)
                if answer.status_code == 401 or answer.headers.get("location", "").startswith("/login"):
                    assert who == "no key"
                elif answer.status_code == 403:
                    assert who != "no key"
                    assert "key_refused" in answer.text or method == "HEAD"
                else:
                    passed.add(who)
        return passed

    assert asyncio.run(passing()) == WHO_PASSES[call]


def test_the_openapi_document_lists_the_scopes_of_each_call() -> None:
    paths = keyed_app().openapi()["paths"]
    assert paths["/api/jobs/train"]["post"]["x-scopes"] == ["train"]
    assert paths["/api/jobs/{job_id}"]["delete"]["x-scopes"] == ["ingest", "train"]
    assert paths["/livez"]["get"]["security"] == [{}]


async def hello(*_: object) -> Response:
    return PlainTextResponse("hello")


def test_an_application_with_a_route_without_a_scope_does_not_start() -> None:
    app = FastAPI(openapi_url=None)
    router = APIRouter(prefix="/in")

    @router.post("/marked")
    @requires("train")
    async def marked() -> None: ...

    @router.post("/forgotten")
    async def forgotten() -> None: ...

    app.include_router(router)
    app.router.routes.append(Route("/plain", hello))
    app.mount("/files", Starlette(routes=[Route("/x", hello)]))
    with pytest.raises(ScopeUndeclared) as caught:
        declared_routes(app)
    message = str(caught.value)
    assert all(path in message for path in ("POST /in/forgotten", "GET/HEAD /plain", "any method /files"))
    assert "/in/marked" not in message


def test_the_documentation_routes_of_the_framework_are_refused_too() -> None:
    with pytest.raises(ScopeUndeclared, match=r"/openapi\.json"):
        declared_routes(FastAPI())


def test_a_mount_declares_the_scope_of_all_routes_below_it_and_get_includes_head() -> None:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.router.routes.append(Route("/plain", open_to_all(hello)))
    app.router.routes.append(Mount("/files", requires("ingest")(Starlette(routes=[Route("/x", hello)]))))
    routes = declared_routes(app)
    assert routes.scopes_of("HEAD", "/plain") is None
    assert routes.scopes_of("PATCH", "/files/deep/inside") == frozenset({"ingest"})
    assert routes.scopes_of("POST", "/plain") == routes.scopes_of("GET", "/unknown") == ANY_KEY | {"embed"}


def test_every_route_of_the_embedder_declares_its_scope() -> None:
    app = create_embedder(EmbedderSettings(device="cpu", releases_url="memory://route-scopes"))
    routes = declared_routes(app)
    guarded = {f"{m} {r.path}" for r in routes.routes for m in r.methods or () if r.scopes == frozenset({"embed"})}
    assert guarded == {
        "POST /v1/embed", "POST /v1/embed/batch", "POST /v1/explain", "POST /v1/check",
        "POST /v1/thumbnail", "POST /v1/regions", "POST /v1/anonymize", "GET /v1/releases",
    }  # fmt: skip


def test_an_embedder_with_a_key_answers_services_with_it_and_health_checks_without() -> None:
    app = create_embedder(EmbedderSettings(embedder_api_key=SecretStr("between-services"), device="cpu"))

    async def statuses(path: str) -> list[int]:
        keys: tuple[dict[str, str], ...] = (
            {},
            {"authorization": "Bearer guessed"},
            {"authorization": "Bearer between-services"},
        )
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            return [(await client.get(path, headers=headers)).status_code for headers in keys]

    assert asyncio.run(statuses("/livez")) == [200, 200, 200]
    assert asyncio.run(statuses("/v1/releases")) == [401, 403, 200]
    assert asyncio.run(statuses("/metrics")) == [401, 403, 200]
