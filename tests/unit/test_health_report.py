"""The analyses of a health report on made vectors and pictures whose truth is known."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from qdrant_client import QdrantClient, models

from harness.pictures import encoded
from search_api.pages.health_views import health_view
from trainer.health.attributes import AttributeTally
from trainer.health.collection import ScannedCollection, read_payloads, scan_collection
from trainer.health.document import Health, Judged, health_document, health_summary, rows_shown
from trainer.health.duplicates import Duplicates, find_duplicates
from trainer.health.labels import find_suspects
from trainer.health.outliers import find_outliers
from trainer.health.signatures import Signature, signature
from trainer.progress import NoProgress
from vitrine.images.checks import DEFAULT_LIMITS
from vitrine.products import AttributeKind, Product
from vitrine.types import Vectors

KINDS = {"articleType": AttributeKind.KEYWORD, "baseColour": AttributeKind.KEYWORD}
DATASET = "shop"


def unit(vectors: np.ndarray[Any, Any]) -> Vectors:
    scaled: Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return scaled


class Shelf:
    """Products with vectors, in a collection in memory."""

    def __init__(self, *, several: bool = False) -> None:
        self.several = several
        self.points: list[tuple[Product, Any, Mapping[str, Any]]] = []

    def add(
        self,
        product_id: str,
        vector: Any,
        *,
        picture: bytes | None = None,
        variant_of: str | None = None,
        **attributes: Any,
    ) -> None:
        product = Product(DATASET, product_id, f"{product_id}.png", attributes, variant_of=variant_of)
        digest = hashlib.sha256(product_id.encode() if picture is None else picture).hexdigest()
        vectors = np.atleast_2d(vector).tolist()
        self.points.append((product, vectors if self.several else vectors[0], {"picture_sha256": digest}))

    def scan(
        self, label: str | None = "articleType", *, most_compared: int = 60_000
    ) -> tuple[ScannedCollection, AttributeTally, QdrantClient]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the client in memory says what it does not do
            client = QdrantClient(":memory:")
            size = len(np.atleast_2d(self.points[0][1])[0])
            several = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
            config = models.VectorParams(
                size=size, distance=models.Distance.COSINE, multivector_config=several if self.several else None
            )
            client.create_collection("shop", vectors_config=config)
            client.upsert(
                "shop",
                [
                    models.PointStruct(id=product.point_id, vector=vector, payload={**product.payload(), **more})
                    for product, vector, more in self.points
                ],
            )
            tally = AttributeTally(KINDS)
            scan = scan_collection(
                client,
                "shop",
                label=label,
                tally=tally,
                progress=NoProgress(),
                total=len(self.points),
                most_compared=most_compared,
            )
        return scan, tally, client


def clusters(
    shelf: Shelf, kinds: Mapping[str, int], *, spread: float = 0.15, seed: int = 0, size: int = 16
) -> dict[str, np.ndarray[Any, Any]]:
    """Add products of each kind around a direction of its own. Returns the directions."""
    chance = np.random.default_rng(seed)
    found = {}
    for kind, count in kinds.items():
        found[kind] = centre = unit(chance.normal(size=(1, size)))[0]
        for number, vector in enumerate(unit(centre + spread * chance.normal(size=(count, size)))):
            shelf.add(f"{kind}{number}", vector, articleType=kind, baseColour="Red")
    return found


@pytest.mark.parametrize("most_compared", [0, 1000], ids=["searched", "computed"])
def test_a_scan_finds_the_nearest_products_without_the_product_itself(most_compared: int) -> None:
    shelf = Shelf()
    clusters(shelf, {"Shirts": 40, "Shoes": 40})
    scan, tally, client = shelf.scan(most_compared=most_compared)
    vectors = {product.id: np.array(vector) for product, vector, _ in shelf.points}
    assert sorted(scan.ids) == sorted(vectors)
    assert tally.products == 80
    for row in range(0, 80, 7):
        own = vectors[scan.ids[row]]
        expected = sorted((one for one in vectors if one != scan.ids[row]), key=lambda one: -float(own @ vectors[one]))
        assert [scan.ids[near] for near in scan.neighbours[row]] == expected[:24]
        assert scan.scores[row, 0] == pytest.approx(float(own @ vectors[expected[0]]), abs=1e-5)
    payloads = read_payloads(client, "shop", DATASET, ["Shirts1", "Shirts1", "gone"])
    assert payloads.keys() == {"Shirts1"}


@pytest.mark.parametrize("most_compared", [0, 1000], ids=["searched", "computed"])
def test_a_product_of_several_pictures_is_looked_for_by_its_first_one(most_compared: int) -> None:
    shelf = Shelf(several=True)
    clusters(shelf, {"Shirts": 10})
    face, back = unit(np.eye(16)[:2] + 0.01)
    shelf.add("many", [face, back], articleType="Shirts")
    shelf.add("front", face, articleType="Shirts")
    scan, _, _ = shelf.scan(most_compared=most_compared)
    row = scan.ids.index("many")
    assert scan.ids[scan.neighbours[row, 0]] == "front"
    assert scan.scores[row, 0] == pytest.approx(1.0, abs=1e-4)


def nobody(scan: ScannedCollection) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.full(len(scan), -1, dtype=np.int64)


def test_planted_wrong_labels_are_found_first_and_with_the_right_suggestion() -> None:
    shelf = Shelf()
    centres = clusters(shelf, {"Shirts": 150, "Shoes": 150, "Watches": 150, "Bags": 150})
    chance = np.random.default_rng(5)
    wrong = {"w0": ("Shirts", "Shoes"), "w1": ("Bags", "Watches"), "w2": ("Watches", "Shirts"), "w3": ("Shoes", "Bags")}
    for product_id, (given, true) in wrong.items():
        vector = unit((centres[true] + 0.15 * chance.normal(size=16))[None])[0]
        shelf.add(product_id, vector, articleType=given)
    scan, _, _ = shelf.scan()
    found = find_suspects(scan.labels, scan.neighbours, scan.scores, (nobody(scan),))
    names = scan.label_names
    first = {
        scan.ids[row]: (names[a], names[b])
        for row, a, b in zip(found.rows[:4], found.given, found.suggested, strict=False)
    }
    assert first == wrong
    assert found.confidence[:4].min() > 0.5
    assert len(found.rows) <= 6
    assert found.agreeing > 0.98


def test_two_kinds_that_are_confused_all_the_time_do_not_flood_the_list() -> None:
    shelf = Shelf()
    centres = clusters(shelf, {"Shoes": 200, "Tops": 1})
    chance = np.random.default_rng(7)
    for number, vector in enumerate(unit(centres["Tops"] + 0.15 * chance.normal(size=(400, 16)))):
        shelf.add(f"top{number}", vector, articleType="Tops" if number % 2 else "Tshirts")
    shelf.add("wrong", unit((centres["Tops"] + 0.1 * chance.normal(size=16))[None])[0], articleType="Shoes")
    scan, _, _ = shelf.scan()
    found = find_suspects(scan.labels, scan.neighbours, scan.scores, (nobody(scan),))
    assert scan.ids[found.rows[0]] == "wrong"
    confused = found.confidence[1:]
    assert not len(confused) or confused.max() < 0.75
    assert found.confidence[0] > confused.max(initial=0)


def test_duplicates_do_not_vote_for_each_others_mistake() -> None:
    shelf = Shelf()
    centres = clusters(shelf, {"Shirts": 150, "Shoes": 150})
    vector = unit((centres["Shoes"] + 0.1 * np.random.default_rng(3).normal(size=16))[None])[0]
    noise = np.random.default_rng(4)
    for number in range(8):
        near = unit((vector + 0.002 * noise.normal(size=16))[None])[0]
        shelf.add(f"copy{number}", near, articleType="Shirts", variant_of="one")
    scan, _, _ = shelf.scan()
    same = np.where(scan.variants == 0, -1, 0).astype(np.int64)
    found = find_suspects(scan.labels, scan.neighbours, scan.scores, (same,))
    assert {f"copy{number}" for number in range(8)} <= {scan.ids[row] for row in found.rows}
    apart = scan.scores.copy()
    apart[apart > 0.999] = 0.999  # or equal vectors would not vote at all
    alone = find_suspects(scan.labels, scan.neighbours, apart, (nobody(scan),))
    assert "copy0" not in {scan.ids[row] for row in alone.rows}, "eight copies agree with each other"


def test_products_without_labels_and_rare_labels_are_not_suspected() -> None:
    shelf = Shelf()
    centres = clusters(shelf, {"Shirts": 60, "Shoes": 60})
    shelf.add("rare", centres["Shoes"] * 0.99, articleType="Spats")
    shelf.add("bare", centres["Shoes"] * 0.98)
    scan, _, _ = shelf.scan()
    found = find_suspects(scan.labels, scan.neighbours, scan.scores, (nobody(scan),))
    assert not {"rare", "bare"} & {scan.ids[row] for row in found.rows}
    none, _, _ = shelf.scan(label=None)
    assert len(find_suspects(none.labels, none.neighbours, none.scores, (nobody(none),)).rows) == 0


def test_outliers_are_far_from_their_fifth_neighbour() -> None:
    shelf = Shelf()
    clusters(shelf, {"Shirts": 150, "Shoes": 150}, spread=0.1)
    for number, vector in enumerate(-unit(np.eye(16)[:3])):
        shelf.add(f"far{number}", vector, articleType="Shirts")
    scan, _, _ = shelf.scan()
    found = find_outliers(scan.scores)
    assert {scan.ids[row] for row in found.rows[:3]} == {"far0", "far1", "far2"}
    assert len(found.rows) <= 8
    assert (np.diff(found.distances) <= 0).all()


def test_a_short_catalogue_or_one_of_equal_products_has_no_outliers() -> None:
    assert len(find_outliers(np.zeros((20, 24), dtype=np.float32)).rows) == 0
    assert len(find_outliers(np.ones((200, 24), dtype=np.float32)).rows) == 0


def garment(
    seed: int, *, colour: tuple[int, int, int] = (170, 40, 50), size: tuple[int, int] = (180, 240)
) -> Image.Image:
    """A drawn garment on white, with a print that the seed decides; not symmetric."""
    chance = np.random.default_rng(seed)
    image = Image.new("RGB", (180, 240), "white")
    draw = ImageDraw.Draw(image)
    draw.polygon([(50, 30), (130, 30), (165, 80), (140, 100), (140, 215), (40, 215), (40, 100), (15, 80)], fill=colour)
    for _ in range(5):
        x, y = int(chance.integers(45, 110)), int(chance.integers(60, 180))
        shade = tuple(int(one) for one in chance.integers(0, 255, 3))
        draw.rectangle([x, y, x + int(chance.integers(12, 30)), y + int(chance.integers(10, 30))], fill=shade)
    return image


def png(image: Image.Image) -> bytes:
    return encoded(image, "PNG")


def bordered(image: Image.Image, px: int) -> Image.Image:
    wider = Image.new("RGB", (image.width + 2 * px, image.height + 2 * px), "white")
    wider.paste(image, (px, px))
    return wider


def duplicates_of(pictures: Mapping[str, bytes], **members: Any) -> tuple[ScannedCollection, Duplicates]:
    """The groups of products with these pictures, all of which have nearly the same vector."""
    shelf = Shelf()
    chance = np.random.default_rng(1)
    base = unit(chance.normal(size=(1, 16)))[0]
    for product_id, data in pictures.items():
        vector = unit((base + 0.01 * chance.normal(size=16))[None])[0]
        shelf.add(product_id, vector, picture=data, articleType=product_id[:4], **members.get(product_id, {}))
    scan, _, _ = shelf.scan()

    def signatures(rows: Sequence[int]) -> list[Signature | None]:
        return [signature(pictures[scan.ids[row]], DEFAULT_LIMITS) for row in rows]

    return scan, find_duplicates(scan, signatures)


def grouped(scan: ScannedCollection, found: Duplicates) -> list[tuple[str, list[str]]]:
    return [(group.kind, sorted(scan.ids[row] for row in group.rows)) for group in found.groups]


def test_the_same_file_and_copies_in_another_size_and_quality_are_one_group() -> None:
    picture = garment(1)
    pictures = {
        "a": png(picture),
        "b": png(picture),
        "small": encoded(picture.resize((135, 180), Image.Resampling.LANCZOS), "JPEG", quality=80),
        "poor": encoded(picture, "JPEG", quality=25),
        "webp": encoded(picture.resize((360, 480)), "WEBP", quality=70),
        **{f"other{seed}": png(garment(seed)) for seed in range(2, 9)},
    }
    scan, found = duplicates_of(pictures)
    assert grouped(scan, found) == [("nearly the same", ["a", "b", "poor", "small", "webp"])]
    assert (found.of_row >= 0).sum() == 5


def test_a_copy_with_a_wider_margin_is_the_same_picture() -> None:
    pictures = {"a": png(garment(1)), "wide": png(bordered(garment(1), 30)), "other": png(bordered(garment(2), 30))}
    scan, found = duplicates_of(pictures)
    assert grouped(scan, found) == [("nearly the same", ["a", "wide"])]


def test_a_mirrored_copy_is_named_as_such() -> None:
    picture = garment(11)
    pictures = {"a": png(picture), "turned": encoded(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), "JPEG")}
    scan, found = duplicates_of({**pictures, **{f"other{seed}": png(garment(seed)) for seed in range(20, 24)}})
    assert grouped(scan, found) == [("mirrored", ["a", "turned"])]
    assert len(found.groups[0].mirrored) == 1


def test_another_print_and_another_colour_are_other_pictures() -> None:
    pictures = {f"print{seed}": png(garment(seed)) for seed in range(30, 38)}
    pictures |= {f"hue{hue}": png(garment(30, colour=(hue, 120, 60))) for hue in (0, 60, 120, 180, 240)}
    scan, found = duplicates_of(pictures)
    assert grouped(scan, found) == []


def test_a_chain_of_small_changes_does_not_link_pictures_that_are_unlike() -> None:
    first, last = garment(40), garment(41, colour=(40, 60, 170))
    steps = {f"s{step:02}": png(Image.blend(first, last, step / 24)) for step in range(25)}
    scan, found = duplicates_of(steps)
    assert all("s00" not in ids or "s24" not in ids for _, ids in grouped(scan, found))
    assert max(len(ids) for _, ids in grouped(scan, found)) < 20


def test_one_picture_in_many_products_is_a_placeholder_and_a_blank_one_too() -> None:
    missing, blank = png(garment(50)), png(Image.new("RGB", (100, 100), "white"))
    pictures = {f"{kind}{number}": missing for kind in ("Hats", "Bags", "Tees") for number in range(3)}
    pictures |= {"x": blank, "y": blank}
    _, found = duplicates_of(pictures)
    by_size = {len(group.rows): group for group in found.groups}
    assert by_size[9].placeholder
    assert by_size[9].kind == "same file"
    assert (by_size[2].placeholder, by_size[2].oddity) == (True, "blank")


def test_variants_that_share_a_picture_are_no_fault() -> None:
    picture = png(garment(60))
    _, found = duplicates_of(
        {"s": picture, "m": picture, "l": picture},
        **{size: {"variant_of": "shirt"} for size in ("s", "m", "l")},
    )
    assert found.groups == ()
    assert found.variants == 1


def test_a_picture_that_cannot_be_read_costs_only_itself() -> None:
    picture = garment(70)
    shelf = Shelf()
    for product_id, data in {"a": png(picture), "b": encoded(picture, "JPEG", quality=80), "gone": b""}.items():
        shelf.add(product_id, unit(np.ones((1, 16)))[0], picture=data, articleType="Shirts")
    scan, _, _ = shelf.scan()
    files = {"a": png(picture), "b": encoded(picture, "JPEG", quality=80)}

    def signatures(rows: Sequence[int]) -> list[Signature | None]:
        read = [files.get(scan.ids[row]) for row in rows]
        return [None if data is None else signature(data, DEFAULT_LIMITS) for data in read]

    found = find_duplicates(scan, signatures)
    assert grouped(scan, found) == [("nearly the same", ["a", "b"])]
    fewest = find_duplicates(scan, lambda rows: [None] * len(rows), most_pictures=2)
    assert fewest.left_out == 2


def test_greyscale_and_blank_pictures_are_named() -> None:
    assert signature(png(garment(80)), DEFAULT_LIMITS).oddity is None
    assert signature(png(garment(80).convert("L").convert("RGB")), DEFAULT_LIMITS).oddity == "greyscale"
    assert signature(png(Image.new("RGB", (50, 50), (230, 230, 228))), DEFAULT_LIMITS).oddity == "blank"


def test_the_report_is_bounded_has_totals_and_is_what_the_page_shows() -> None:
    shelf = Shelf()
    centres = clusters(shelf, {"Shirts": 80, "Shoes": 80})
    shelf.add("wrong", centres["Shoes"], articleType="Shirts", name="A <b>shoe</b>", baseColour="red ")
    for number in range(6):
        shelf.add(f"copy{number}", centres["Shirts"], picture=b"one", articleType="Shirts", baseColour=f"C{number}")
    scan, tally, client = shelf.scan()
    duplicates = find_duplicates(scan, lambda rows: [None] * len(rows))
    suspects = find_suspects(scan.labels, scan.neighbours, scan.scores, (duplicates.of_row,))
    judged = [Judged(scan.ids.index("wrong"), "Shirts", "Shoes", 0.97, 0.95, 0.99)] * 3
    health = Health(scan, "articleType", suspects, judged, duplicates, find_outliers(scan.scores), {}, tally.health())
    payloads = read_payloads(client, "shop", DATASET, [scan.ids[row] for row in rows_shown(health, 2)])
    head = {"title": "Health of shop", "dataset": DATASET, "model": "m", "release_id": "m-0123456789"}
    document = json.loads(json.dumps(health_document(health, payloads, most=2, head=head, kinds=list(KINDS))))
    assert len(document["labels"]["suspects"]) == 2
    assert document["duplicates"]["groups"][0]["differing"]["baseColour"] == [f"C{number}" for number in range(6)] or (
        sorted(document["duplicates"]["groups"][0]["differing"]["baseColour"]) == [f"C{number}" for number in range(6)]
    )
    assert document["twins"]["groups"][0]["suggested"] == "Red"
    summary = health_summary(document)
    assert summary["duplicate_products"] == 6
    assert len(json.dumps(summary)) < 20_000
    view = health_view(document, home="/")
    assert view.suspects[0].item.href == "/products/wrong?dataset=shop"
    assert view.suspects[0].filtered == "/catalogue?dataset=shop&articleType=Shoes"
    assert len(view.groups[0].items) == 6
    assert view.twins[0].others[0][0] == "red "
    assert view.totals["duplicates"] == 1


@pytest.mark.parametrize("document", [{}, {"labels": 3, "duplicates": {"groups": [1, {"members": "x"}]}, "twins": []}])
def test_a_damaged_report_is_shown_as_far_as_it_can_be_read(document: dict[str, Any]) -> None:
    view = health_view(document, home="/")
    assert view.suspects == ()
    assert view.totals["labels"] == 0
