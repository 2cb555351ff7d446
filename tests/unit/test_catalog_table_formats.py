"""Tables that are not CSV: JSON, JSON lines, Parquet and XML feeds; and files that are no tables."""

from __future__ import annotations

import io
import json
import zipfile
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vitrine.catalogs.table import Table, TableFormat, read_table
from vitrine.errors import CatalogMalformed

PRODUCTS = [
    {"id": 1, "title": "Dress", "price": 19.9, "sale": True, "colour": None},
    {"id": 2, "title": "Größe ⅛", "price": 20, "sale": False, "fit": "slim"},
]
HEADER = ("id", "title", "price", "sale", "colour", "fit")
ROWS = [["1", "Dress", "19.9", "true", "", ""], ["2", "Größe ⅛", "20", "false", "", "slim"]]


def opened(tmp_path: Path, content: str | bytes, name: str) -> Table:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, root=tmp_path)


def fields(table: Table) -> list[list[str] | None]:
    return [row.fields for row in table.rows()]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize(
    "whole",
    [
        PRODUCTS,
        {"products": PRODUCTS},
        {"version": [1, 2, ["x"]], "shop": {"name": "a", "tags": []}, "data": {"count": 2, "items": PRODUCTS}, "z": 1},
    ],
)
def test_json_is_read(tmp_path: Path, whole: Any, indent: int | None, encoding: str) -> None:
    table = opened(tmp_path, json.dumps(whole, ensure_ascii=False, indent=indent).encode(encoding), "products.json")
    assert (table.format, table.header, table.delimiter) == (TableFormat.JSON, HEADER, None)
    assert fields(table) == fields(table) == ROWS


@pytest.mark.parametrize("name", ["products.jsonl", "products.ndjson", "products.json", "products.txt"])
def test_json_lines_are_read(tmp_path: Path, name: str) -> None:
    text = "\n".join(["", *(json.dumps(product, ensure_ascii=False) for product in PRODUCTS), "", ""])
    table = opened(tmp_path, text, name)
    assert (table.format, table.header, fields(table)) == (TableFormat.JSON_LINES, HEADER, ROWS)
    assert [row.line for row in table.rows()] == [2, 3]


def test_a_malformed_line_of_json_costs_only_itself(tmp_path: Path) -> None:
    table = opened(tmp_path, '{"id": 1}\n{"id": 2\n[3]\n{"id": 4}\n', "products.jsonl")
    assert [(row.line, row.fields) for row in table.rows()] == [(1, ["1"]), (2, None), (3, None), (4, ["4"])]


def test_numbers_keep_their_text(tmp_path: Path) -> None:
    table = opened(tmp_path, '[{"price": 19.90, "id": 9007199254740993, "big": 1.5e3, "no": -0.0}]', "products.json")
    assert fields(table) == [["19.90", "9007199254740993", "1.5e3", "-0.0"]]


def test_nested_values_become_columns_and_lists(tmp_path: Path) -> None:
    product = {
        "id": 1,
        "price": {"amount": 19.90, "currency": "EUR"},
        "tags": ["summer", "linen, blue"],
        "images": [{"src": "a.jpg", "size": {"w": 1}}, {"src": "b.jpg"}],
        "empty": [],
        "matrix": [[1, 2], [3]],
    }
    table = opened(tmp_path, json.dumps([product]), "products.json")
    assert dict(zip(table.header, fields(table)[0] or [], strict=True)) == {
        "id": "1",
        "price.amount": "19.9",
        "price.currency": "EUR",
        "tags": '["summer", "linen, blue"]',
        "images.src": '["a.jpg", "b.jpg"]',
        "images.size.w": "[1]",
        "empty": "",
        "matrix": "[[1, 2], [3]]",
    }


def test_a_column_that_is_a_list_once_is_a_list_in_all_rows(tmp_path: Path) -> None:
    table = opened(tmp_path, '[{"c": "red"}, {"c": ["red", "blue"]}, {"c": null}]', "products.json")
    assert fields(table) == [['["red"]'], ['["red", "blue"]'], [""]]


