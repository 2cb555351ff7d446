"""The reader of any folder of pictures with one CSV: which file and columns are used, and how fields are parsed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vitrine.catalogs import Catalog, Issue, read_catalog, reader_for
from vitrine.errors import CatalogError, CatalogMalformed, CatalogNotFound, CatalogRootRefused
from vitrine.products import check_attribute_name


def written(root: Path, csv: str, *pictures: str, name: str = "products.csv") -> Path:
    root.mkdir(exist_ok=True)
    (root / name).write_text(csv)
    for picture in pictures:
        path = root / picture
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def read(root: Path, csv: str, *pictures: str) -> Catalog:
    catalog = read_catalog("folder", written(root, csv, *pictures))
    assert catalog.rows == len(catalog.products) + len(catalog.rejected())
    return catalog


def found(catalog: Catalog) -> dict[str, str]:
    return {product.id: product.picture for product in catalog.products}


def test_the_columns_become_attributes(tmp_path: Path) -> None:
    catalog = read(tmp_path, "id,image,brand,fabric\n7,a.jpg,Maru,wool\n8,b.png,,silk\n", "a.jpg", "b.png")
    assert found(catalog) == {"7": "a.jpg", "8": "b.png"}
    assert catalog.products[0].attributes == {"brand": "Maru", "fabric": "wool"}
    assert catalog.products[1].attributes == {"fabric": "silk"}
    assert catalog.issues == (Issue("8", 3, "empty_field", "brand"),)


def test_each_column_has_one_type(tmp_path: Path) -> None:
    csv = (
        "id,stock,price,code,mixed,size,nothing\n"
        "1,5,19,007,12,38,\n"
        "2,-3,24.50,008,many,38,NA\n"
        "3,,1e2,009,3,38,\n"
    )  # fmt: skip
    first, second, third = read(tmp_path, csv, "1.jpg", "2.jpg", "3.jpg").products
    assert first.attributes == {"stock": 5, "price": 19.0, "code": "007", "mixed": "12", "size": 38}
    assert second.attributes == {"stock": -3, "price": 24.5, "code": "008", "mixed": "many", "size": 38}
    assert third.attributes == {"price": 100.0, "code": "009", "mixed": "3", "size": 38}
    assert [type(first.attributes[name]) for name in ("stock", "price", "mixed")] == [int, float, str]


def test_a_column_keeps_its_type_under_a_limit(tmp_path: Path) -> None:
    root = written(tmp_path, "id,price\n1,19\n2,24.5\n", "1.jpg", "2.jpg")
    (product,) = read_catalog("folder", root, limit=1).products
    assert isinstance(product.attributes["price"], float)


def test_a_row_that_cannot_be_read_does_not_change_a_type(tmp_path: Path) -> None:
    catalog = read(tmp_path, "id,price,stock\n1,19,5\n2,a,b,c,d\n", "1.jpg", "2.jpg")
    assert catalog.products[0].attributes == {"price": 19, "stock": 5}
    assert [(issue.line, issue.kind) for issue in catalog.issues] == [(3, "unreadable_row")]


@pytest.mark.parametrize("text", ["1" * 30, "1e999", "0x10", "1_000", "١٢", "inf", "12 "])
def test_unusual_numbers_are_handled(tmp_path: Path, text: str) -> None:
    (product,) = read(tmp_path, f"id,amount\n1,{text}\n", "1.jpg").products
    amount = product.attributes["amount"]
    assert amount in {text, 12, float("1" * 30)}


def test_the_standard_attributes_keep_their_types(tmp_path: Path) -> None:
    csv = "id,Year,Gender,SEASON,productDisplayName\n1,2014.0,1,2,33\n2,soon,1,2,34\n"
    catalog = read(tmp_path, csv, "1.jpg", "2.jpg")
    assert catalog.products[0].attributes == {"year": 2014, "gender": "1", "season": "2", "name": "33"}
    assert "year" not in catalog.products[1].attributes
    assert [issue.kind for issue in catalog.issues] == ["renamed_column"] * 4 + ["bad_year"]


def test_a_column_whose_name_cannot_be_an_attribute_is_renamed(tmp_path: Path) -> None:
    catalog = read(tmp_path, "id,price (EUR),2nd colour,score,größe,,price-eur\n1,5,red,9,XL,x,6\n", "1.jpg")
    attributes = catalog.products[0].attributes
    assert len(attributes) == 6
    assert attributes["score_"] == 9
    assert attributes["c_2nd_colour"] == "red"
    assert {attributes["price_EUR"], attributes["price_eur"]} == {5, 6}
    for name in attributes:
        check_attribute_name(name)
    assert {issue.kind for issue in catalog.issues} == {"renamed_column"}


def test_the_first_of_two_columns_with_one_name_is_used(tmp_path: Path) -> None:
    catalog = read(tmp_path, "id,brand,brand\n1,Maru,Lumen\n", "1.jpg")
    assert catalog.products[0].attributes == {"brand": "Maru"}
    assert [issue.kind for issue in catalog.issues] == ["unknown_column"]


@pytest.mark.parametrize("column", ["id", "product_id", "sku", "ID", "Sku"])
def test_the_id_column_may_have_several_names(tmp_path: Path, column: str) -> None:
    assert found(read(tmp_path, f"brand,{column}\nMaru,A-1\n", "images/A-1.webp")) == {"A-1": "images/A-1.webp"}


@pytest.mark.parametrize("column", ["image", "picture", "file", "filename", "path", "Image"])
def test_the_picture_column_may_have_several_names(tmp_path: Path, column: str) -> None:
    assert found(read(tmp_path, f"id,{column}\n1,front.jpg\n", "images/front.jpg")) == {"1": "images/front.jpg"}


@pytest.mark.parametrize(
    ("wanted", "lies_at"),
    [
        ("front.jpg", "front.jpg"),
        ("front.jpg", "images/front.jpg"),
        ("front", "images/front.png"),
        ("images/front.jpg", "images/front.jpg"),
        ("men/front", "images/men/front.jpg"),
        ("men\\front.jpg", "men/front.jpg"),
        ("./front.jpg", "front.jpg"),
        ("front.v2", "front.v2.jpg"),
        ("front.JPG", "front.JPG"),
    ],
)
def test_a_picture_is_found_by_the_value_of_its_field(tmp_path: Path, wanted: str, lies_at: str) -> None:
    assert found(read(tmp_path, f"id,image\n1,{wanted}\n", lies_at)) == {"1": lies_at}


def test_without_an_id_column_the_picture_names_the_product(tmp_path: Path) -> None:
    csv = "image,brand\nmen/front.jpg,Maru\nshirt.v2,Lumen\nshirt.v3,Lumen\n"
    catalog = read(tmp_path, csv, "men/front.jpg", "images/shirt.v2.png", "shirt.v3.jpg")
    assert found(catalog) == {
        "front": "men/front.jpg",
        "shirt.v2": "images/shirt.v2.png",
        "shirt.v3": "shirt.v3.jpg",
    }


def test_without_a_picture_column_the_id_names_the_picture(tmp_path: Path) -> None:
    catalog = read(tmp_path, "id,brand\n1,Maru\n2,Maru\n3,Maru\n", "1.png", "images/2.jpg")
    assert found(catalog) == {"1": "1.png", "2": "images/2.jpg"}
    where = "3: looked for its path, and for '3' among 2 files of all folders"
    assert catalog.issues == (Issue("3", 4, "missing_picture", where),)


def test_a_row_whose_picture_field_is_empty_has_no_picture(tmp_path: Path) -> None:
    catalog = read(tmp_path, "id,image\n1,\n2,2.jpg\n", "1.jpg", "2.jpg")
    assert found(catalog) == {"2": "2.jpg"}
    assert catalog.rejected()[0].kind == "missing_picture"


@pytest.mark.parametrize(
    "wanted", ["/etc/passwd", "../secret.jpg", "images/../../secret.jpg", "link.jpg", "out/secret"]
)
def test_a_picture_path_out_of_the_folder_is_unsafe(tmp_path: Path, wanted: str) -> None:
    (tmp_path / "secret.jpg").touch()
    root = written(tmp_path / "catalogue", f"id,image\n1,{wanted}\n2,2.jpg\n", "2.jpg")
    (root / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "out").symlink_to(tmp_path)
    catalog = read_catalog("folder", root)
    assert found(catalog) == {"2": "2.jpg"}
    assert [(issue.product_id, issue.kind) for issue in catalog.issues] == [("1", "unsafe_picture")]


def test_a_table_without_id_and_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogMalformed, match=r"neither an id column .* nor a picture column"):
        read(tmp_path, "brand,price\nMaru,5\n", "1.jpg")


def test_a_folder_without_a_csv_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").touch()
    with pytest.raises(CatalogNotFound, match=r"no CSV .* products\.csv"):
        read_catalog("folder", tmp_path)


def test_any_single_csv_is_accepted_and_products_csv_takes_precedence(tmp_path: Path) -> None:
    written(tmp_path, "id\n1\n", "1.jpg", "2.jpg", "3.jpg", name="Autumn.CSV")
    assert list(found(read_catalog("folder", tmp_path))) == ["1"]
    written(tmp_path, "id\n2\n", name="styles.csv")
    assert list(found(read_catalog("folder", tmp_path))) == ["2"]
    written(tmp_path, "id\n3\n", name="products.csv")
    assert list(found(read_catalog("folder", tmp_path))) == ["3"]


def test_several_csv_files_are_refused_by_name(tmp_path: Path) -> None:
    written(tmp_path, "id\n1\n", "1.jpg", name="a.csv")
    written(tmp_path, "id\n1\n", name="b.csv")
    with pytest.raises(CatalogMalformed, match=r"a\.csv, b\.csv"):
        read_catalog("folder", tmp_path)


def test_a_csv_that_links_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    written(tmp_path, "id\n1\n", name="secret.csv")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "products.csv").symlink_to(tmp_path / "secret.csv")
    with pytest.raises(CatalogRootRefused):
        read_catalog("folder", inside)


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters_are_known_by_the_header(tmp_path: Path, delimiter: str) -> None:
    csv = delimiter.join(["id", "fit"]) + "\n" + delimiter.join(["1", "slim, short"]) + "\n"
    assert read(tmp_path, csv, "1.jpg").products[0].attributes == {"fit": "slim, short"}


def test_surplus_fields_are_joined_where_the_name_is_last(tmp_path: Path) -> None:
    catalog = read(tmp_path, "id,brand,name\n1,Maru,Shirt, slim\n", "1.jpg")
    assert catalog.products[0].attributes == {"brand": "Maru", "name": "Shirt, slim"}
    assert [issue.kind for issue in catalog.issues] == ["malformed_row"]


def test_a_dataset_of_another_name_is_read_as_a_folder() -> None:
    assert [reader_for(name) for name in ("fashion-product", "synthetic", "folder", "my-shop")] == [
        "fashion-product",
        "synthetic",
        "folder",
        "folder",
    ]


@settings(max_examples=300, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from([b"", b"id,name\n", b"id,image,year\n", b"id;a;name\r\n", b"\xef\xbb\xbfsku\tname\r"]),
    st.lists(st.sampled_from([b"1", b"2", b",", b";", b"\t", b'"', b"\n", b"\r\n", b"\r", b"\0", b"\xff", b"a", b" ",
                              b"../", b"1.jpg", "ß".encode(), b"2014"]), max_size=40).map(b"".join),
)  # fmt: skip
def test_any_csv_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, header: bytes, body: bytes) -> None:
    root = tmp_path_factory.getbasetemp() / "any-csv"
    written(root, "", "1.jpg", "images/2.jpg", "a.png", name="styles.csv")
    (root / "styles.csv").write_bytes(header + body)
    for reader in ("folder", "fashion-product"):
        try:
            catalog = read_catalog(reader, root)
        except CatalogError:
            continue
        assert catalog.rows == len(catalog.products) + len(catalog.rejected())
        assert len({product.id for product in catalog.products}) == len(catalog.products)
        for product in catalog.products:
            assert catalog.picture_path(product).is_relative_to(root.resolve())
