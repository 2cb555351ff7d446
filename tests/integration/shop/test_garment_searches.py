"""Searches by the garments of photographs of people, with a parser that knows drawn people; and kept pictures."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from harness.pictures import encoded, gradient
from harness.shop import DATASET, Shop, queries
from harness.tiny_parser import drawn_person
from vitrine.images.regions import Region
from vitrine_client import Upload, Vitrine, api_errors
from vitrine_local.cli import main

SIZE = (480, 640)
# Of the head of a drawn person, in fractions of the picture.
FACE = Region(0.46, 0.08, 0.08, 0.12)
KINDS = {"upper": ["Topwear"], "trousers": ["Bottomwear"]}


def worn(*kinds: str) -> bytes:
    return encoded(drawn_person(*kinds, size=SIZE), "PNG")


LOOK = worn("upper", "trousers")
NOBODY = encoded(Image.new("RGB", (300, 200), (90, 130, 110)), "PNG")


def post(shop: Shop, call: str, picture: bytes, **fields: Any) -> httpx.Response:
    return shop.api.post(f"/api/{call}", files={"image": picture}, data={"dataset": DATASET, **fields})


def found(shop: Shop, picture: bytes, call: str = "search", **fields: Any) -> dict[str, Any]:
    answer = post(shop, call, picture, **fields)
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = answer.json()
    return content


def problem(answer: httpx.Response) -> tuple[int, str]:
    told = answer.json()
    assert told["success"] is False
    return answer.status_code, told["code"]


def test_the_garments_of_a_picture_have_a_place_a_kind_and_filters(shop: Shop, parser: str) -> None:
    answer = found(shop, LOOK, "regions")
    assert (answer["parser"], answer["width"], answer["height"]) == (parser, *SIZE)
    garments = {one["kind"]: one for one in answer["garments"]}
    assert garments.keys() >= {"upper", "trousers"}
    assert [one["number"] for one in answer["garments"]] == list(range(1, len(answer["garments"]) + 1))
    for kind in ("upper", "trousers"):
        garment = garments[kind]
        assert garment["filters"] == {"subCategory": KINDS[kind]}
        assert garment["searchable"]
        assert 0 < garment["share"] < garment["box"]["width"] * garment["box"]["height"] + 0.01
        assert all(0 <= value <= 1 for polygon in garment["outline"] for point in polygon for value in point)
    assert garments["upper"]["title"] == "Top"
    assert answer["tookMs"]["total"] > 0


def test_the_garments_are_the_same_for_an_upload_and_for_the_body(shop: Shop, parser: str) -> None:
    plain = found(shop, NOBODY, "regions")
    assert plain["garments"] == []
    body = shop.api.post("/api/regions", content=LOOK, headers={"Content-Type": "image/png"})
    assert [one["kind"] for one in body.json()["garments"]] == [
        one["kind"] for one in found(shop, LOOK, "regions")["garments"]
    ]
    upload = post(shop, "uploads", LOOK, dataset=[]).json()["upload"]
    of_upload = shop.api.post("/api/regions", params={"upload": upload, "dataset": DATASET}).json()
    assert {one["kind"] for one in of_upload["garments"]} >= {"upper", "trousers"}


def test_a_look_has_a_ranking_for_each_garment_among_products_of_its_kind(shop: Shop, parser: str) -> None:
    answer = found(shop, LOOK, regions="auto", topK=4, facets="subCategory,gender")
    assert answer["parser"] == parser
    assert len(answer["garments"]) >= 2
    for garment in answer["garments"]:
        [(field, values)] = garment["filters"].items()
        assert field == "subCategory"
        assert len(garment["results"]) == 4
        assert {one["subCategory"] for one in garment["results"]} <= set(values)
        assert garment["ranking"] == [one["id"] for one in garment["results"]]
        assert garment["total"] == sum(row["subCategory"] in values for row in shop.rows.values())
        assert garment["nothingLikeThis"] is False
        assert {one["value"] for one in garment["facets"]["subCategory"]} > set(values), "others can still be chosen"
        assert sum(one["count"] for one in garment["facets"]["gender"]) == garment["total"]
    first = answer["garments"][0]
    for member in ("ranking", "results", "total", "facets", "plan"):
        assert answer[member] == first[member], "a client that knows no garments reads the first one's results"
    assert (answer["width"], answer["height"]) == SIZE


def test_one_garment_finds_what_it_finds_in_the_look(shop: Shop, parser: str) -> None:
    look = found(shop, LOOK, regions="auto", topK=5)
    for garment in look["garments"]:
        one = found(shop, LOOK, region=str(garment["number"]), topK=5)
        assert one["garment"]["kind"] == garment["kind"]
        assert one["garment"]["filters"] == garment["filters"]
        assert one["ranking"] == garment["ranking"]
        assert one["parser"] == parser
    more = found(shop, LOOK, region="1", topK=3, offset=2)
    assert more["ranking"] == look["garments"][0]["ranking"][2:5]


def test_a_filter_of_the_caller_narrows_each_garment_and_replaces_that_of_its_kind(shop: Shop, parser: str) -> None:
    women = found(shop, LOOK, regions="auto", topK=50, gender="Women")
    for garment in women["garments"]:
        [values] = garment["filters"].values()
        expected = {n for n, row in shop.rows.items() if row["subCategory"] in values and row["gender"] == "Women"}
        assert {str(one) for one in garment["ranking"]} == expected
    own = found(shop, LOOK, regions="auto", topK=50, subCategory="Watches")
    for garment in own["garments"]:
        assert garment["filters"] == {}
        assert {one["subCategory"] for one in garment["results"]} == {"Watches"}
    none = found(shop, LOOK, regions="auto", topK=100, kindFilters="false")
    for garment in none["garments"]:
        assert garment["filters"] == {}
        assert garment["total"] == len(shop.rows)
    assert found(shop, LOOK, region="1", kindFilters="false", topK=100)["ranking"] == none["garments"][0]["ranking"]


def test_a_look_is_grouped_and_says_where_nothing_is_like_a_garment(shop: Shop, parser: str) -> None:
    grouped = found(shop, LOOK, regions="auto", topK=20, groupBy="gender")
    for garment in grouped["garments"]:
        genders = [one["gender"] for one in garment["results"]]
        assert len(genders) == len(set(genders))
    nothing = found(shop, LOOK, regions="auto", minScore=1, topK=3)
    for garment in nothing["garments"]:
        assert (garment["ranking"], garment["nothingLikeThis"]) == ([], True)
        assert garment["relax"][0]["filter"] == "subCategory"
    assert problem(post(shop, "search", LOOK, regions="auto", minConfidence=0.5)) == (400, "parameter_invalid")


def test_a_picture_without_garments_is_searched_whole(shop: Shop, parser: str) -> None:
    whole, look = found(shop, NOBODY, topK=5), found(shop, NOBODY, regions="auto", topK=5)
    assert look["garments"] == []
    assert look["ranking"] == whole["ranking"]
    assert "no garment was found" in look["hints"][0]


def test_a_look_leaves_out_garments_that_are_less_probable_than_asked_for(shop: Shop, parser: str) -> None:
    garments = found(shop, LOOK, "regions")["garments"]
    least = min(one["probability"] for one in garments) + 0.001
    sure = [one["number"] for one in garments if one["probability"] >= least]
    assert len(sure) == len(garments) - 1
    look = found(shop, LOOK, regions="auto", minProbability=least, topK=3)
    assert [one["number"] for one in look["garments"]] == sure
    assert look["ranking"] == look["garments"][0]["ranking"]
    none = found(shop, LOOK, regions="auto", minProbability=1, topK=3)
    assert none["garments"] == []
    assert none["ranking"] == found(shop, LOOK, topK=3)["ranking"]
    assert "minProbability" in none["hints"][0]
    left_out = next(one["number"] for one in garments if one["probability"] < least)
    assert found(shop, LOOK, region=str(left_out), minProbability=1)["garment"]["number"] == left_out


@pytest.mark.parametrize("number", ["0", "9", "99", "07"])
def test_a_number_that_no_garment_has_is_refused_with_how_many_there_are(shop: Shop, parser: str, number: str) -> None:
    answer = post(shop, "search", LOOK, region=number)
    assert problem(answer) == (400, "garment_unknown")
    count = len(found(shop, LOOK, "regions")["garments"])
    assert answer.json()["detail"] == f"there is no garment {int(number)}: the picture has garments 1 to {count}"


@pytest.mark.parametrize(
    "fields",
    [
        {"region": "1.5"}, {"region": "-1"}, {"region": "1,2"}, {"region": ""}, {"region": "9" * 5_000},
        {"region": "1\x1b[2J"}, {"region": "\u0661"}, {"region": ["1", "2"]}, {"regions": "all"}, {"regions": "\0"},
        {"regions": ["auto", "auto"]}, {"regions": "auto", "region": "1"}, {"regions": "auto", "cutout": "true"},
        {"regions": "auto", "topK": "101"}, {"regions": "auto", "offset": "1"}, {"regions": "auto", "fuse": "x"},
        {"minProbability": "1.1"}, {"minProbability": "-0.1"}, {"minProbability": "nan"}, {"minProbability": "likely"},
        {"kindFilters": "perhaps"}, {"region": "1", "fuse": "x"}, {"Regions": "auto"}, {"kindfilters": "true"},
    ],
)  # fmt: skip
def test_a_region_that_cannot_be_is_refused(shop: Shop, parser: str, fields: dict[str, Any]) -> None:
    assert problem(post(shop, "search", LOOK, **fields)) == (400, "parameter_invalid")


@pytest.mark.parametrize(
    "fields", [{"region": "1"}, {"gender": "Women"}, {"topK": "3"}, {"\0": "x"}, {"dataset": "a--b"}, {"model": "no"}]
)
def test_a_call_for_regions_takes_a_dataset_and_a_model_only(shop: Shop, parser: str, fields: dict[str, str]) -> None:
    answer = shop.api.post("/api/regions", files={"image": LOOK}, data={"dataset": DATASET, **fields})
    assert problem(answer)[0] in (400, 404)
    unknown = shop.api.post("/api/regions", files={"image": LOOK}, data={"dataset": "no-such"})
    assert problem(unknown)[0] in (400, 404)


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"", "image_empty"), (b"words", "image_format_unsupported"), (LOOK[:2_000], "image_truncated")],
)
def test_a_picture_that_cannot_be_used_is_refused_by_every_call(
    shop: Shop, parser: str, data: bytes, code: str
) -> None:
    for call, fields in (("regions", {}), ("search", {"regions": "auto"}), ("search", {"region": "1"})):
        assert problem(post(shop, call, data, **fields)) == (400, code)
    uploaded = shop.api.post("/api/uploads", files={"image": data})
    assert uploaded.status_code == 400
    assert uploaded.json()["code"].startswith("image_")


def test_the_garment_of_a_cut_out_is_the_most_prominent_one(shop: Shop, parser: str) -> None:
    cut = found(shop, LOOK, cutout="true", topK=10)
    first = found(shop, LOOK, region="1", kindFilters="false", topK=10)
    assert cut["ranking"] == first["ranking"]
    assert found(shop, LOOK, region="1", cutout="true", kindFilters="false", topK=10)["ranking"] == first["ranking"]
    mirrored = found(shop, LOOK, region="1", flip="true", kindFilters="false", topK=10)
    assert [one["score"] for one in mirrored["results"]] != [one["score"] for one in first["results"]]
    expanded = found(shop, LOOK, region="1", expand="5", topK=10)
    assert expanded["garment"]["filters"] == {"subCategory": expanded["garment"]["filters"]["subCategory"]}
    product = shop.picture(queries(shop)[4])
    assert found(shop, product, cutout="true", topK=5)["ranking"] == found(shop, product, topK=5)["ranking"], (
        "what stands on white already stays as it is"
    )


@pytest.mark.parametrize("region", ["1", "2", "0.2,0.1,0.6,0.5"])
def test_a_match_of_a_garment_or_a_box_is_explained_as_it_was_searched(shop: Shop, parser: str, region: str) -> None:
    best = found(shop, LOOK, region=region, topK=1)["results"][0]
    told = found(shop, LOOK, "explain", region=region, id=best["id"])
    assert told["score"] == pytest.approx(best["score"], abs=2e-3)
    assert np.max(told["query"]["heat"]) > 0
    seen = Image.open(io.BytesIO(base64.b64decode(told["query"]["picture"].partition(",")[2])))
    whole = found(shop, LOOK, "explain", id=best["id"])
    assert whole["query"]["heat"] != told["query"]["heat"]
    corner = np.asarray(seen.convert("RGB"))[0, 0]
    assert (corner.min() >= 250) == region.isdigit(), "a garment is on white, a box keeps its ground"


@pytest.mark.parametrize(("region", "code"), [("9", "garment_unknown"), ("1.5", "parameter_invalid")])
def test_a_part_that_cannot_be_is_not_explained(shop: Shop, parser: str, region: str, code: str) -> None:
    assert problem(post(shop, "explain", LOOK, region=region, id=queries(shop)[0])) == (400, code)


def person_with_a_face() -> bytes:
    person = drawn_person("upper", "trousers", size=SIZE)
    person.paste(Image.effect_noise((40, 80), 120).convert("RGB"), FACE.box(*SIZE)[:2])
    exif = Image.Exif()
    exif[0x010F] = "SECRETCAMERA"
    return encoded(person, "JPEG", exif=exif.tobytes(), quality=92)


def stored_pictures(shop: Shop) -> list[bytes]:
    """The pictures of all uploads in Redis."""
    client = shop.system.redis_client
    found = (client.get(key) for key in client.scan_iter("vitrine:upload:*"))
    return [one for one in found if isinstance(one, bytes)]


def face_of(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    with Image.open(io.BytesIO(data)) as opened:
        return np.asarray(opened.convert("RGB").crop(FACE.box(*opened.size))).astype(np.int64)


def test_a_kept_picture_has_no_face_anywhere_and_finds_the_same_garments(shop: Shop, parser: str) -> None:
    picture = person_with_a_face()
    answer = shop.api.post("/api/uploads", files={"image": picture})
    assert answer.status_code == 201, answer.text
    kept = shop.api.get(f"/api/uploads/{answer.json()['upload']}").content
    assert kept in stored_pictures(shop)
    assert kept != picture
    assert face_of(picture).std(axis=(0, 1)).mean() > 2 * face_of(kept).std(axis=(0, 1)).mean()
    # Neither Redis nor any file of the system has the original, not even a part of it.
    pieces = [picture[start : start + 64] for start in range(200, len(picture) - 64, len(picture) // 5)]
    shop.system.redis_client.save()
    files = [path for path in shop.system.folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert any(path.suffix == ".rdb" for path in files)
    for content in (*stored_pictures(shop), *(path.read_bytes() for path in files)):
        assert b"SECRETCAMERA" not in content
        assert not any(piece in content for piece in pieces)
    look = shop.api.post(
        "/api/search", params={"upload": answer.json()["upload"], "dataset": DATASET, "regions": "auto"}
    )
    assert {one["kind"] for one in look.json()["garments"]} >= {"upper", "trousers"}


def test_a_picture_dropped_on_the_page_is_kept_without_a_face(shop: Shop, parser: str) -> None:
    picture = person_with_a_face()
    before = set(stored_pictures(shop))
    answer = shop.api.post("/", files={"image": picture}, data={"dataset": DATASET}, follow_redirects=False)
    assert answer.status_code == 303, answer.text
    [kept] = set(stored_pictures(shop)) - before
    assert b"SECRETCAMERA" not in kept
    assert face_of(picture).std(axis=(0, 1)).mean() > 2 * face_of(kept).std(axis=(0, 1)).mean()


def test_searches_recommendations_and_explanations_store_no_picture(shop: Shop, parser: str) -> None:
    before = stored_pictures(shop)
    picture = person_with_a_face()
    assert post(shop, "search", picture, regions="auto").status_code == 200
    assert (
        shop.api.post("/api/recommend", files={"positiveImage": picture}, data={"dataset": DATASET}).status_code == 200
    )
    assert post(shop, "explain", picture, id=queries(shop)[0]).status_code == 200
    assert stored_pictures(shop) == before


@pytest.fixture(scope="module")
def without_parser(shop: Shop) -> Iterator[httpx.Client]:
    """A second search API on the same system, whose parser is in no store."""
    env = {"VITRINE_PARSER_MODEL": "no-such-parser", "VITRINE_KEEP_FACES_WITHOUT_PARSER": "false"}
    with shop.system.another_api(**env) as url, httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        yield client


def test_without_a_parser_a_call_that_needs_one_says_how_to_get_one(
    shop: Shop, parser: str, without_parser: httpx.Client
) -> None:
    def ask(call: str, **fields: str) -> httpx.Response:
        return without_parser.post(f"/api/{call}", files={"image": LOOK}, data={"dataset": DATASET, **fields})

    before = stored_pictures(shop)
    uploaded = without_parser.post("/api/uploads", files={"image": LOOK})
    searches = [ask("search", **fields) for fields in ({"regions": "auto"}, {"region": "1"}, {"cutout": "true"})]
    explained = ask("explain", region="1", id=queries(shop)[0])
    for answer in (ask("regions"), *searches, explained, uploaded):
        assert problem(answer) == (404, "parser_not_found")
        assert "recipes/parser.toml" in answer.json()["detail"]
    assert "VITRINE_KEEP_FACES_WITHOUT_PARSER" in uploaded.json()["detail"]
    assert stored_pictures(shop) == before
    assert ask("search").status_code == 200
    assert ask("search", region="0.1,0.1,0.5,0.5").status_code == 200


@pytest.mark.parametrize("script", [{}, {"HX-Request": "true"}], ids=["form", "script"])
def test_a_cut_out_on_the_page_without_a_parser_says_what_is_missing(
    parser: str, without_parser: httpx.Client, script: dict[str, str]
) -> None:
    answer = without_parser.post(
        "/", files={"image": LOOK}, data={"dataset": DATASET, "cutout": "true"}, headers=script
    )
    assert answer.status_code == 404, answer.text
    assert "recipes/parser.toml" in answer.text


def test_a_wrong_parser_costs_the_page_its_garments_alone(shop: Shop, parser: str) -> None:
    model = shop.release.rpartition("-")[0]
    with (
        shop.system.another_api(VITRINE_PARSER_MODEL=model, VITRINE_KEEP_FACES_WITHOUT_PARSER="false") as url,
        httpx.Client(base_url=url, timeout=60, trust_env=False) as client,
    ):
        assert client.get("/", params={"dataset": DATASET}).status_code == 200
        answer = client.post("/", files={"image": LOOK}, data={"dataset": DATASET}, headers={"HX-Request": "true"})
        assert answer.status_code == 200, answer.text
        assert "data-result" in answer.text


def test_the_client_searches_each_garment(shop: Shop, parser: str) -> None:
    with Vitrine(shop.system.url("search_api")) as vitrine:
        regions = vitrine.regions(LOOK, dataset=DATASET)
        assert regions.parser == parser
        look = vitrine.search(LOOK, dataset=DATASET, regions="auto", top_k=3)
        assert look.garments is not None
        assert [one.kind for one in look.garments] == [one.kind for one in regions.garments]
        assert look.garments[0].nothing_like_this is False
        one = vitrine.search(LOOK, dataset=DATASET, region=regions.garments[1].number, top_k=3)
        assert one.ranking == look.garments[1].ranking
        assert one.garment is not None
        assert one.garment.filters == look.garments[1].filters
        kept = Upload(vitrine.upload(LOOK).upload)
        assert vitrine.regions(kept).garments[0].kind == regions.garments[0].kind
        why = vitrine.explain(LOOK, one.ranking[0], dataset=DATASET, region=regions.garments[1].number)
        assert why.score == pytest.approx(one.results[0].score, abs=2e-3)
        with pytest.raises(api_errors.GarmentUnknown):
            vitrine.search(LOOK, dataset=DATASET, region=9)


def test_the_command_prints_a_table_for_each_garment(
    shop: Shop, parser: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "look.png"
    picture.write_bytes(LOOK)
    line = ["search", str(picture), "--model", shop.release.rpartition("-")[0], "--dataset", DATASET, "--k", "2"]
    line += ["--url", shop.system.url("search_api")]
    assert main([*line, "--regions", "auto"]) == 0
    shown = capsys.readouterr()
    garments = found(shop, LOOK, "regions")["garments"]
    for garment in garments:
        assert f"{garment['number']}. {garment['title']} (" in shown.out
    assert f"{len(garments)} garments found by {parser}" in shown.err
    assert main([*line, "--regions", "auto", "--min-probability", "1"]) == 0
    assert "minProbability" in capsys.readouterr().err
    assert main([*line, "--region", "1"]) == 0
    assert "garment 1: " in capsys.readouterr().err
    best = str(found(shop, LOOK, region="1", topK=1)["results"][0]["id"])
    why = ["explain", str(picture), best, *line[2:6], *line[8:], "--out", str(tmp_path / "why.png")]
    assert main([*why, "--region", "1"]) == 0
    assert f"right product {best}" in capsys.readouterr().out
    assert main([*line, "--regions", "auto", "--sheet", str(tmp_path / "out.png")]) == 2
    empty = tmp_path / "empty.png"
    empty.write_bytes(encoded(gradient(120, 90), "PNG"))
    assert main(["search", str(empty), *line[2:], "--region", "9"]) == 1


def test_regions_of_one_picture_are_the_same_every_time(shop: Shop, parser: str) -> None:
    answers = [post(shop, "regions", LOOK).json()["garments"] for _ in range(3)]
    assert len({hashlib.sha256(repr(one).encode()).hexdigest() for one in answers}) == 1
