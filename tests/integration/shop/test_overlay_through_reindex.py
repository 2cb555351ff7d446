"""What is put and deleted through the API outlives a new indexing of the catalogue, with another release too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.releases import picture
from harness.shop import Shop
from harness.waiting import wait_until

DATASET = "kept"


def test_a_put_product_survives_and_a_deleted_one_stays_deleted(shop: Shop) -> None:
    shop.system.succeeded(shop.start_index(dataset=DATASET, limit=20, release_id=shop.release)["id"])
    ids = list(shop.rows)[:20]
    changed, deleted, own = ids[3], ids[4], picture(700)
    order = {"dataset": DATASET}
    answers = [
        shop.api.put("/api/products/own-1", params=order, files={"image": own}, data={"gender": "Unisex"}),
        shop.api.put(f"/api/products/{changed}", params=order, json={"attributes": {"baseColour": "Ultraviolet"}}),
        shop.api.delete(f"/api/products/{deleted}", params=order),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200]

    another = shop.system.release(weights="seed:31")
    for release in (shop.release, another):
        shop.system.succeeded(shop.start_index(dataset=DATASET, limit=20, release_id=release)["id"])

        def search() -> dict[str, Any]:
            answer: dict[str, Any] = shop.api.post(
                "/api/search", files={"image": own}, data={**order, "topK": "200"}
            ).json()
            return answer

        # The search API keeps the alias table for a second, so the release before may still answer.
        wait_until(lambda: search()["release"] == release, what="the new release serves")  # noqa: B023 - called at once
        found = search()
        assert found["ranking"][0] == "own-1"
        assert set(map(str, found["ranking"])) == {*ids, "own-1"} - {deleted}
        shown = shop.get(f"/api/products/{changed}", **order)["product"]
        assert shown["baseColour"] == "Ultraviolet"
        assert shop.api.get(f"/api/products/{deleted}", params=order).status_code == 404
        assert shop.api.get(f"/api/images/{deleted}", params=order).status_code == 404


def test_a_damaged_upload_costs_itself_is_named_by_its_id_and_heals_when_put_again(shop: Shop) -> None:
    order = {"dataset": "damaged"}

    def put(product_id: str, shade: int) -> int:
        files, data = {"image": picture(shade)}, {"gender": "Women"}
        return shop.api.put(f"/api/products/{product_id}", params=order, files=files, data=data).status_code

    def folder_of(product_id: str) -> Path:
        [folder] = (shop.system.folder / "uploads" / "damaged").glob(f"{product_id}~*")
        return folder

    def exist(*product_ids: str) -> list[bool]:
        return [shop.api.get(f"/api/products/{one}", params=order).status_code == 200 for one in product_ids]

    def index() -> dict[str, str]:
        """The faults of an indexing that succeeds, by product id."""
        job = shop.system.succeeded(shop.start_index(dataset="damaged", limit=20, release_id=shop.release)["id"])
        return {str(fault.product_id): fault.kind for fault in job.faults}

    assert index() == {}
    deleted = list(shop.rows)[5]
    assert [put("broken", 701), put("lost", 702), put("whole", 703)] == [200] * 3
    assert shop.api.delete(f"/api/products/{deleted}", params=order).status_code == 200
    (folder_of("broken") / "record.json").write_bytes(b"{")
    (folder_of(deleted) / "record.json").write_bytes(b"")
    [lost] = folder_of("lost").glob("*.jpg")
    lost.unlink()

    assert put("another", 704) == 200
    [listed] = [one for one in shop.get("/api/datasets")["datasets"] if one["dataset"] == "damaged"]
    assert (listed["uploaded"], listed["deleted"]) == (4, 1)
    assert index() == {"broken": "upload_damaged", deleted: "upload_damaged", "lost": "picture_not_found"}
    assert exist("whole", "another", deleted) == [True, True, False]

    assert [put("broken", 705), put("lost", 706)] == [200, 200]
    assert index() == {deleted: "upload_damaged"}
    assert exist("broken", "lost", "whole", "another", deleted) == [True, True, True, True, False]
    [kept] = folder_of("broken").glob(".damaged-*-record.json")
    assert kept.read_bytes() == b"{"
