"""Calls that run a shop, with input that means harm or makes no sense: schedules, changes, variants, health."""

from __future__ import annotations

from typing import Any

import pytest

from harness.shop import DATASET, Shop

SCHEDULE = f"/api/datasets/{DATASET}/schedule"
CHANGES = "/api/jobs/{job}/changes"
NO_DATASETS = ("a--b", "no-such", "..%2f..%2fetc", "%00", "x" * 300, "%ff%fe", "%1b%5b2J", "%20")
NO_PRODUCTS = ("no-such", "%00", "..%2f..%2fetc%2fpasswd", "x" * 3_000, "%ff%fe", "%1b%5b2J", "10001%00")
NO_JOBS = ("0" * 21, "..%2f..", "%00", "x" * 3_000, "%ff%fe", "*", "%5b%5d")


def refused(answer: Any, *statuses: int) -> str:
    """The code of a problem document with one of these statuses, which repeats no control characters."""
    assert answer.status_code in statuses, (answer.status_code, answer.text[:300])
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["success"] is False
    assert told["detail"]
    assert not any(ord(one) < 32 for one in told["detail"])
    assert len(answer.content) < 10_000
    code: str = told["code"]
    return code


@pytest.mark.parametrize(
    "every",
    [
        "", "0min", "-1h", "1s", "59", "6 hours", "9" * 39 + "d", "1e9d", "nan", "\0", "6h; rm", "\u0666h\u0000",
        "367d", "h", 6, None, True, ["6h"], {"h": 6}, "x" * 5_000,
    ],
)  # fmt: skip
def test_an_interval_that_is_none_makes_no_schedule(shop: Shop, every: Any) -> None:
    refused(shop.api.put(SCHEDULE, json={"every": every}), 400, 422)
    assert shop.get(f"/api/datasets/{DATASET}")["schedules"] == []


@pytest.mark.parametrize(
    "more",
    [
        {"model": "no-such-model"}, {"model": "../../x"}, {"model": "\0"}, {"model": "m" * 121}, {"model": 1},
        {"full": "perhaps"}, {"allowRemoval": {}}, {"root": "/etc"}, {"dataset": "other"},
    ],
)  # fmt: skip
def test_a_schedule_with_a_member_that_cannot_be_is_not_made(shop: Shop, more: dict[str, Any]) -> None:
    refused(shop.api.put(SCHEDULE, json={"every": "6h", **more}), 400, 404, 422)
    assert shop.get(f"/api/datasets/{DATASET}")["schedules"] == []


def test_a_schedule_of_no_dataset_and_one_from_another_site_are_refused(shop: Shop) -> None:
    for name in NO_DATASETS:
        refused(shop.api.put(f"/api/datasets/{name}/schedule", json={"every": "6h"}), 400, 404, 422)
        refused(shop.api.delete(f"/api/datasets/{name}/schedule"), 400, 404, 422)
        refused(shop.api.get(f"/api/datasets/{name}"), 400, 404, 422)
    refused(shop.api.put(SCHEDULE, content=b'{"every": "6h"}', headers={"Content-Type": "text/plain"}), 415)
    elsewhere = {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
    refused(shop.api.put(SCHEDULE, json={"every": "6h"}, headers=elsewhere), 403)
    for model in ("no-such", "m" * 121, "\0"):
        refused(shop.api.delete(SCHEDULE, params={"model": model}), 400, 404, 422)


@pytest.mark.parametrize("job", NO_JOBS)
def test_the_changes_of_no_job_are_not_listed(shop: Shop, job: str) -> None:
    refused(shop.api.get(CHANGES.format(job=job)), 400, 404, 422)


@pytest.mark.parametrize(
    "parameters", [{"kind": "moved"}, {"kind": ""}, {"kind": "\0"}, {"format": "xml"}, {"format": "csv\0"}]
)
def test_changes_of_a_kind_or_form_that_is_none_are_refused(shop: Shop, parameters: dict[str, str]) -> None:
    job = shop.get("/api/jobs", kind="index", limit=1)["jobs"][0]["id"]
    refused(shop.api.get(CHANGES.format(job=job), params=parameters), 400, 422)


@pytest.mark.parametrize("product", NO_PRODUCTS)
def test_the_variants_of_no_product_are_not_listed(shop: Shop, product: str) -> None:
    refused(shop.api.get(f"/api/products/{product}/variants", params={"dataset": DATASET}), 400, 404, 422)


@pytest.mark.parametrize(
    "parameters",
    [
        {"limit": "0"}, {"limit": "-1"}, {"limit": "1001"}, {"limit": "9" * 5_000}, {"limit": "nan"}, {"limit": "\0"},
        {"model": "no-such"}, {"dataset": "a--b"}, {"colour": "red"}, {"year": "new"}, {"topK": "3"},
        {"limit": ["1", "2"]},
    ],
)  # fmt: skip
def test_a_list_of_variants_with_a_parameter_that_cannot_be_is_refused(shop: Shop, parameters: dict[str, Any]) -> None:
    product = next(iter(shop.rows))
    answer = shop.api.get(f"/api/products/{product}/variants", params={"dataset": DATASET, **parameters})
    refused(answer, 400, 404, 422)


@pytest.mark.parametrize(
    "body",
    [
        {}, {"dataset": ""}, {"dataset": "no-such"}, {"dataset": "a--b"}, {"dataset": 1}, {"dataset": "\0"},
        {"dataset": DATASET, "model": "no-such"}, {"dataset": DATASET, "model": "\0"}, {"dataset": DATASET, "most": 0},
        {"dataset": DATASET, "most": 10**30}, {"dataset": DATASET, "most": "many"}, {"dataset": DATASET, "label": ""},
        {"dataset": DATASET, "label": "x" * 65}, {"dataset": DATASET, "label": "0\0"},
        {"dataset": DATASET, "root": "/etc"}, [], "text",
    ],
)  # fmt: skip
def test_a_search_for_faults_with_a_member_that_cannot_be_is_not_started(shop: Shop, body: Any) -> None:
    before = shop.get("/api/jobs", kind="health")["jobs"]
    refused(shop.api.post("/api/jobs/health", json=body), 400, 404, 422)
    assert shop.get("/api/jobs", kind="health")["jobs"] == before
