"""What a page asks of a search: a part of the picture, the next results, counts beside them, a kept picture, and why
nothing was found.
"""

from __future__ import annotations

import io
from collections import Counter

import pytest
from PIL import Image

from harness.pictures import encoded
from harness.shop import DATASET, PRODUCTS, Shop, queries
from harness.waiting import wait_until


def keep(shop: Shop, picture: bytes) -> str:
    answer = shop.api.post("/api/uploads", files={"image": picture})
    assert answer.status_code == 201, answer.text
    upload: str = answer.json()["upload"]
    return upload


def test_a_region_finds_what_the_same_part_as_its_own_picture_finds(shop: Shop) -> None:
    one, other = queries(shop)[:2]
    pictures = [Image.open(io.BytesIO(shop.picture(name))).convert("RGB") for name in (one, other)]
    wide = Image.new("RGB", (pictures[0].width + pictures[1].width, max(image.height for image in pictures)), "white")
    wide.paste(pictures[0], (0, 0))
    wide.paste(pictures[1], (pictures[0].width, 0))
    part = pictures[1].width / wide.width
    region = f"{1 - part},0,{part},{pictures[1].height / wide.height}"
    form = {"dataset": DATASET, "topK": "5"}
    of_part = shop.api.post(
        "/api/search", files={"image": encoded(wide, "PNG")}, data={**form, "region": region}
    ).json()
    alone = shop.api.post("/api/search", files={"image": encoded(pictures[1], "PNG")}, data=form).json()
    assert of_part["ranking"] == alone["ranking"]
    assert of_part["ranking"][0] == int(other)
    whole = shop.api.post("/api/search", files={"image": encoded(wide, "PNG")}, data=form).json()
    assert whole["results"] != of_part["results"]


def test_pages_of_a_search_join_without_a_gap_or_a_repeat(shop: Shop) -> None:
    query = queries(shop)[0]
    # What other tests have put and deleted is known to the search API a moment later.
    wait_until(lambda: shop.search(query, topK=1)["total"] == PRODUCTS, what="the count of the products")
    whole = shop.search(query, topK=PRODUCTS)
    pages = [shop.search(query, topK=40, offset=offset)["ranking"] for offset in range(0, 160, 40)]
    assert [product for page in pages for product in page] == whole["ranking"]
    assert whole["total"] == PRODUCTS
    assert shop.search(query, topK=5, offset=PRODUCTS)["ranking"] == []
    similar = [shop.get(f"/api/products/{query}/similar", dataset=DATASET, topK=10, offset=at) for at in (0, 10)]
    longer = shop.get(f"/api/products/{query}/similar", dataset=DATASET, topK=20)
    assert [product for page in similar for product in page["ranking"]] == longer["ranking"]
    reranked = shop.search(query, topK=30, rerank=20)["ranking"]
    assert shop.search(query, topK=15, offset=15, rerank=20)["ranking"] == reranked[15:]


@pytest.mark.parametrize(("offset", "top_k", "options"), [(990, 11, {}), (400, 101, {"groupBy": "gender"})])
def test_no_search_reaches_further_than_its_limit(shop: Shop, offset: int, top_k: int, options: dict[str, str]) -> None:
    form = {"dataset": DATASET, "offset": str(offset), "topK": str(top_k), **options}
    answer = shop.api.post("/api/search", files={"image": shop.picture(queries(shop)[0])}, data=form)
    assert answer.status_code == 400
    assert "offset and topK are at most" in answer.json()["detail"]


def test_facets_count_the_matches_and_leave_out_their_own_filter(shop: Shop) -> None:
    query = queries(shop)[0]
    rows = shop.rows  # fewer than the 200 that are counted
    answer = shop.search(query, topK=3, facets="gender,articleType,year")
    for field in ("gender", "articleType"):
        expected = Counter(row[field] for row in rows.values())
        assert {item["value"]: item["count"] for item in answer["facets"][field]} == expected, (
            "all are among the best 200"
        )
        counts = [item["count"] for item in answer["facets"][field]]
        assert counts == sorted(counts, reverse=True)
    years = [int(row["year"]) for row in rows.values()]
    assert answer["ranges"] == {"year": {"min": min(years), "max": max(years)}}
    women = shop.search(query, {"gender": "Women"}, topK=3, facets="gender,articleType")
    assert women["facets"]["gender"] == answer["facets"]["gender"], "the other genders can still be chosen"
    expected = Counter(row["articleType"] for row in rows.values() if row["gender"] == "Women")
    assert {item["value"]: item["count"] for item in women["facets"]["articleType"]} == expected
    assert women["total"] == sum(expected.values())
    unknown = shop.api.post(
        "/api/search", files={"image": shop.picture(query)}, data={"dataset": DATASET, "facets": "gender,size"}
    )
    assert unknown.status_code == 400
    assert "'size'" in unknown.json()["detail"]