def test_json_lists_are_read_in_parts(tmp_path: Path) -> None:
    products = [{"id": number, "text": 'x, {é} \\ " ' * 40} for number in range(6_000)]
    for indent in (None, 1):
        table = opened(tmp_path, json.dumps({"products": products}, ensure_ascii=False, indent=indent), "products.json")
        assert fields(table) == [[str(one["id"]), one["text"]] for one in products]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"id": 1}, {"id": 2', r"products\.json is not valid JSON in line 1"),
        ('[\n{"id": 1},\n{"id": 2}\n{"id": 3}]', r"in line 4, near .*a comma or \] is expected"),
        ('{"name": "shop", "count": 3}', r"products\.json has no list of products"),
        ("[1, 2, 3]", r"has no list of products"),
        ("[]", r"has no products"),
        ('{"products": []}', r"has no list of products"),
        ("id,name\n1,a\n", r"is not JSON: it begins with"),
        ("[" * 100_000, r"has no list of products|nested too deeply"),
        ('[{"a": ' + "[" * 100_000, r"nested too deeply"),
    ],
)
def test_json_that_cannot_be_read_is_refused_with_the_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CatalogMalformed, match=message):
        fields(opened(tmp_path, text, "products.json"))


RSS = """<?xml version="1.0" encoding="UTF-8"?>
<rss xmlns:g="http://base.google.com/ns/1.0" version="2.0"><channel><title>Shop</title>
<item><g:id>SKU-0</g:id><title>plain</title><g:title>Jacket &amp; more</g:title>
<g:image_link>https://shop.example.com/i/0.jpg</g:image_link>
<g:additional_image_link>https://shop.example.com/i/0b.jpg</g:additional_image_link>
<g:additional_image_link>https://shop.example.com/i/0c.jpg</g:additional_image_link>
<g:price>49.95 EUR</g:price>
<g:shipping><g:country>DE</g:country><g:price>4.95 EUR</g:price></g:shipping></item>
<item><g:id>SKU-1</g:id><title>Grün</title><description><![CDATA[<b>Warm, light</b>]]></description>
<g:image_link>https://shop.example.com/i/1.jpg</g:image_link>
<g:additional_image_link>https://shop.example.com/i/1b.jpg</g:additional_image_link></item>
</channel></rss>"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1"])
def test_a_google_merchant_feed_is_read(tmp_path: Path, encoding: str) -> None:
    text = RSS.replace("UTF-8", {"utf-8-sig": "utf-8"}.get(encoding, encoding))
    table = opened(tmp_path, text.encode(encoding), "feed.xml")
    assert (table.format, table.place) == (TableFormat.XML, "product")
    first, second = [dict(zip(table.header, row.fields or [], strict=True)) for row in table.rows()]
    assert first["id"] == "SKU-0"
    assert first["title"] == "Jacket & more"
    assert first["additional_image_link"] == (
        '["https://shop.example.com/i/0b.jpg", "https://shop.example.com/i/0c.jpg"]'
    )
    assert (first["price"], first["shipping.country"], first["shipping.price"]) == ("49.95 EUR", "DE", "4.95 EUR")
    assert (second["title"], second["description"]) == ("Grün", "<b>Warm, light</b>")
    assert second["additional_image_link"] == '["https://shop.example.com/i/1b.jpg"]'
    assert second["price"] == ""


def test_an_atom_feed_is_read(tmp_path: Path) -> None:
    text = """<feed xmlns="http://www.w3.org/2005/Atom" xmlns:g="http://base.google.com/ns/1.0"><title>Shop</title>
    <entry><g:id>7</g:id><title>Coat</title><link href="https://shop.example.com/7"/></entry></feed>"""
    table = opened(tmp_path, text, "feed.xml")
    assert (table.header, fields(table)) == (("id", "title", "link"), [["7", "Coat", "https://shop.example.com/7"]])


def test_a_large_feed_is_read(tmp_path: Path) -> None:
    items = "".join(f"<item><g:id>{number}</g:id><title>Dress {number}</title></item>" for number in range(20_000))
    text = f'<rss xmlns:g="http://base.google.com/ns/1.0"><channel>{items}</channel></rss>'
    table = opened(tmp_path, text, "feed.xml")
    assert [row.line for row in table.rows()] == list(range(1, 20_001))
    assert fields(table)[-1] == ["19999", "Dress 19999"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<catalog><thing/></catalog>", r"has no products: its first element is <catalog>.*<item> \(RSS\)"),
        (RSS[:-60], r"feed\.xml is not valid XML after 1 products"),
        (
            '<!DOCTYPE rss [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><rss><item><id>&b;</id></item></rss>',
            r"is refused: its XML has entities",
        ),
    ],
)
def test_xml_that_cannot_be_read_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(CatalogMalformed, match=message):
        fields(opened(tmp_path, text, "feed.xml"))


def written_parquet(tmp_path: Path, columns: dict[str, Any]) -> Table:
    pq.write_table(pa.table(columns), tmp_path / "products.parquet")
    return read_table(tmp_path / "products.parquet", root=tmp_path)


def test_parquet_is_read(tmp_path: Path) -> None:
    table = written_parquet(
        tmp_path,
        {
            "id": pa.array(["0012", "2", None]),
            "stock": pa.array([1, 2**60, None]),
            "price": pa.array([19.9, float("nan"), 20.0]),
            "sale": pa.array([True, False, None]),
            "added": pa.array([datetime(2024, 1, 15), datetime(2024, 1, 15, 10, 30), None], pa.timestamp("ns")),
            "day": pa.array([date(2024, 2, 1), None, None]),
            "colours": pa.array([["Red", "Blue"], [], None]),
            "kind": pa.array(["a", "b", "a"]).dictionary_encode(),
            "picture": pa.array([b"\xff\xd8\0", None, None]),
        },
    )
    assert (table.format, table.found, table.place) == (TableFormat.PARQUET, "Parquet", "product")
    assert fields(table) == [
        ["0012", "1", "19.9", "true", "2024-01-15", "2024-02-01", '["Red", "Blue"]', "a", ""],
        ["2", str(2**60), "", "false", "2024-01-15T10:30:00", "", "", "b", ""],
        ["", "", "20.0", "", "", "", "", "a", ""],
    ]


def test_structures_in_parquet_become_columns(tmp_path: Path) -> None:
    image = pa.array([{"bytes": b"\0\xff", "path": "0.jpg"}, {"bytes": None, "path": "1.jpg"}])
    more = pa.array([[{"src": "a.jpg"}, {"src": "b.jpg"}], []])
    table = written_parquet(tmp_path, {"id": pa.array([1, 2]), "image": image, "more": more})
    rows = [dict(zip(table.header, row.fields or [], strict=True)) for row in table.rows()]
    assert [row["image.path"] for row in rows] == ["0.jpg", "1.jpg"]
    assert [row["more.src"] for row in rows] == ['["a.jpg", "b.jpg"]', ""]


def test_a_broken_parquet_file_is_refused(tmp_path: Path) -> None:
    written_parquet(tmp_path, {"id": pa.array(range(1000))})
    data = (tmp_path / "products.parquet").read_bytes()
    with pytest.raises(CatalogMalformed, match=r"products\.parquet cannot be read as Parquet"):
        fields(opened(tmp_path, data[:-50], "products.parquet"))


def zipped(*names: str) -> bytes:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w") as archive:
            for name in names:
                archive.writestr(name, "content")
        return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            zipped("[Content_Types].xml", "xl/workbook.xml"),
            r"is not a table but an Excel workbook: save it as CSV UTF-8",
        ),
        (zipped("products.csv"), r"a ZIP archive: unpack it first"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), r"an Excel workbook \(\.xls\): save it as CSV UTF-8"),
        (b"%PDF-1.7\n", r"a PDF"),
        (b"<!DOCTYPE html>\n<html><body>Please sign in</body></html>", r"an HTML page"),
        (b"\n<html lang=en><table><tr><td>id</td></tr></table></html>", r"an HTML page"),
        (b"<table border=1><tr><td>id</td></tr></table>", r"an HTML table"),
        (b"\xff\xd8\xff\xe0" + bytes(100), r"a JPEG picture"),
        (b"SQLite format 3\0" + bytes(100), r"an SQLite database"),
        (b"Rar!\x1a\x07\x01\0", r"a RAR archive"),
        (b'<?xml version="1.0"?><?mso-application progid="Excel.Sheet"?><Workbook/>', r"an Excel workbook \(XML\)"),
    ],
)
def test_a_file_that_is_no_table_is_refused_by_its_kind(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(CatalogMalformed, match=message):
        opened(tmp_path, content, "products.csv")
