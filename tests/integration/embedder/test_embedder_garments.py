"""Garments through a running embedder: where they are, their vectors, and the faces above them."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
import pytest
from PIL import Image

from harness.embedder import Embedder
from harness.pictures import encoded
from harness.releases import picture
from harness.tiny_parser import build_tiny_parser, drawn_people, drawn_person
from harness.waiting import HUNG_AFTER_S, wait_until
from vitrine.embedding import AsyncEmbedderClient, EmbedderClient, RegionsFound
from vitrine.errors import GarmentUnknown, ImageRejected, ReleaseNotFound, ReleaseOfOtherKind
from vitrine.images.decode import decode_image
from vitrine.images.regions import Region

T = TypeVar("T")
LARGE = (480, 640)
# Of the head of a drawn person, in fractions of the picture.
FACE = Region(0.46, 0.08, 0.08, 0.12)


def asked(embedder: Embedder, question: Callable[[AsyncEmbedderClient], Awaitable[T]]) -> T:
    async def ask() -> T:
        client = AsyncEmbedderClient(embedder.url)
        try:
            return await question(client)
        finally:
            await client.aclose()

    return asyncio.run(ask())


def regions(embedder: Embedder, parser: str, data: bytes) -> RegionsFound:
    return asked(embedder, lambda client: client.regions(data, parser_id=parser))


def worn(*kinds: str, **drawn: Any) -> bytes:
    return encoded(drawn_person(*kinds, size=LARGE, **drawn), "PNG")


def post(embedder: Embedder, path: str, data: bytes, **parameters: str) -> httpx.Response:
    return httpx.post(f"{embedder.url}{path}", params=parameters, content=data, timeout=HUNG_AFTER_S)


def test_the_parser_of_the_store_loads_in_the_background_and_health_reports_it(tmp_path: Path) -> None:
    parser = build_tiny_parser(tmp_path / "releases")
    service = Embedder(tmp_path)
    try:

        def facts() -> dict[str, Any]:
            ready = httpx.get(f"{service.url}/readyz")
            assert ready.status_code == 200, "it is ready before the parser is loaded"
            told: dict[str, Any] = ready.json()
            assert told["parser"] in ("loading", "loaded")
            return told

        wait_until(lambda: facts()["parser"] == "loaded", what="the loading of the parser")
        assert facts()["releases"] == [parser]
        answer = httpx.post(
            f"{service.url}/v1/regions", params={"release": parser}, content=worn("upper"), timeout=HUNG_AFTER_S
        )
        assert answer.status_code == 200
    finally:
        service.kill()


def explain(embedder: Embedder, **parameters: str) -> httpx.Response:
    """The likeness of a photograph and a product, or of a part of the photograph."""
    files = [("image", worn("upper", "trousers")), ("image", picture(3))]
    parameters = {"release": embedder.release, **parameters}
    return httpx.post(f"{embedder.url}/v1/explain", params=parameters, files=files, timeout=HUNG_AFTER_S)


@pytest.mark.parametrize(
    "parameters",
    [{"garment": "1"}, {"parser": "PARSER"}, {"parser": "PARSER", "garment": "1", "region": "0,0,0.5,0.5"}],
)
def test_a_garment_is_explained_with_a_parser_and_without_a_region(
    embedder: Embedder, parser: str, parameters: dict[str, str]
) -> None:
    given = {name: parser if value == "PARSER" else value for name, value in parameters.items()}
    answer = explain(embedder, **given)
    assert (answer.status_code, answer.json()["code"]) == (400, "parameter_invalid")
    unknown = explain(embedder, parser=parser, garment="9")
    assert (unknown.status_code, unknown.json()["code"]) == (400, "garment_unknown")


def test_garments_are_found_with_their_place_and_outline(embedder: Embedder, parser: str) -> None:
    found = regions(embedder, parser, worn("upper", "trousers"))
    assert (found.release_id, found.width_px, found.height_px) == (parser, *LARGE)
    assert {garment.kind for garment in found.garments} >= {"upper", "trousers"}
    assert [garment.number for garment in found.garments] == list(range(1, len(found.garments) + 1))
    upper = next(garment for garment in found.garments if garment.kind == "upper")
    assert (upper.title, upper.searchable) == ("Top", True)
    # As drawn: 44 of 120 wide and 46 of 160 high, from row 36.
    expected = Region(0.5 - 22 / 120, 36 / 160, 44 / 120, 46 / 160)
    for side in ("x", "y", "width", "height"):
        assert getattr(upper.box, side) == pytest.approx(getattr(expected, side), abs=0.06), side
    assert all(3 <= len(polygon) <= 60 for polygon in upper.outline)
    assert set(found.timings_ms) == {"decode", "queue", "parse", "masks"}


def test_garments_stand_as_the_turned_picture_does(embedder: Embedder, parser: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = drawn_person("dress", size=LARGE)
    turned = encoded(upright.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif.tobytes(), quality=95)
    found, plain = regions(embedder, parser, turned), regions(embedder, parser, encoded(upright, "JPEG", quality=95))
    assert (found.width_px, found.height_px) == LARGE
    assert [one.kind for one in found.garments] == [one.kind for one in plain.garments] == ["dress"]
    assert found.garments[0].box.y == pytest.approx(plain.garments[0].box.y, abs=0.03)


def test_a_picture_without_people_has_no_garments(embedder: Embedder, parser: str) -> None:
    found = regions(embedder, parser, encoded(Image.new("RGB", (300, 200), (90, 130, 110)), "PNG"))
    assert found.garments == ()


def test_every_garment_is_embedded_from_one_decoding(embedder: Embedder, parser: str) -> None:
    data = encoded(drawn_people(("dress",), ("upper", "trousers")), "PNG")
    found, embeddings = asked(
        embedder, lambda client: client.embed_garments(data, release_id=embedder.release, parser_id=parser)
    )
    assert found.garments == regions(embedder, parser, data).garments
    assert len(embeddings) == len(found.garments) >= 3
    assert all(np.linalg.norm(one.vector) == pytest.approx(1.0, abs=1e-4) for one in embeddings)
    assert set(found.timings_ms) == {"decode", "queue", "parse", "masks", "device"}
    numbers = (3, 1)
    _, chosen = asked(
        embedder,
        lambda client: client.embed_garments(
            data, release_id=embedder.release, parser_id=parser, numbers=numbers, views="flip,crops:1"
        ),
    )
    assert [one.views.shape for one in chosen] == [(4, 16)] * 2
    for number, one in zip(numbers, chosen, strict=True):
        np.testing.assert_allclose(one.views[0], embeddings[number - 1].vector, atol=1e-3)


def test_a_picture_without_garments_has_no_vectors(embedder: Embedder, parser: str) -> None:
    data = encoded(Image.new("RGB", (300, 200), (90, 130, 110)), "PNG")
    found, embeddings = asked(
        embedder, lambda client: client.embed_garments(data, release_id=embedder.release, parser_id=parser)
    )
    assert (found.garments, embeddings) == ((), ())


def test_a_number_that_no_garment_has_is_refused_by_how_many_there_are(embedder: Embedder, parser: str) -> None:
    with pytest.raises(GarmentUnknown, match="there is no garment 7: the picture has one garment"):
        asked(
            embedder,
            lambda client: client.embed_garments(
                worn("dress"), release_id=embedder.release, parser_id=parser, numbers=(7,)
            ),
        )


def test_the_cut_out_is_the_most_prominent_garment_or_that_of_the_region(embedder: Embedder, parser: str) -> None:
    data = encoded(drawn_people(("dress",), ("upper", "trousers")), "PNG")
    release = embedder.release
    found, of_garments = asked(
        embedder, lambda client: client.embed_garments(data, release_id=release, parser_id=parser)
    )
    vectors = [one.vector for one in of_garments]
    cut = asked(embedder, lambda client: client.embed(data, release_id=release, parser_id=parser, views="cutout"))
    np.testing.assert_allclose(cut.vector, vectors[0], atol=1e-3)
    trousers = next(garment for garment in found.garments if garment.kind == "trousers")
    one = asked(
        embedder,
        lambda client: client.embed(data, release_id=release, parser_id=parser, views="cutout", region=trousers.box),
    )
    assert float(one.vector @ vectors[trousers.number - 1]) > 0.98
    both = asked(
        embedder,
        lambda client: client.embed_for_both(
            data,
            release_ids=(release, release),
            views="cutout,flip",
            caller="",
            deadline_s=HUNG_AFTER_S,
            parser_id=parser,
        ),
    )
    for one in both:
        assert one.views.shape == (2, 16)
        np.testing.assert_allclose(one.views[0], vectors[0], atol=1e-3)


def test_what_has_no_garment_or_stands_on_white_is_embedded_as_it_is(
    embedder: Embedder, client: EmbedderClient, parser: str
) -> None:
    plain = encoded(Image.new("RGB", (300, 400), (90, 130, 110)), "PNG")
    product = worn("dress", ground=(255, 255, 255))
    for data in (plain, product):
        answer = post(embedder, "/v1/embed", data, release=embedder.release, parser=parser, views="cutout")
        expected = client.embed(data, release_id=embedder.release)
        np.testing.assert_allclose(answer.json()["vector"], expected.vector, atol=2e-2)


def test_json_tells_the_garments_and_their_vectors(embedder: Embedder, parser: str) -> None:
    answer = post(embedder, "/v1/embed", worn("dress"), release=embedder.release, parser=parser, garments="all")
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert [one["number"] for one in told["embedded"]] == [one["number"] for one in told["regions"]["garments"]]
    assert len(told["embedded"][0]["vector"]) == 16


@pytest.mark.parametrize(
    ("parameters", "fault"),
    [
        ({"views": "cutout"}, "parser=ID"),
        ({"garments": "all"}, "parser=ID"),
        ({"parser": "given", "garments": "some"}, "give all, or numbers"),
        ({"parser": "given", "garments": "1,1"}, "different numbers"),
        ({"parser": "given", "garments": "1,2,3,4,5,6,7,8,9"}, "up to 8"),
        ({"parser": "given", "garments": "-1"}, "give all, or numbers"),
        ({"parser": "given", "garments": "²"}, "give all, or numbers"),
        ({"parser": "given", "garments": "all", "region": "0,0,1,1"}, "region"),
        ({"parser": "given", "garments": "all", "also": "given"}, "also"),
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(
    embedder: Embedder, parser: str, parameters: dict[str, str], fault: str
) -> None:
    given = {name: parser if value == "given" else value for name, value in parameters.items()}
    answer = post(embedder, "/v1/embed", worn("dress"), release=embedder.release, **given)
    assert (answer.status_code, answer.json()["code"]) == (400, "parameter_invalid")
    assert fault in answer.json()["detail"]


def test_releases_of_the_other_kind_are_refused(embedder: Embedder, client: EmbedderClient, parser: str) -> None:
    with pytest.raises(ReleaseOfOtherKind, match="finds no garments"):
        regions(embedder, embedder.release, worn("dress"))
    with pytest.raises(ReleaseOfOtherKind, match="has no vectors"):
        client.embed(worn("dress"), release_id=parser)
    with pytest.raises(ReleaseNotFound):
        regions(embedder, "vitrine-parser-0000000000", worn("dress"))


@pytest.mark.parametrize("path", ["/v1/regions", "/v1/anonymize"])
def test_a_bad_picture_is_told_as_one(embedder: Embedder, parser: str, path: str) -> None:
    named = {"release" if path == "/v1/regions" else "parser": parser}
    for data, code in (
        (b"", "image_missing"),
        (b"text", "image_format_unsupported"),
        (picture(1)[:500], "image_truncated"),
    ):
        answer = post(embedder, path, data, **named)
        assert (answer.status_code, answer.json()["code"]) == (400, code)
    with pytest.raises(ImageRejected):
        regions(embedder, parser, picture(1)[:500])


def face_of(data: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """The pixels of the head of a drawn person."""
    image = decode_image(data)
    return np.asarray(image.crop(FACE.box(*image.size))).astype(np.int64)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_kept_picture_has_no_face_and_no_metadata(embedder: Embedder, parser: str, kind: str) -> None:
    person = drawn_person("upper", "trousers", size=LARGE)
    person.paste(Image.effect_noise((40, 80), 120).convert("RGB"), FACE.box(*LARGE)[:2])
    exif = Image.Exif()
    exif[0x010F] = "SECRETCAMERA"
    data = encoded(person, kind, exif=exif.tobytes())
    blurred = asked(embedder, lambda client: client.anonymize(data, parser_id=parser))
    assert blurred != data
    assert b"SECRETCAMERA" in data
    assert b"SECRETCAMERA" not in blurred
    with Image.open(io.BytesIO(blurred)) as opened:
        assert (opened.format, opened.size) == ("JPEG", LARGE)
        assert not opened.getexif()
    before, after = face_of(data), face_of(blurred)
    assert before.std(axis=(0, 1)).mean() > 2 * after.std(axis=(0, 1)).mean()
    below = Region(0.4, 0.3, 0.2, 0.15)
    garment = [np.asarray(decode_image(one).crop(below.box(*LARGE))).astype(int) for one in (data, blurred)]
    assert abs(garment[0] - garment[1]).mean() < 6


def test_a_picture_that_shows_no_one_is_kept_as_it_was_sent(embedder: Embedder, parser: str) -> None:
    data = encoded(Image.new("RGB", (300, 200), (90, 130, 110)), "WEBP")
    answer = post(embedder, "/v1/anonymize", data, parser=parser)
    assert answer.content == data
    assert answer.headers["content-type"] == "image/webp"


def test_metrics_tell_the_stages_of_the_parser(embedder: Embedder, parser: str) -> None:
    regions(embedder, parser, worn("dress"))
    text = httpx.get(f"{embedder.url}/metrics").text
    for name in ('stage_seconds_count{stage="parse"}', 'stage_seconds_count{stage="masks"}', "garments_found_count"):
        assert f"vitrine_embedder_{name}" in text
