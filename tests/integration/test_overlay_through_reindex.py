"""What is put and deleted through the API outlives a new indexing of the catalogue, with another release too."""

from __future__ import annotations

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
