"""Searches that do more than look up one vector: expanded, re-ranked, seen in several views, fused."""

from __future__ import annotations

import io
from operator import itemgetter

import pytest
from PIL import Image, ImageOps

from harness.pictures import encoded
from harness.releases import build_tiny_release, store_of
from harness.shop import DATASET, PRODUCTS, CollectionVectors, Shop, queries
from harness.system import MODEL
from harness.tiny_parser import drawn_person
from vitrine.evaluation.expansion import expand_queries
from vitrine.images.views import views
from vitrine.vision.cut_out import GarmentCutter
from vitrine.vision.network import choose_device


def test_a_refined_search_ranks_as_the_evaluations_way_of_that_name(shop: Shop) -> None:
    whole = CollectionVectors(shop, shop.release)
    for query in queries(shop, 3):
        vector = whole.vector(query)
        neighbours = whole.count_with_clear_gap(vector, range(3, 10))
        for alpha in (0.0, 3.0):
            expanded = expand_queries(vector, whole.vectors, k=neighbours, alpha=alpha)
            found = shop.search(query, topK=10, expand=neighbours, expandAlpha=alpha)["ranking"]
            whole.check_ranking(found, expanded @ whole.vectors.T)
        # Who is whose neighbour among the candidates may change with the last bit of a score, and with it their order,
        # which `test_search_api_refinement` compares on vectors that it gives. What is ranked anew does not change.
        count = whole.count_with_clear_gap(vector, range(20, 40))
        plain, again = (shop.search(query, topK=PRODUCTS, rerank=rerank)["results"] for rerank in (0, count))
        assert again[count:] == plain[count:]
        assert again[:count] != plain[:count]
        assert sorted(again[:count], key=itemgetter("id")) == sorted(plain[:count], key=itemgetter("id"))


def test_a_mirrored_search_is_the_same_for_a_picture_and_its_mirror_image(shop: Shop) -> None:
    query = queries(shop)[1]
    with Image.open(io.BytesIO(shop.picture(query))) as opened:
        turned = io.BytesIO()
        ImageOps.mirror(opened).save(turned, "PNG")
    form = {"dataset": DATASET, "topK": "5", "flip": "true"}
    answers = [
        shop.api.post("/api/search", files={"image": data}, data=form).json()["results"]
        for data in (shop.picture(query), turned.getvalue())
    ]
    assert [one["id"] for one in answers[0]] == [one["id"] for one in answers[1]]
    assert answers[0][0]["score"] == pytest.approx(answers[1][0]["score"], abs=5e-3)
    assert answers[0][0]["score"] != pytest.approx(shop.search(query, topK=1)["results"][0]["score"], abs=1e-4)


def test_a_search_with_closer_cuts_is_one_with_the_mean_of_their_vectors(shop: Shop) -> None:
    query = queries(shop)[3]
    own = shop.picture(query)
    with Image.open(io.BytesIO(own)) as opened:
        seen = opened.convert("RGB")
    files = [own, *(encoded(view.of(seen), "PNG") for view in views(flip=True, crops=2)[1:])]
    assert len(files) == 6

    def scores_of(data: bytes, **options: str) -> dict[int, float]:
        form = {"dataset": DATASET, "topK": str(PRODUCTS), **options}
        results = shop.api.post("/api/search", files={"image": data}, data=form).json()["results"]
        return {result["id"]: result["score"] for result in results}

    found = scores_of(own, flip="true", crops="2")
    alone = [scores_of(data) for data in files]
    summed = {one: sum(scores[one] for scores in alone) for one in found}
    # The mean is brought to length 1, which scales every score alike.
    scale = found[int(query)] / summed[int(query)]
    assert scale > 1 / 6
    assert found == pytest.approx({one: scale * total for one, total in summed.items()}, abs=2e-3)


def test_a_search_with_the_garment_cut_out_is_one_with_its_cut_out(shop: Shop, parser: str) -> None:
    cut_out = GarmentCutter.load(store_of(shop.system.releases), parser, choose_device("cpu", "float32"))
    photograph = drawn_person("upper", "trousers", size=(480, 640))

    def results_of(picture: Image.Image, **options: str) -> list[tuple[int, float]]:
        form = {"dataset": DATASET, "topK": "10", **options}
        answer = shop.api.post("/api/search", files={"image": encoded(picture, "PNG")}, data=form)
        return [(one["id"], one["score"]) for one in answer.json()["results"]]

    found, alone = results_of(photograph, cutout="true"), results_of(cut_out(photograph))
    assert [one for one, _ in found] == [one for one, _ in alone]
    assert [score for _, score in found] == pytest.approx([score for _, score in alone], abs=1e-3)
    assert found != results_of(photograph)


def test_two_releases_are_fused_by_the_sum_of_their_cosines(shop: Shop) -> None:
    name = "fusing"
    releases = (shop.release, build_tiny_release(shop.system.releases, name="second", weights="seed:31"))
    for release in releases:
        shop.system.succeeded(
            shop.start_index(dataset=name, model=release.rsplit("-", 1)[0], release_id=release)["id"]
        )  # fmt: skip
    query = queries(shop)[2]
    plain = [shop.search(query, dataset=name, model=model, topK=PRODUCTS) for model in (MODEL, "second")]
    cosines: list[dict[int, float]] = [{one["id"]: one["score"] for one in answer["results"]} for answer in plain]
    answer = shop.search(query, dataset=name, model=MODEL, fuse="second", fuseWeight=0.25, topK=20)
    expected = {one: 0.75 * cosines[0][one] + 0.25 * cosines[1][one] for one in cosines[0]}
    assert [one["score"] for one in answer["results"]] == pytest.approx(
        sorted(expected.values(), reverse=True)[:20], abs=1e-3
    )
    assert answer["results"][0]["id"] == int(query)
    filtered = shop.search(query, dataset=name, model=MODEL, fuse="second", gender="Women", topK=PRODUCTS)["results"]
    women = {product_id for product_id, row in shop.rows.items() if row["gender"] == "Women"}
    assert {str(one["id"]) for one in filtered} == women


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"rerank": "10", "groupBy": "gender"}, "groupBy"),
        ({"fuse": "other", "expand": "3"}, "fuse"),
        ({"rerank": "501"}, "rerank"),
        ({"expandAlpha": "nan"}, "expandAlpha"),
        ({"flip": "perhaps"}, "flip"),
        ({"crops": "6"}, "crops"),
        ({"cutout": "maybe"}, "cutout"),
    ],
)
def test_refinements_that_do_not_go_together_are_refused(shop: Shop, options: dict[str, str], told: str) -> None:
    form = {"dataset": DATASET, **options}
    answer = shop.api.post("/api/search", files={"image": shop.picture(queries(shop)[0])}, data=form)
    assert answer.status_code == 400, answer.text
    assert told in answer.json()["detail"]
