"""The list files of a DeepFashion benchmark, valid and damaged, read by the category prediction reader."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.deepfashion import BLOUSE, category_benchmark, whole_category_benchmark, with_list, with_pictures
from vitrine.catalogs import Catalog, Issue, read_catalog
from vitrine.errors import CatalogError, CatalogMalformed, CatalogNotFound, CatalogRootRefused


def read(root: Path) -> Catalog:
    catalog = read_catalog("deepfashion-category", root)
    assert catalog.rows == len(catalog.products) + len(catalog.rejected())
    return catalog


def only_issue(catalog: Catalog) -> Issue:
    assert len(catalog.issues) == 1, catalog.issues
    return catalog.issues[0]


@pytest.mark.parametrize("name", ["list_category_img.txt", "list_category_cloth.txt"])
@pytest.mark.parametrize(
    ("first", "message"), [("289222", "states 289222 rows"), ("many", "does not state"), ("-3", "does")]
)
def test_a_wrong_count_is_reported_once(tmp_path: Path, name: str, first: str, message: str) -> None:
    file = whole_category_benchmark(tmp_path) / "Anno_coarse" / name
    file.write_text(first + "\n" + file.read_text().split("\n", 1)[1])
    issue = only_issue(read(tmp_path))
    assert (issue.kind, issue.line, issue.product_id) == ("wrong_count", 1, None)
    assert issue.detail.startswith(f"{name}: the first line {message}")


def test_a_list_without_the_line_of_its_count_is_read(tmp_path: Path) -> None:
    file = whole_category_benchmark(tmp_path) / "Eval" / "list_eval_partition.txt"
    file.write_text(file.read_text().split("\n", 1)[1])
    catalog = read(tmp_path)
    assert only_issue(catalog).kind == "wrong_count"
    assert all("partition" in product.attributes for product in catalog.products)


def test_line_endings_blanks_and_a_byte_order_mark_change_nothing(tmp_path: Path) -> None:
    expected = [product.attributes for product in read(whole_category_benchmark(tmp_path)).products]
    for name in ("list_category_cloth.txt", "list_category_img.txt"):
        file = tmp_path / "Anno_coarse" / name
        spread = "\n".join(f" \t{line}\t  " for line in file.read_text().splitlines())
        file.write_bytes(b"\xef\xbb\xbf" + f"{spread}\n\n  \n".replace("\n", "\r\n").encode())
    partition = tmp_path / "Eval" / "list_eval_partition.txt"
    partition.write_bytes(partition.read_bytes().replace(b"\n", b"\r\n"))
    catalog = read(tmp_path)
    assert catalog.issues == ()
    assert [product.attributes for product in catalog.products] == expected


def test_a_path_may_contain_blanks(tmp_path: Path) -> None:
    path = "img/Striped Tee/img 1.jpg"
    category_benchmark(tmp_path, {path: "1"}, {path: "train"})
    (product,) = read(with_pictures(tmp_path, path)).products
    assert (product.id, product.picture) == ("Striped Tee--img 1", path)
    assert product.attributes["partition"] == "train"


def test_a_row_of_another_encoding_is_read_and_reported(tmp_path: Path) -> None:
    whole_category_benchmark(tmp_path)
    path = "img/Plissé_Blouse/img_1.jpg"
    with_pictures(tmp_path, path)
    for name, row in (
        ("Anno_coarse/list_category_img.txt", f"{path} 2"),
        ("Eval/list_eval_partition.txt", f"{path} val"),
    ):
        lines = (tmp_path / name).read_text().splitlines()
        lines[0] = str(len(lines) - 1)
        (tmp_path / name).write_bytes("\n".join(lines).encode() + b"\n" + row.encode("cp1252") + b"\n")
    catalog = read(tmp_path)
    assert catalog.products[-1].attributes["name"] == "Plissé Blouse"
    assert catalog.products[-1].attributes["partition"] == "val"
    assert (only_issue(catalog).kind, only_issue(catalog).line) == ("bad_encoding", 6)


def test_a_row_far_too_long_is_skipped(tmp_path: Path) -> None:
    whole_category_benchmark(tmp_path)
    rows = (f"{BLOUSE} 2", f"img/{'x' * 20_000}/img_1.jpg 2")
    with_list(tmp_path, "Anno_coarse/list_category_img.txt", [2, "image_name  category_label"], rows)
    issue = only_issue(read(tmp_path))
    assert (issue.kind, issue.line, issue.kept) == ("unreadable_row", 4, False)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Anno_coarse/list_category_cloth.txt", "no list_category_cloth.txt below .* Anno_coarse/.* or Anno/"),
        ("Anno_coarse/list_category_img.txt", "no list_category_img.txt"),
        ("Eval/list_eval_partition.txt", "no list_eval_partition.txt below .*Eval/"),
    ],
)
def test_a_missing_list_is_named_with_its_places(tmp_path: Path, name: str, message: str) -> None:
    (whole_category_benchmark(tmp_path) / name).unlink()
    with pytest.raises(CatalogNotFound, match=message):
        read(tmp_path)


@pytest.mark.parametrize("text", ["3\n", "3\nimg/Striped_Tee/img_1.jpg 1\n", "3\nimage_name item_id category_label\n"])
def test_a_list_without_its_header_is_malformed(tmp_path: Path, text: str) -> None:
    (whole_category_benchmark(tmp_path) / "Anno_coarse" / "list_category_img.txt").write_text(text)
    with pytest.raises(CatalogMalformed, match="needs the line 'image_name category_label'"):
        read(tmp_path)


def test_an_empty_list_and_one_without_a_usable_row_are_malformed(tmp_path: Path) -> None:
    file = whole_category_benchmark(tmp_path) / "Anno_coarse" / "list_category_img.txt"
    file.write_text("3\nimage_name  category_label\nimg/Gone/img_1.jpg 1\n")
    with pytest.raises(CatalogMalformed, match="no usable product"):
        read(tmp_path)
    file.write_text("\n \n")
    with pytest.raises(CatalogMalformed, match="empty"):
        read(tmp_path)


def test_a_list_that_links_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    root = whole_category_benchmark(tmp_path / "root")
    file = root / "Anno_coarse" / "list_category_img.txt"
    file.rename(tmp_path / "elsewhere.txt")
    file.symlink_to(tmp_path / "elsewhere.txt")
    with pytest.raises(CatalogRootRefused, match="link out"):
        read(root)


PIECES = [b"img/Striped_Tee/img_00000007.jpg", b"img/", b"../", b" ", b"\t", b"\n", b"\r\n", b"1", b"9", b"\xff", b"\0",
          b"\xc2\xa0", b"train", "ß".encode(), b"x" * 12_000]  # fmt: skip


@settings(max_examples=200, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(["Anno_coarse/list_category_img.txt", "Eval/list_eval_partition.txt",
                     "Anno_coarse/list_category_cloth.txt"]),
    st.booleans(),
    st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join),
)  # fmt: skip
def test_any_list_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, has_head: bool, body: bytes
) -> None:
    root = whole_category_benchmark(tmp_path_factory.getbasetemp() / "any-list")
    file = root / name
    head = b"".join(file.read_bytes().splitlines(keepends=True)[:2])
    file.write_bytes(head + body if has_head else body)
    try:
        catalog = read(root)
    except CatalogError:
        return
    assert len({product.id for product in catalog.products}) == len(catalog.products)
    assert all(catalog.picture_path(product).is_relative_to(root.resolve()) for product in catalog.products)
