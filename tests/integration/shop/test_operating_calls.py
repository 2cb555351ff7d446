"""Models, releases, jobs and the status through the API, and what every call has."""

from __future__ import annotations

import itertools
import json
import uuid
from contextlib import ExitStack

import httpx

from harness.shop import DATASET, PRODUCTS, Shop
from harness.system import MODEL
from harness.waiting import HUNG_AFTER_S, wait_until
from vitrine.jobs import JobKind, JobRecord, JobState

ORDER = {"dataset": DATASET}
EVENT_STREAMS = 64  # as many as one caller may have
Row = dict[str, str]


def test_models_and_releases_say_what_serves(shop: Shop) -> None:
    [detail] = shop.get("/api/models", **ORDER)["details"]
    assert (detail["release"], detail["products"], detail["dim"]) == (shop.release, PRODUCTS, 16)
    assert detail["fields"]["year"] == "integer"
    stored = {release["id"]: release for release in shop.get("/api/releases")["releases"]}
    [collection] = [one for one in stored[shop.release]["collections"] if one["dataset"] == DATASET]
    assert (collection["serving"], collection["state"], collection["products"]) == (True, "ready", PRODUCTS)


def test_another_release_serves_once_indexed_and_activation_goes_back(shop: Shop) -> None:
    name = "switching"
    second = shop.system.release(weights="seed:21")
    for release in (shop.release, second):
        shop.system.succeeded(shop.start_index(dataset=name, release_id=release, limit=20)["id"])
    assert shop.get("/api/models", dataset=name)["details"][0]["release"] == second
    activated = shop.api.post(f"/api/releases/{shop.release}/activate", json={}, params={"dataset": name}).json()
    assert (activated["release"], activated["previous"]) == (shop.release, second)
    query = next(iter(shop.rows))
    for release in (shop.release, second):
        shop.api.post(f"/api/releases/{release}/activate", json={}, params={"dataset": name}).raise_for_status()
        answer = shop.search(query, dataset=name, topK=3)
        assert (answer["release"], answer["ranking"][0]) == (release, int(query))


def test_a_release_that_is_not_indexed_cannot_be_activated(shop: Shop) -> None:
    unused = shop.system.release(weights="seed:22")
    refused = shop.api.post(f"/api/releases/{unused}/activate", json={}, params=ORDER)
    assert (refused.status_code, refused.json()["code"]) == (409, "collection_incomplete")
    unknown = shop.api.post(f"/api/releases/{MODEL}-0123456789/activate", json={}, params=ORDER)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "release_not_found")


def test_a_job_is_followed_to_its_end_by_events(shop: Shop) -> None:
    job = shop.start_index(dataset="followed", limit=30, release_id=shop.release)
    with shop.api.stream("GET", f"/api/jobs/{job['id']}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        data = [line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data: ")]
    events = [json.loads(text) for text in data]
    assert events.pop() == {"job": job["id"], "reason": "finished"}
    assert events[-1]["state"] == "succeeded"
    assert events[-1]["progress"]["done"] == 30
    assert all(before["version"] < after["version"] for before, after in itertools.pairwise(events))
    assert shop.get(f"/api/jobs/{job['id']}")["job"]["result"]["indexed"] == 30
    assert job["id"] in [one["id"] for one in shop.get("/api/jobs", kind="index", state="succeeded")["jobs"]]
    assert len(shop.get("/api/jobs", limit=1)["jobs"]) == 1


