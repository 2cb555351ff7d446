"""A catalogue whose pictures are links: downloaded on request, served, kept, and resumed; each failure named by id."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.picture_host import PICTURE, PictureHost, serve_pictures
from harness.shop import Shop
from vitrine.jobs import JobRecord, JobState

DATASET = "linked"


@pytest.fixture
def host(shop: Shop) -> Iterator[PictureHost]:
    address, _, port = shop.system.env["VITRINE_DOWNLOAD_HOSTS"].partition(":")
    yield from serve_pictures(PictureHost(address, int(port), flaky=1))


def _write(root: Path, links: dict[str, str]) -> Path:
    root.mkdir(exist_ok=True)
    with (root / "products.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "image", "gender"], *([one, link, "Women"] for one, link in links.items())])
    return root


def _index(shop: Shop, root: Path, **body: Any) -> JobRecord:
    job = shop.start_index(dataset=DATASET, reader="folder", root=str(root), **body)
    return shop.system.finished(job["id"])


def test_pictures_that_are_links_are_downloaded_only_on_request_and_each_failure_is_named(
    shop: Shop, host: PictureHost
) -> None:
    root = _write(
        shop.system.catalogs / DATASET,
        {
            "good": f"{host.url}/good.jpg?v=1",
            "moved": f"{host.url}/moved.jpg",
            "dying": f"{host.url}/dying.jpg",
            "page": f"{host.url}/html.jpg",
            "inside": f"{host.url}/to.jpg?http://169.254.169.254/latest",
            "elsewhere": "https://other.example/a.jpg",
        },
    )
    refused = _index(shop, root)
    assert refused.state is JobState.FAILED
    assert refused.error is not None
    assert "--download" in refused.error.detail
    assert host.asked == []

    done = _index(shop, root, download=True)
    assert done.state is JobState.SUCCEEDED, f"{done.error}\n{shop.system.tails()}"
    faults = {one.product_id: one for one in done.faults}
    assert faults.keys() == {"page", "inside", "elsewhere"}
    assert {one.kind for one in faults.values()} == {"picture_not_downloaded"}
    assert "VITRINE_DOWNLOAD_HOSTS" in faults["elsewhere"].detail
    assert "169.254.169.254" in faults["inside"].detail

    answer = shop.api.post("/api/search", files={"image": PICTURE}, data={"dataset": DATASET}).json()
    assert sorted(answer["ranking"]) == ["dying", "good", "moved"]
    shown = shop.api.get(f"/api/images/dying?dataset={DATASET}")
    assert (shown.status_code, shown.content) == (200, PICTURE)

    # What was downloaded is used again, with the option and without it, and asked for once.
    asked = len([one for one in host.asked if "good" in one[0]])
    again = _index(shop, root, allowRemoval=True)
    assert again.state is JobState.SUCCEEDED, f"{again.error}\n{shop.system.tails()}"
    assert again.result is not None
    assert again.result["indexed"] == 3
    assert len([one for one in host.asked if "good" in one[0]]) == asked
    assert shop.api.delete(f"/api/datasets/{DATASET}").status_code == 200
