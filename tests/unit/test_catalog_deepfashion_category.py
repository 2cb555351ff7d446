"""The reader of DeepFashion category prediction: its layouts, its categories, and issues that lose at most one row."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.deepfashion import (
    BLOUSE,
    CATEGORIES,
    CATEGORY_PARTS,
    CATEGORY_ROWS,
    DRESS,
    TEE,
    category_benchmark,
    whole_category_benchmark,
    with_list,
    with_pictures,
)
from vitrine.catalogs import Catalog, Issue, read_catalog
from vitrine.products import check_product_id
from vitrine_local.picture_report import inspect_pictures

READER = "deepfashion-category"
ALL = (BLOUSE, TEE, DRESS)


def read(root: Path, *, limit: int | None = None) -> Catalog:
    catalog = read_catalog(READER, root, limit=limit)
    if limit is None:
        assert catalog.rows == len(catalog.products) + len(catalog.rejected())
    return catalog


def rewrite(root: Path, name: str, *lines: str | int) -> None:
    with_list(root, name, lines, ())


def ids(catalog: Catalog) -> list[str]:
    return [product.id for product in catalog.products]


def only_issue(catalog: Catalog) -> Issue:
    assert len(catalog.issues) == 1, catalog.issues
    return catalog.issues[0]


def test_every_picture_becomes_a_product(tmp_path: Path) -> None:
    catalog = read(whole_category_benchmark(tmp_path))
    assert catalog.issues == ()
    assert ids(catalog) == ["Sheer_Pleated-Front_Blouse--img_00000001", "Striped_Tee--img_00000007",
                            "Maxi_Dress--img_00000001"]  # fmt: skip
    blouse = catalog.products[0]
    assert (blouse.dataset, blouse.picture) == (READER, BLOUSE)
    assert blouse.attributes == {
        "masterCategory": "Apparel",
        "articleType": "Shirts",
        "category": "Blouse",
        "partition": "train",
        "name": "Sheer Pleated-Front Blouse",
    }
    assert [product.attributes["partition"] for product in catalog.products] == ["train", "val", "test"]
    assert inspect_pictures(catalog).usual_size == (24, 32)


@pytest.mark.parametrize("annotations", ["Anno_coarse", "Anno"])
@pytest.mark.parametrize("evaluation", ["Eval", "Anno_coarse", "Anno"])
@pytest.mark.parametrize("folder", ["", "Img/"])
def test_the_published_layouts_are_all_known(tmp_path: Path, annotations: str, evaluation: str, folder: str) -> None:
    category_benchmark(tmp_path, CATEGORY_ROWS, CATEGORY_PARTS, annotations=annotations, evaluation=evaluation)
    catalog = read(with_pictures(tmp_path, *(folder + path for path in ALL)))
    assert catalog.issues == ()
    assert catalog.products[0].picture == folder + BLOUSE
    assert catalog.picture_path(catalog.products[0]).is_file()


def test_full_size_pictures_are_used_if_there_are_no_others(tmp_path: Path) -> None:
    category_benchmark(tmp_path, CATEGORY_ROWS, CATEGORY_PARTS)
    high = BLOUSE.replace("img/", "Img/img_highres/", 1)
    with_pictures(tmp_path, high, f"Img/{TEE}", f"Img/{DRESS}")
    assert [product.picture for product in read(tmp_path).products] == [high, f"Img/{TEE}", f"Img/{DRESS}"]


@pytest.mark.parametrize(
    ("spelling", "article"),
    [("Button-Down", "Shirts"), ("button down", "Shirts"), ("BUTTON_DOWN", "Shirts"), ("jodhpurs", "Trousers")],
)
def test_the_spelling_of_a_category_does_not_matter(tmp_path: Path, spelling: str, article: str) -> None:
    whole_category_benchmark(tmp_path)
    head = (1, "category_name  category_type")
    rewrite(tmp_path, "Anno_coarse/list_category_cloth.txt", *head, f"{spelling}   2")
    rewrite(tmp_path, "Anno_coarse/list_category_img.txt", 1, "image_name  category_label", f"{TEE} 1")
    (product,) = read(tmp_path).products
    assert (product.attributes["category"], product.attributes["articleType"]) == (spelling, article)


def test_a_category_without_an_article_type_is_kept_and_reported(tmp_path: Path) -> None:
    category_benchmark(tmp_path, {BLOUSE: "2", DRESS: str(len(CATEGORIES))}, CATEGORY_PARTS)
    catalog = read(with_pictures(tmp_path, *ALL))
    assert catalog.products[1].attributes["category"] == "Ball Gown"
    assert "articleType" not in catalog.products[1].attributes
    assert only_issue(catalog) == Issue("Maxi_Dress--img_00000001", 4, "unknown_category", "'Ball Gown'")


@pytest.mark.parametrize("number", ["0", "6", "-1", "two", "٢", "9" * 30])
def test_a_number_outside_the_table_loses_only_the_category(tmp_path: Path, number: str) -> None:
    category_benchmark(tmp_path, {BLOUSE: number, TEE: "1"}, CATEGORY_PARTS)
    catalog = read(with_pictures(tmp_path, *ALL))
    assert {"articleType", "category"}.isdisjoint(catalog.products[0].attributes)
    issue = only_issue(catalog)
    assert (issue.line, issue.kind, issue.kept) == (3, "unknown_category", True)
    assert issue.detail.endswith("of 5 categories")


def test_a_row_with_a_missing_picture_is_skipped(tmp_path: Path) -> None:
    category_benchmark(tmp_path, CATEGORY_ROWS, CATEGORY_PARTS)
    catalog = read(with_pictures(tmp_path, BLOUSE, DRESS))
    assert len(catalog.products) == 2
    assert only_issue(catalog) == Issue("Striped_Tee--img_00000007", 4, "missing_picture", TEE)


def test_a_path_that_leaves_the_folder_is_never_followed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    outside = "img/../../secret/img_1.jpg"
    category_benchmark(root, {**CATEGORY_ROWS, outside: "1"}, {**CATEGORY_PARTS, outside: "train"})
    with_pictures(root, *ALL)
    with_pictures(tmp_path, "secret/img_1.jpg")
    issue = only_issue(read(root))
    assert (issue.kind, issue.line, issue.kept) == ("unsafe_picture", 6, False)


def test_a_short_line_keeps_its_picture(tmp_path: Path) -> None:
    category_benchmark(tmp_path, {BLOUSE: "", TEE: "1"}, CATEGORY_PARTS)
    catalog = read(with_pictures(tmp_path, *ALL))
    assert "category" not in catalog.products[0].attributes
    assert only_issue(catalog).kind == "short_row"
    assert (only_issue(catalog).line, only_issue(catalog).detail) == (3, "1 of 2 fields")


def test_a_repeated_path_counts_once(tmp_path: Path) -> None:
    whole_category_benchmark(tmp_path)
    rows = (f"{BLOUSE} 2", f"{TEE} 1", f"{BLOUSE} 3")
    rewrite(tmp_path, "Anno_coarse/list_category_img.txt", 3, "image_name  category_label", *rows)
    catalog = read(tmp_path)
    assert [product.attributes["category"] for product in catalog.products] == ["Blouse", "Tee"]
    assert (only_issue(catalog).kind, only_issue(catalog).line) == ("duplicate_id", 5)


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (f"{TEE} holdout", "unknown_partition"),
        (TEE, "short_row"),
        (f"{BLOUSE} train", "repeated_row"),
    ],
)
def test_an_invalid_partition_row_loses_no_product(tmp_path: Path, row: str, kind: str) -> None:
    whole_category_benchmark(tmp_path)
    rows = (f"{BLOUSE} train", f"{DRESS} test", row)
    rewrite(tmp_path, "Eval/list_eval_partition.txt", 3, "image_name  evaluation_status", *rows)
    catalog = read(tmp_path)
    assert [product.attributes.get("partition") for product in catalog.products] == ["train", None, "test"]
    reported = {issue.kind: issue for issue in catalog.issues}
    assert reported[kind].line == 5
    assert "list_eval_partition.txt" in reported[kind].detail
    assert reported[kind].kept


def test_a_picture_in_no_part_is_reported(tmp_path: Path) -> None:
    category_benchmark(tmp_path, CATEGORY_ROWS, {BLOUSE: "train", TEE: "val"})
    catalog = read(with_pictures(tmp_path, *ALL))
    assert "partition" not in catalog.products[2].attributes
    issue = only_issue(catalog)
    assert (issue.product_id, issue.kind) == ("Maxi_Dress--img_00000001", "empty_field")
    assert issue.detail.startswith("partition")


def test_an_id_is_never_too_long_and_always_unique(tmp_path: Path) -> None:
    long = "_".join(["Very"] * 48)  # a folder's name may have 255 bytes, an id 200 characters
    paths = [f"img/{long}/img_1.jpg", f"img/{long}/img_2.jpg", "img/A/b--c.jpg", "img/A--b/c.jpg", "img/A--b/c.png"]
    category_benchmark(tmp_path, dict.fromkeys(paths, "1"), dict.fromkeys(paths, "train"))
    with_pictures(tmp_path, *paths)
    first, second = ids(read(tmp_path)), ids(read(tmp_path))
    assert first == second
    assert len(set(first)) == 5
    assert [len(product_id) for product_id in first[:2]] == [200, 200]
    assert first[2] == "A--b--c"
    assert all(check_product_id(product_id) for product_id in first)


def test_the_limit_counts_products(tmp_path: Path) -> None:
    whole_category_benchmark(tmp_path)
    catalog = read(tmp_path, limit=2)
    assert (len(catalog.products), catalog.rows, catalog.issues) == (2, 2, ())
    assert read(tmp_path, limit=0).products == ()