def test_many_event_streams_leave_the_other_calls_their_connections(shop: Shop) -> None:
    # No trainer runs here, so that these stay as they are.
    jobs = [shop.system.jobs.create(JobKind.TRAIN, {})[0].id for _ in range(EVENT_STREAMS)]
    before = len(shop.system.redis_client.client_list())
    limits = httpx.Limits(max_connections=200)
    with (
        httpx.Client(base_url=shop.system.url("search_api"), timeout=HUNG_AFTER_S, limits=limits) as client,
        ExitStack() as open_,
    ):
        streams = [open_.enter_context(client.stream("GET", f"/api/jobs/{job}/events")) for job in jobs]
        assert {stream.status_code for stream in streams} == {200}
        lines = [stream.iter_lines() for stream in streams]
        for one in lines:
            assert "id: 1" in itertools.takewhile(bool, one)
        with client.stream("GET", f"/api/jobs/{jobs[0]}/events") as refused:
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
        for _ in range(20):
            assert shop.api.get("/api/jobs").status_code == 200
            assert shop.api.get(f"/api/products/{next(iter(shop.rows))}", params=ORDER).status_code == 200
        assert len(shop.system.redis_client.client_list()) - before < EVENT_STREAMS / 2
        for job, one in zip(jobs, lines, strict=True):
            shop.system.jobs.update(job, JobRecord.cancelled)
            end = [line for line in one if line.startswith("data: ")][-1]
            assert json.loads(end.removeprefix("data: ")) == {"job": job, "reason": "finished"}


def test_the_same_idempotency_key_gives_the_same_job(shop: Shop) -> None:
    key = {"Idempotency-Key": uuid.uuid4().hex}
    jobs = [shop.start_index(dataset="once", limit=5, headers=key)["id"] for _ in range(2)]
    assert jobs[0] == jobs[1]
    other = shop.start_index(dataset="once", limit=5, headers={"Idempotency-Key": uuid.uuid4().hex})
    assert other["id"] != jobs[0]
    for job_id in {*jobs, other["id"]}:
        shop.system.succeeded(job_id)


def test_a_cancelled_job_ends_and_serves_nothing(shop: Shop) -> None:
    with shop.system.services["embedder"].paused():
        job = shop.start_index(dataset="cancelled")
        wait_until(lambda: shop.system.jobs.get(job["id"]).state is JobState.RUNNING, what="the indexing is on its way")
        assert shop.api.delete(f"/api/jobs/{job['id']}").status_code == 200
    wait_until(
        lambda: shop.get(f"/api/jobs/{job['id']}")["job"]["state"] == "cancelled", what="the job's cancellation",
    )  # fmt: skip
    assert shop.api.delete(f"/api/jobs/{job['id']}").status_code == 409
    assert shop.get("/api/models", dataset="cancelled")["models"] == []


def test_the_root_is_the_page_of_search_and_leads_to_the_documentation(shop: Shop) -> None:
    answer = shop.api.get("/")
    assert answer.status_code == 200
    assert "Find it by how it looks" in answer.text
    assert 'href="/docs"' in answer.text
    page = shop.api.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert 'data-document="/openapi.json"' in page.text


def test_a_request_id_is_given_back_and_made_where_there_is_none(shop: Shop) -> None:
    assert (
        shop.api.get("/api/models", headers={"X-Request-ID": "order-12345678"}).headers["x-request-id"]
        == "order-12345678"
    )
    made = [shop.api.get("/api/models").headers["x-request-id"] for _ in range(2)]
    assert made[0] != made[1]
    assert shop.api.get("/api/products/none", params=ORDER).headers["x-request-id"]


def test_the_status_names_every_part(shop: Shop) -> None:
    answer = shop.get("/api/status")
    up = {name: facts["up"] for name, facts in answer["services"].items()}
    assert up == {
        "search-api": True, "embedder": True, "qdrant": True, "redis": True, "indexer": True, "trainer": False,
    }  # fmt: skip
    [drawn] = [one for one in answer["datasets"] if one["dataset"] == DATASET]
    assert drawn["models"] == [{"model": MODEL, "release": shop.release, "products": PRODUCTS}]


def test_a_call_without_a_dataset_is_told_the_choices_where_there_are_several(shop: Shop) -> None:
    shop.system.succeeded(shop.start_index(dataset="another", limit=5, release_id=shop.release)["id"])
    answer = shop.api.post("/api/search", files={"image": shop.picture(next(iter(shop.rows)))})
    assert answer.status_code == 400
    assert "another" in answer.json()["detail"]
    assert DATASET in answer.json()["detail"]
