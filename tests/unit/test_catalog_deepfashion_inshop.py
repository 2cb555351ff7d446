"""The reader of DeepFashion in-shop retrieval: one product per picture, with its item."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.deepfashion import inshop_benchmark, with_list, with_pictures
from vitrine.catalogs import Catalog, Issue, read_catalog
from vitrine.errors import CatalogMalformed, CatalogNotFound

READER = "deepfashion-inshop"
FRONT = "img/WOMEN/Dresses/id_00000002/02_1_front.jpg"
BACK = "img/WOMEN/Dresses/id_00000002/02_4_full.jpg"
MAN = "img/MEN/Denim/id_00000080/01_2_side.jpg"
ROWS = (f"{FRONT}     id_00000002 query", f"{BACK}     id_00000002 gallery", f"{MAN}     id_00000080 train")
ITEMS = ("id_00000002", "id_00000080")


def read(root: Path, *, limit: int | None = None) -> Catalog:
    catalog = read_catalog(READER, root, limit=limit)
    if limit is None:
        assert catalog.rows == len(catalog.products) + len(catalog.rejected())
    return catalog


def read_rows(root: Path, *rows: str) -> Catalog:
    """The catalogue of these rows. All pictures exist."""
    with_pictures(root, *(row.split()[0] for row in rows))
    return read(inshop_benchmark(root, *rows))


def ids(catalog: Catalog) -> list[str]:
    return [product.id for product in catalog.products]


def only_issue(catalog: Catalog) -> Issue:
    assert len(catalog.issues) == 1, catalog.issues
    return catalog.issues[0]


@pytest.mark.parametrize("folder", ["", "Img/"])
@pytest.mark.parametrize("evaluation", ["Eval", "Anno"])
def test_every_picture_is_a_product_with_its_item(tmp_path: Path, folder: str, evaluation: str) -> None:
    inshop_benchmark(tmp_path, *ROWS, items=ITEMS, evaluation=evaluation)
    catalog = read(with_pictures(tmp_path, *(folder + path for path in (FRONT, BACK, MAN))))
    assert catalog.issues == ()
    assert ids(catalog) == ["id_00000002--02_1_front", "id_00000002--02_4_full", "id_00000080--01_2_side"]
    front, _, man = catalog.products
    assert front.picture == folder + FRONT
    assert front.attributes == {
        "gender": "Women",
        "masterCategory": "Apparel",
        "articleType": "Dresses",
        "category": "Dresses",
        "itemId": "id_00000002",
        "view": "front",
        "partition": "query",
    }
    assert (man.attributes["gender"], man.attributes["articleType"]) == ("Men", "Jeans")
    assert [product.attributes["partition"] for product in catalog.products] == ["query", "gallery", "train"]


def test_full_size_pictures_are_used_if_there_are_no_others(tmp_path: Path) -> None:
    high = FRONT.replace("img/", "Img/img_highres/", 1)
    inshop_benchmark(tmp_path, ROWS[0])
    assert read(with_pictures(tmp_path, high)).products[0].picture == high


@pytest.mark.parametrize(
    ("category", "article"),
    [
        ("Tees_Tanks", "Tshirts"),
        ("Graphic_Tees", "Tshirts"),
        ("Blouses_Shirts", "Shirts"),
        ("Jackets_Vests", "Jackets"),
        ("Rompers_Jumpsuits", "Jumpsuit"),
        ("Pants", "Trousers"),
        ("Suiting", None),
    ],
)
def test_a_category_maps_to_an_article_type_if_one_matches(tmp_path: Path, category: str, article: str | None) -> None:
    catalog = read_rows(tmp_path, f"img/MEN/{category}/id_1/01_1_front.jpg id_1 train")
    assert catalog.issues == ()
    (product,) = catalog.products
    assert (product.attributes["category"], product.attributes.get("articleType")) == (category, article)


@pytest.mark.parametrize(
    ("name", "view"),
    [
        ("01_1_front", "front"),
        ("02_3_back", "back"),
        ("03_7_additional", "additional"),
        ("06_flat", "flat"),
        ("1", None),
    ],
)
def test_the_view_is_read_from_the_file_name(tmp_path: Path, name: str, view: str | None) -> None:
    catalog = read_rows(tmp_path, f"img/MEN/Pants/id_1/{name}.jpg id_1 train")
    assert catalog.products[0].attributes.get("view") == view


def test_a_category_missing_from_the_table_is_kept_and_reported(tmp_path: Path) -> None:
    catalog = read_rows(tmp_path, "img/WOMEN/Swimwear/id_1/01_1_front.jpg id_1 train")
    assert catalog.products[0].attributes["category"] == "Swimwear"
    assert only_issue(catalog) == Issue("id_1--01_1_front", 3, "unknown_category", "'Swimwear'")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("img/Dresses/id_1/01_1_front.jpg id_1 train", "not img/GENDER"),
        ("img/KIDS/Dresses/id_1/01_1_front.jpg id_1 train", "'KIDS' is not a gender"),
        ("img/MEN/Pants/id_1/01_1_front.jpg id_2 train", "the folder is 'id_1', the item 'id_2'"),
        ("01_1_front.jpg id_1 train", "not img/GENDER"),
    ],
)
def test_an_incomplete_path_loses_only_the_missing_attribute(tmp_path: Path, row: str, message: str) -> None:
    with_pictures(tmp_path, "img/" + row.split()[0].removeprefix("img/"))
    catalog = read(inshop_benchmark(tmp_path, row))
    (product,) = catalog.products
    assert product.attributes["itemId"] == row.split()[1]
    assert {issue.kind for issue in catalog.issues} == {"unusual_path"}
    assert message in catalog.issues[0].detail
    assert all(issue.kept for issue in catalog.issues)


def test_a_missing_picture_a_short_line_and_an_unknown_part_are_reported(tmp_path: Path) -> None:
    rows = (
        ROWS[0],
        f"{BACK} id_00000002",
        f"{MAN} id_00000080 holdout",
        "img/MEN/Pants/id_9/01_1_front.jpg id_9 train",
        "img/MEN/Pants/id_8/01_1_front.jpg",
    )
    with_pictures(tmp_path, FRONT, BACK, MAN, "img/MEN/Pants/id_8/01_1_front.jpg")
    catalog = read(inshop_benchmark(tmp_path, *rows))
    assert [(issue.product_id, issue.line, issue.kind) for issue in catalog.issues] == [
        ("id_00000002--02_4_full", 4, "short_row"),
        ("id_00000080--01_2_side", 5, "unknown_partition"),
        ("id_9--01_1_front", 6, "missing_picture"),
        ("id_8--01_1_front", 7, "short_row"),
    ]
    assert ["partition" in product.attributes for product in catalog.products] == [True, False, False, False]
    assert "itemId" not in catalog.products[3].attributes


def test_a_repeated_picture_counts_once(tmp_path: Path) -> None:
    catalog = read_rows(tmp_path, *ROWS, f"{FRONT} id_00000002 gallery")
    assert [product.attributes["partition"] for product in catalog.products] == ["query", "gallery", "train"]
    assert only_issue(catalog) == Issue("id_00000002--02_1_front", 6, "duplicate_id", "the first row is used")


def test_one_item_in_two_categories_gives_two_ids(tmp_path: Path) -> None:
    other = FRONT.replace("Dresses", "Skirts")
    catalog = read_rows(tmp_path, ROWS[0], f"{other} id_00000002 gallery")
    first, second = ids(catalog)
    assert first == "id_00000002--02_1_front"
    assert second.startswith(f"{first[:-1]}")
    assert len({first, second}) == 2
    assert catalog.issues == ()


def test_an_item_missing_from_the_list_of_items_is_reported_once(tmp_path: Path) -> None:
    inshop_benchmark(tmp_path, *ROWS, items=["id_00000080"])
    catalog = read(with_pictures(tmp_path, FRONT, BACK, MAN))
    assert len(catalog.products) == 3
    issue = only_issue(catalog)
    assert (issue.product_id, issue.line, issue.kind) == ("id_00000002--02_1_front", 3, "unlisted_item")


@pytest.mark.parametrize("head", [[7_982], []])
def test_a_wrong_count_in_the_list_of_items_is_reported(tmp_path: Path, head: list[str | int]) -> None:
    inshop_benchmark(tmp_path, *ROWS)
    with_list(tmp_path, "Anno/list_item_inshop.txt", head, ITEMS)
    issue = only_issue(read(with_pictures(tmp_path, FRONT, BACK, MAN)))
    assert (issue.kind, issue.line) == ("wrong_count", 1)
    assert issue.detail.startswith("list_item_inshop.txt")


def test_a_wrong_count_of_pictures_is_reported_unless_a_limit_ends_the_reading(tmp_path: Path) -> None:
    file = inshop_benchmark(with_pictures(tmp_path, FRONT, BACK, MAN), *ROWS) / "Eval" / "list_eval_partition.txt"
    file.write_text(file.read_text().replace("3\n", "52712\n", 1))
    issue = only_issue(read(tmp_path))
    assert (issue.kind, issue.detail) == (
        "wrong_count",
        "list_eval_partition.txt: the first line states 52712 rows, there are 3",
    )
    limited = read(tmp_path, limit=2)
    assert (len(limited.products), limited.issues) == (2, ())


def test_line_endings_and_extra_blanks_change_nothing(tmp_path: Path) -> None:
    inshop_benchmark(with_pictures(tmp_path, FRONT, BACK, MAN), *ROWS, items=ITEMS)
    expected = read(tmp_path)
    for file in (tmp_path / "Eval" / "list_eval_partition.txt", tmp_path / "Anno" / "list_item_inshop.txt"):
        file.write_bytes(b"\r\n".join(b"  " + line.replace(b" ", b" \t ") for line in file.read_bytes().splitlines()))
    assert read(tmp_path) == expected


def test_a_missing_list_or_one_of_the_other_benchmark_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(CatalogNotFound, match=r"Eval/list_eval_partition.txt or Anno/list_eval_partition.txt"):
        read(tmp_path)
    with_list(tmp_path, "Eval/list_eval_partition.txt", [1, "image_name evaluation_status"], [f"{FRONT} train"])
    with pytest.raises(CatalogMalformed, match="needs the line 'image_name item_id evaluation_status'"):
        read(tmp_path)
