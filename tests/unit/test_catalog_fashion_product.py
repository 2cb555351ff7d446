"""The reader of the Fashion Product layout. Each issue is reported by id and loses at most its own row."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from vitrine.catalogs import Catalog, Issue, read_catalog
from vitrine.errors import CatalogMalformed, CatalogNotFound, CatalogRootRefused, ParameterInvalid, PictureNotFound
from vitrine_local.picture_report import inspect_pictures

HEADER = "id,gender,masterCategory,subCategory,articleType,baseColour,season,year,usage,productDisplayName"
GOOD = "1,Men,Apparel,Topwear,Shirts,Navy Blue,Fall,2011,Casual,Turtle Check Men Navy Blue Shirt"


def row(product_id: str, *, year: str = "2012", name: str = "A plain shirt") -> str:
    return f"{product_id},Men,Apparel,Topwear,Shirts,Blue,Summer,{year},Casual,{name}"


def jpeg(*, size: tuple[int, int] = (60, 80), mode: str = "RGB") -> bytes:
    with io.BytesIO() as file:
        Image.new(mode, size, 100 if mode == "L" else (90, 20, 30)).save(file, "JPEG")
        return file.getvalue()


def written(root: Path, csv: str | bytes, *pictures: str) -> Path:
    """A catalogue folder with this CSV and one picture for each id."""
    (root / "images").mkdir(exist_ok=True)
    (root / "styles.csv").write_bytes(csv if isinstance(csv, bytes) else csv.encode())
    for product_id in pictures:
        (root / "images" / f"{product_id}.jpg").write_bytes(jpeg())
    return root


def read(root: Path, *rows: str, pictures: tuple[str, ...] = ("1", "2", "3")) -> Catalog:
    catalog = read_catalog("fashion-product", written(root, "\n".join([HEADER, *rows]) + "\n", *pictures))
    assert catalog.rows == len(catalog.products) + len(catalog.rejected())
    return catalog


def ids(catalog: Catalog) -> list[str]:
    return [product.id for product in catalog.products]


def only_issue(catalog: Catalog) -> Issue:
    assert len(catalog.issues) == 1, catalog.issues
    return catalog.issues[0]


def test_a_good_row_becomes_a_product_with_its_attributes(tmp_path: Path) -> None:
    catalog = read(tmp_path, GOOD)
    assert catalog.issues == ()
    (product,) = catalog.products
    assert (product.dataset, product.id, product.picture) == ("fashion-product", "1", "images/1.jpg")
    assert product.attributes == {
        "gender": "Men",
        "masterCategory": "Apparel",
        "subCategory": "Topwear",
        "articleType": "Shirts",
        "baseColour": "Navy Blue",
        "season": "Fall",
        "year": 2011,
        "usage": "Casual",
        "name": "Turtle Check Men Navy Blue Shirt",
    }
    assert product.payload()["genderArticleType"] == "Men|Shirts"
    assert catalog.picture_path(product) == tmp_path.resolve() / "images" / "1.jpg"


def test_a_row_without_a_picture_is_skipped_and_reported(tmp_path: Path) -> None:
    catalog = read(tmp_path, row("1"), row("77"), row("2"))
    assert ids(catalog) == ["1", "2"]
    assert only_issue(catalog) == Issue("77", 3, "missing_picture", "images/77.jpg")


@pytest.mark.parametrize("name", ["Shirt, slim", "Shirt, slim, blue", "Shirt,,", 'Shirt 5" long, slim'])
def test_unquoted_commas_in_the_name_are_joined_again(tmp_path: Path, name: str) -> None:
    catalog = read(tmp_path, row("1", name=name), row("2"))
    assert ids(catalog) == ["1", "2"]
    assert catalog.products[0].attributes["name"] == name.strip()
    issue = only_issue(catalog)
    assert (issue.product_id, issue.line, issue.kind, issue.kept) == ("1", 2, "malformed_row", True)


def test_a_quoted_name_with_commas_is_not_an_issue(tmp_path: Path) -> None:
    catalog = read(tmp_path, row("1", name='"Shirt, ""slim"", blue"'))
    assert catalog.issues == ()
    assert catalog.products[0].attributes["name"] == 'Shirt, "slim", blue'


def test_an_unclosed_quote_loses_no_other_row(tmp_path: Path) -> None:
    catalog = read(tmp_path, row("1", name='"Shirt'), *(row("2") for _ in range(1)), row("3"))
    assert ids(catalog) == ["1", "2", "3"]
    assert catalog.products[0].attributes["name"] == '"Shirt'


def test_a_quoted_name_may_span_two_lines(tmp_path: Path) -> None:
    catalog = read(tmp_path, row("1", name='"Shirt\nslim"'), row("2"), row("99"))
    assert ids(catalog) == ["1", "2"]
    assert catalog.products[0].attributes["name"] == "Shirt\nslim"
    assert only_issue(catalog).line == 5


def test_the_first_of_two_rows_with_one_id_is_used(tmp_path: Path) -> None:
    catalog = read(tmp_path, row("1", name="first"), row("2"), row("1", name="second"))
    assert ids(catalog) == ["1", "2"]
    assert catalog.products[0].attributes["name"] == "first"
    issue = only_issue(catalog)
    assert (issue.product_id, issue.line, issue.kind, issue.kept) == ("1", 4, "duplicate_id", False)


@pytest.mark.parametrize("year", ["soon", "20x4", "-5", "99999", "2014.5"])
def test_an_invalid_year_is_left_out(tmp_path: Path, year: str) -> None:
    catalog = read(tmp_path, row("1", year=year))
    assert "year" not in catalog.products[0].attributes
    assert (only_issue(catalog).kind, only_issue(catalog).product_id) == ("bad_year", "1")


def test_a_year_changed_by_a_spreadsheet_is_repaired(tmp_path: Path) -> None:
    catalog = read(tmp_path, row("1", year="2014.0"))
    year = catalog.products[0].attributes["year"]
    assert (year, type(year)) == (2014, int)
    assert only_issue(catalog).kind == "repaired_year"


@pytest.mark.parametrize("nothing", ["", "NA", "N/A", "  ", "nan", "NULL"])
def test_an_empty_field_is_missing_and_reported(tmp_path: Path, nothing: str) -> None:
    catalog = read(tmp_path, row("1", name=nothing, year=nothing))
    assert {"name", "year"}.isdisjoint(catalog.products[0].attributes)
    assert only_issue(catalog) == Issue("1", 2, "empty_field", "year, productDisplayName")


def test_a_row_that_is_too_short_keeps_its_fields(tmp_path: Path) -> None:
    catalog = read(tmp_path, "1,Men,Apparel", row("2"))
    assert catalog.products[0].attributes == {"gender": "Men", "masterCategory": "Apparel"}
    assert (only_issue(catalog).kind, only_issue(catalog).detail) == ("short_row", "3 of 10 fields")


@pytest.mark.parametrize("bad", ["", "a/./b", "..", "../1", "a\\..\\b", "x" * 201, "tab\there"])
def test_a_row_with_an_invalid_id_is_skipped(tmp_path: Path, bad: str) -> None:
    catalog = read(tmp_path, row(bad), row("1"))
    assert ids(catalog) == ["1"]
    assert (only_issue(catalog).kind, only_issue(catalog).line) == ("bad_id", 2)


def test_blank_lines_are_skipped_and_line_numbers_stay_right(tmp_path: Path) -> None:
    catalog = read(tmp_path, "", row("1"), "", "   ", row("88"))
    assert (ids(catalog), catalog.rows, only_issue(catalog).line) == (["1"], 2, 6)


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_byte_order_mark_and_line_endings_change_nothing(tmp_path: Path, ending: str, mark: bytes) -> None:
    csv = mark + ending.join([HEADER, GOOD, row("2", name="Größe"), ""]).encode()
    catalog = read_catalog("fashion-product", written(tmp_path, csv, "1", "2"))
    assert catalog.issues == ()
    assert [product.attributes["name"] for product in catalog.products] == [GOOD.rsplit(",", 1)[1], "Größe"]


def test_utf_16_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    csv = f"{HEADER}\r\n{row('1', name='Größe')}\r\n".encode("utf-16")
    catalog = read_catalog("fashion-product", written(tmp_path, csv, "1"))
    assert catalog.products[0].attributes["name"] == "Größe"


def test_a_row_of_another_encoding_is_read_and_reported(tmp_path: Path) -> None:
    csv = f"{HEADER}\n{row('1', name='Größe')}\n".encode("cp1252") + row("2", name="Größe").encode()
    catalog = read_catalog("fashion-product", written(tmp_path, csv, "1", "2"))
    assert [product.attributes["name"] for product in catalog.products] == ["Größe", "Größe"]
    assert (only_issue(catalog).product_id, only_issue(catalog).kind) == ("1", "bad_encoding")


def test_missing_and_unknown_columns_are_reported(tmp_path: Path) -> None:
    written(tmp_path, "articleType,id,price\nShirts,1,12\n", "1")
    catalog = read_catalog("fashion-product", tmp_path)
    assert catalog.products[0].attributes == {"articleType": "Shirts"}
    counts = catalog.issue_counts()
    assert counts == {"missing_column": 8, "unknown_column": 1}
    assert {issue.detail for issue in catalog.issues} >= {"gender", "productDisplayName", "price"}
    assert all(issue.kept for issue in catalog.issues)


@pytest.mark.parametrize(
    ("csv", "message"),
    [("", "empty"), ("\n\n", "empty"), ("gender,year\nMen,2012\n", "no column 'id'"), (HEADER, "0 rows")],
)
def test_a_file_without_a_usable_header_or_row_is_malformed(tmp_path: Path, csv: str, message: str) -> None:
    with pytest.raises(CatalogMalformed, match=message):
        read_catalog("fashion-product", written(tmp_path, csv))


def test_a_file_without_any_usable_row_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(CatalogMalformed, match=r"2 rows and no usable product \(2 missing_picture"):
        read(tmp_path, row("8"), row("9"))


def test_a_folder_without_the_csv_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(CatalogNotFound, match=r"styles\.csv"):
        read_catalog("fashion-product", tmp_path)
    with pytest.raises(CatalogNotFound, match="no catalogue folder"):
        read_catalog("fashion-product", tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(CatalogNotFound, match="not a folder"):
        read_catalog("fashion-product", tmp_path / "file")


def test_a_csv_that_links_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret.csv").write_text(f"{HEADER}\n{GOOD}\n")
    (inside / "styles.csv").symlink_to(tmp_path / "secret.csv")
    with pytest.raises(CatalogRootRefused):
        read_catalog("fashion-product", inside)


def test_a_picture_that_is_not_a_file_inside_the_folder_is_unsafe(tmp_path: Path) -> None:
    root = tmp_path / "catalogue"
    root.mkdir()
    (tmp_path / "secret.jpg").write_bytes(jpeg())
    written(root, "")
    (root / "images" / "1.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "images" / "2.jpg").mkdir()
    (root / "images" / "4.jpg").symlink_to("5.jpg")
    (root / "images" / "6.jpg").symlink_to("nowhere.jpg")
    catalog = read(root, *(row(number) for number in "123456"), pictures=("3", "5"))
    assert ids(catalog) == ["3", "4", "5"]
    kinds = {issue.product_id: issue.kind for issue in catalog.issues}
    assert kinds == {"1": "unsafe_picture", "2": "unsafe_picture", "6": "missing_picture"}


def test_a_picture_folder_that_links_out_of_the_catalogue_is_unsafe(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "catalogue", tmp_path / "elsewhere"
    root.mkdir()
    elsewhere.mkdir()
    (elsewhere / "1.jpg").write_bytes(jpeg())
    (root / "images").symlink_to(elsewhere)
    (root / "styles.csv").write_text(f"{HEADER}\n{GOOD}\n")
    with pytest.raises(CatalogMalformed, match="1 unsafe_picture"):
        read_catalog("fashion-product", root)


def test_a_picture_that_is_later_moved_outside_is_refused_on_request(tmp_path: Path) -> None:
    root = tmp_path / "catalogue"
    root.mkdir()
    (tmp_path / "secret.jpg").write_bytes(jpeg())
    catalog = read(root, row("1"), row("2"))
    (root / "images" / "1.jpg").unlink()
    with pytest.raises(PictureNotFound):
        catalog.picture_path(catalog.products[0])
    (root / "images" / "1.jpg").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(CatalogRootRefused):
        catalog.picture_path(catalog.products[0])


@pytest.mark.parametrize("suffix", [".jpeg", ".JPG", ".png", ".webp"])
def test_pictures_may_have_other_endings(tmp_path: Path, suffix: str) -> None:
    written(tmp_path, "")
    (tmp_path / "images" / f"1{suffix}").touch()
    assert read(tmp_path, GOOD, pictures=()).products[0].picture == f"images/1{suffix}"


def test_the_limit_counts_products_and_takes_the_first(tmp_path: Path) -> None:
    written(tmp_path, "\n".join([HEADER, row("99"), row("1"), row("2"), row("3")]), "1", "2", "3")
    catalog = read_catalog("fashion-product", tmp_path, limit=2)
    assert (ids(catalog), catalog.rows) == (["1", "2"], 3)
    assert read_catalog("fashion-product", tmp_path, limit=0).products == ()
    with pytest.raises(ParameterInvalid, match="limit"):
        read_catalog("fashion-product", tmp_path, limit=-1)


def test_the_dataset_may_have_another_name_than_the_reader(tmp_path: Path) -> None:
    written(tmp_path, f"{HEADER}\n{GOOD}", "1")
    catalog = read_catalog("fashion-product", tmp_path, dataset="winter-sale")
    assert (catalog.dataset, catalog.reader) == ("winter-sale", "fashion-product")
    assert catalog.products[0].dataset == "winter-sale"
    with pytest.raises(ParameterInvalid, match="dataset name"):
        read_catalog("fashion-product", tmp_path, dataset="winter--sale")
    with pytest.raises(ParameterInvalid, match="no catalogue reader"):
        read_catalog("photos", tmp_path)


def test_the_attributes_are_counted(tmp_path: Path) -> None:
    counts = read(tmp_path, row("1"), row("2"), row("3", year="2013")).attribute_counts()
    assert counts["year"] == {2012: 2, 2013: 1}
    assert counts["articleType"] == {"Shirts": 3}


def test_inspecting_the_pictures_reports_grey_unusual_and_damaged_ones(tmp_path: Path) -> None:
    catalog = read(tmp_path, *(row(number) for number in "1234567"), pictures=tuple("1234567"))
    images = tmp_path / "images"
    (images / "2.jpg").write_bytes(jpeg(mode="L"))
    (images / "3.jpg").write_bytes(jpeg(size=(80, 60)))
    (images / "4.jpg").write_bytes(jpeg()[:300])
    (images / "5.jpg").write_bytes(b"no picture")
    (images / "6.jpg").unlink()
    done: list[int] = []
    report = inspect_pictures(catalog, progress=done.append)
    assert (report.checked, report.usual_size, done) == (7, (60, 80), [1, 2, 3, 4, 5, 6, 7])
    assert report.greyscale == ("2",)
    assert report.odd_size == (("3", (80, 60)),)
    assert report.rejected == (("4", "truncated"), ("5", "format_unsupported"), ("6", "missing_picture"))