def test_nothing_found_says_which_value_is_unknown_and_which_filter_keeps_products_out(shop: Shop) -> None:
    query = queries(shop)[0]
    unknown = shop.search(query, {"gender": "women"})
    assert unknown["ranking"] == []
    assert unknown["total"] == 0
    assert unknown["hints"] == ["no product has gender=women; did you mean Women?"]
    assert unknown["relax"] == [{"filter": "gender", "values": ["women"], "products": PRODUCTS}]
    nothing_close = shop.search(query, {"baseColour": "xyzzy"})
    assert nothing_close["hints"] == ["no product has baseColour=xyzzy"]
    rows = shop.rows.values()
    gender = "Men"
    kinds = Counter(row["articleType"] for row in rows) - Counter(
        row["articleType"] for row in rows if row["gender"] == gender
    )
    of_no_man = next(
        kind for kind in kinds if not any(r["articleType"] == kind and r["gender"] == gender for r in rows)
    )
    answer = shop.search(query, {"gender": gender, "articleType": of_no_man})
    assert answer["ranking"] == []
    assert "hints" not in answer, "each value is that of some product"
    assert {one["filter"]: one["products"] for one in answer["relax"]} == {
        "gender": sum(row["articleType"] == of_no_man for row in rows),
        "articleType": sum(row["gender"] == gender for row in rows),
    }


def test_a_kept_picture_stands_in_for_the_picture_in_every_call(shop: Shop) -> None:
    query, other = queries(shop)[:2]
    picture = shop.picture(query)
    upload = keep(shop, picture)
    served = shop.api.get(f"/api/uploads/{upload}")
    assert served.content == picture
    assert served.headers["content-type"] == "image/jpeg"
    sent = shop.search(query, topK=5)
    for kept in (
        shop.api.post("/api/search", params={"upload": upload, "dataset": DATASET, "topK": 5}),
        shop.api.post("/api/search", files={"topK": (None, "5")}, data={"upload": upload, "dataset": DATASET}),
    ):
        assert kept.json()["results"] == sent["results"]
    both = shop.api.post("/api/search", files={"image": picture}, data={"upload": upload, "dataset": DATASET})
    assert both.status_code == 400
    liked = shop.api.post("/api/recommend", json={"positiveUpload": [upload], "dataset": DATASET, "topK": 5}).json()
    assert liked["ranking"] == sent["ranking"], "a picture is not of the catalogue, so nothing is left out"
    form = {"positiveUpload": upload, "negative": other, "dataset": DATASET, "topK": "5"}
    by_form = shop.api.post(
        "/api/recommend", files={"topK": (None, "5")}, data={k: v for k, v in form.items() if k != "topK"}
    )
    assert by_form.status_code == 200, by_form.text
    assert int(other) not in by_form.json()["ranking"]
    explained = shop.api.post("/api/explain", params={"upload": upload, "id": other, "dataset": DATASET})
    assert explained.status_code == 200, explained.text


def test_an_upload_that_is_not_there_is_named_and_a_file_that_is_no_picture_is_refused(shop: Shop) -> None:
    for wanted in ("A" * 32, "../secrets", "short"):
        answer = shop.api.post("/api/search", params={"upload": wanted, "dataset": DATASET})
        assert answer.status_code == 404
        assert answer.json()["code"] == "upload_not_found"
        assert "send the picture again" in answer.json()["detail"]
    refused = shop.api.post("/api/uploads", files={"image": b"no picture at all"})
    assert refused.status_code == 400
    assert refused.json()["code"].startswith("image_")
