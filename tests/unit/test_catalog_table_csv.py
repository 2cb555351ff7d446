"""Tables of delimited text: dialects, quoted text of many lines, and malformed rows."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pytest

from vitrine.catalogs.table import Table, TableFormat, read_table
from vitrine.errors import CatalogMalformed

DESCRIPTION = "<ul>\n" + "".join(f"  <li>point {number}, with a comma</li>\n" for number in range(14)) + "</ul>"


def opened(tmp_path: Path, text: str | bytes, *, name: str = "products.csv", known: tuple[str, ...] = ("id",)) -> Table:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(path, root=tmp_path, known_columns=known)


def fields(table: Table) -> list[list[str] | None]:
    return [row.fields for row in table.rows()]


def test_descriptions_of_5_and_16_lines_are_one_field_each(tmp_path: Path) -> None:
    short = "<ul>\n  <li>one</li>\n  <li>two</li>\n  <li>three</li>\n</ul>"
    rows = [[str(100 + n), f"{n}.jpg", DESCRIPTION if n % 2 else short, "Women"] for n in range(6)]
    path = tmp_path / "products.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["id", "image", "description", "gender"], *rows])
    table = read_table(path, root=tmp_path, known_columns={"id"})
    assert fields(table) == rows
    assert [row.line for row in table.rows()] == [2, 7, 23, 28, 44, 49]


def test_a_german_excel_export_is_read(tmp_path: Path) -> None:
    lines = [f"{number};{number}.jpg;3{number};{19 + number},90 €;Blau" for number in range(4)]
    text = "\r\n".join(["id;image;Größe, EU;Preis;Farbe", *lines, ""])
    table = opened(tmp_path, text.encode("cp1252"))
    assert table.header == ("id", "image", "Größe, EU", "Preis", "Farbe")
    assert table.found == "CSV, semicolon, Windows-1252"
    assert fields(table)[1] == ["1", "1.jpg", "31", "20,90 €", "Blau"]
    assert all(row.is_utf8 for row in table.rows())


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("header", [["Artikel", "Preis", "Bild"], ["sku_code", "Title, long", "Bild"]])
def test_the_delimiter_is_found_without_a_known_column(tmp_path: Path, delimiter: str, header: list[str]) -> None:
    path = tmp_path / "export.txt"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(header)
        writer.writerows([f"A-{number}", f"{number},90", f"{number}.jpg"] for number in range(40))
    table = read_table(path, root=tmp_path)
    assert (table.delimiter, table.header) == (delimiter, tuple(header))
    assert fields(table)[7] == ["A-7", "7,90", "7.jpg"]


def test_a_decimal_comma_in_each_row_is_not_the_delimiter(tmp_path: Path) -> None:
    rows = [f"Kleid {number};{number},90" for number in range(30)]
    table = opened(tmp_path, "\n".join(["Artikel;Preis, EUR", *rows]), known=())
    assert (table.delimiter, table.header) == (";", ("Artikel", "Preis, EUR"))


@pytest.mark.parametrize("mark", [":", "^", "~", "\x1f"])
def test_an_unusual_delimiter_is_found(tmp_path: Path, mark: str) -> None:
    rows = [mark.join((f"A{number}", f"{number}.jpg", "Blue dress", str(10 + number))) for number in range(30)]
    table = opened(tmp_path, "\n".join([mark.join(("code", "photo", "title", "amount")), *rows]), known=())
    assert table.header == ("code", "photo", "title", "amount")
    assert fields(table)[3] == ["A3", "3.jpg", "Blue dress", "13"]


@pytest.mark.parametrize("line", ["sep=;", '"sep=;"', "SEP=;"])
def test_a_separator_line_names_the_delimiter(tmp_path: Path, line: str) -> None:
    table = opened(tmp_path, f"{line}\r\nid;a,b,c,d\r\n1;2,3,4,5\r\n")
    assert (table.delimiter, table.header) == (";", ("id", "a,b,c,d"))
    assert [(row.line, row.fields) for row in table.rows()] == [(3, ["1", "2,3,4,5"])]


def test_a_separator_line_may_name_any_character(tmp_path: Path) -> None:
    table = opened(tmp_path, "sep=#\nid#name\n1#Dress\n")
    assert (table.header, fields(table)) == (("id", "name"), [["1", "Dress"]])


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_blank_rows_are_left_out_and_lines_are_counted(tmp_path: Path, ending: str) -> None:
    text = ending.join(["", "id;name;", "", "1;a;", ";;", "   ", "2;b;", "", ""])
    table = opened(tmp_path, text)
    assert table.header == ("id", "name")
    assert [(row.line, row.fields) for row in table.rows()] == [(4, ["1", "a"]), (7, ["2", "b"])]


def test_names_of_columns_lose_the_blanks_around_them(tmp_path: Path) -> None:
    table = opened(tmp_path, "\ufeff id , name\t,\xa0Größe \n1,a,b\n")
    assert table.header == ("id", "name", "Größe")


def test_a_column_name_may_occur_twice(tmp_path: Path) -> None:
    table = opened(tmp_path, "id,tag,tag\n1,a,b\n")
    assert (table.header, fields(table)) == (("id", "tag", "tag"), [["1", "a", "b"]])


def test_unnamed_columns_at_the_end_are_left_out(tmp_path: Path) -> None:
    table = opened(tmp_path, "id;name;;\n1;a;;\n2;b;note;\n3;c\n")
    assert (table.header, fields(table)) == (("id", "name"), [["1", "a"], ["2", "b"], ["3", "c"]])


def test_a_file_may_have_one_column(tmp_path: Path) -> None:
    table = opened(tmp_path, "image\n1.jpg\n2.jpg\n", known=("image",))
    assert (table.header, fields(table)) == (("image",), [["1.jpg"], ["2.jpg"]])
    other = opened(tmp_path, "Beschreibung\nKleid, blau\nHemd; weit\n", known=())
    assert other.header == ("Beschreibung",)


def test_quotation_marks_escaped_with_a_backslash_are_read(tmp_path: Path) -> None:
    text = 'id,name,fit\n1,"The \\"slim\\" one, blue",a\n2,"back\\\\slash",b\n3,plain,c\n'
    assert fields(opened(tmp_path, text)) == [
        ["1", 'The "slim" one, blue', "a"],
        ["2", "back\\slash", "b"],
        ["3", "plain", "c"],
    ]


def test_an_escaped_mark_in_a_text_of_several_lines_makes_no_rows(tmp_path: Path) -> None:
    text = 'id,text,fit\n1,"first \\"line\\",\nsecond, \\"line\\"",a\n2,x,b\n'
    assert fields(opened(tmp_path, text)) == [["1", 'first "line",\nsecond, "line"', "a"], ["2", "x", "b"]]


def test_backslashes_of_paths_stay(tmp_path: Path) -> None:
    text = 'id,image,name\n1,images\\1.jpg,a\n2,"images\\new\\2.jpg","a ""b"""\n3,C:\\,c\n'
    assert fields(opened(tmp_path, text)) == [
        ["1", "images\\1.jpg", "a"],
        ["2", "images\\new\\2.jpg", 'a "b"'],
        ["3", "C:\\", "c"],
    ]


def test_a_delimiter_protected_by_a_backslash_is_text(tmp_path: Path) -> None:
    assert fields(opened(tmp_path, "id,name,fit\n1,red\\, blue,a\n2,x,b\n")) == [
        ["1", "red, blue", "a"],
        ["2", "x", "b"],
    ]


def test_single_quotation_marks_are_found_where_they_are_used_throughout(tmp_path: Path) -> None:
    rows = "".join(f"'{number}','red, blue','it''s'\n" for number in range(20))
    assert fields(opened(tmp_path, f"'id','colours','note'\n{rows}"))[2] == ["2", "red, blue", "it's"]
    shopify = opened(tmp_path, "id,barcode,name\n1,'4006381333931,a\n2,'4006381333932,b\n")
    assert fields(shopify) == [["1", "'4006381333931", "a"], ["2", "'4006381333932", "b"]]


def test_blanks_before_a_quotation_mark_are_not_text(tmp_path: Path) -> None:
    assert fields(opened(tmp_path, 'id, name, fit\n1, "a, b", c\n2, "d, e", f\n')) == [
        ["1", "a, b", "c"],
        ["2", "d, e", "f"],
    ]


def test_an_unclosed_quotation_mark_costs_no_other_row(tmp_path: Path) -> None:
    text = 'id,name,fit\n1,"Dress,slim\n' + "".join(f"{number},plain,wide\n" for number in range(2, 200))
    rows = fields(opened(tmp_path, text))
    assert rows[0] == ["1", '"Dress', "slim"]
    assert [row[0] for row in rows if row] == [str(number) for number in range(1, 200)]


def test_many_unclosed_quotation_marks_cost_no_other_row(tmp_path: Path) -> None:
    text = "id,name,fit\n" + "".join(
        f'{number},"5 inch,wide\n' if number % 3 == 0 else f'{number},"a, b",wide\n' for number in range(900)
    )
    rows = fields(opened(tmp_path, text))
    assert [row[0] for row in rows if row] == [str(number) for number in range(900)]
    assert all(row is not None and len(row) == 3 for row in rows)


def test_a_mark_that_opens_and_one_that_closes_do_not_join_rows_between(tmp_path: Path) -> None:
    text = 'id,name,fit\n1,"Dress,slim\n2,a,b\n3,c,d\n4,e,12"\n5,f,g\n'
    assert [row[0] for row in fields(opened(tmp_path, text)) if row] == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("inside", ['heel of 5" height', 'the "best" one', 'an open " mark'])
def test_a_mark_inside_of_a_text_of_several_lines_makes_no_rows(tmp_path: Path, inside: str) -> None:
    text = f'id,description,gender\n1,"<ul>\n<li>{inside}</li>\n<li>two</li>\n</ul>",Women\n2,short,Men\n'
    rows = fields(opened(tmp_path, text))
    assert rows == [["1", f"<ul>\n<li>{inside}</li>\n<li>two</li>\n</ul>", "Women"], ["2", "short", "Men"]]


def test_a_mark_inside_of_a_quoted_field_is_kept(tmp_path: Path) -> None:
    rows = fields(opened(tmp_path, 'id,name,fit\n1,"5" heel, red",a\n2,"b" ,c\n'))
    assert rows == [["1", '5" heel, red', "a"], ["2", "b", "c"]]


def test_a_file_that_ends_inside_of_a_text_makes_no_rows(tmp_path: Path) -> None:
    text = f'id,description,gender\n1,"{DESCRIPTION}",Women\n2,"{DESCRIPTION[:200]}'
    rows = fields(opened(tmp_path, text))
    assert rows == [["1", DESCRIPTION, "Women"], ["2", DESCRIPTION[:200]]]


@pytest.mark.parametrize("lines", [50, 3_000])
def test_rows_after_the_sample_are_read_in_the_same_dialect(tmp_path: Path, lines: int) -> None:
    rows = [[str(number), f"{number},90", "a|b\tc"] for number in range(lines)]
    path = tmp_path / "products.csv"
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=";").writerows([["id", "price", "mixed"], *rows])
    assert fields(read_table(path, root=tmp_path)) == rows


def test_a_quoted_field_may_be_longer_than_the_sample(tmp_path: Path) -> None:
    long = "line, with; marks\n" * 300_000
    table = opened(tmp_path, f'id,text\n1,"{long}"\n2,b\n')
    assert fields(table) == [["1", long], ["2", "b"]]


def test_rows_can_be_read_twice(tmp_path: Path) -> None:
    table = opened(tmp_path, "id,name\n1,a\n2,b\n")
    assert fields(table) == fields(table) == [["1", "a"], ["2", "b"]]


def test_a_file_that_changes_between_two_passes_is_refused(tmp_path: Path) -> None:
    table = opened(tmp_path, "id,name\n1,a\n")
    (tmp_path / "products.csv").write_text("id,name\n1,a\n2,b\n")
    with pytest.raises(CatalogMalformed, match=r"products\.csv was changed while it was read"):
        fields(table)


def test_a_packed_table_is_read(tmp_path: Path) -> None:
    table = opened(tmp_path, gzip.compress(b"id,name\n1,a\n"), name="products.csv.gz")
    assert (table.format, fields(table)) == (TableFormat.DELIMITED, [["1", "a"]])
    with pytest.raises(CatalogMalformed, match=r"cannot be unpacked .* download it again"):
        fields(opened(tmp_path, gzip.compress(b"id,name\n" + b"1,a\n" * 9000)[:-20], name="products.csv.gz"))


@pytest.mark.parametrize("content", ["", "\n\n", "  \r\n \r\n", "\ufeff"])
def test_an_empty_file_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(CatalogMalformed, match=r"products\.csv is empty; it needs a header line"):
        opened(tmp_path, content)


@pytest.mark.parametrize(
    ("above", "delimiter"),
    [
        ("# exported by ERP 4.2, on demand\n# 2024-03-01\n", ","),
        ("Product report;;\n;;\n", ";"),
        ("Acme - list of articles\nas of 01.03.2024\n\n", ";"),
        ("Template=custom\tVersion=2021\t\nProduct code\tTitle of it\tColor\n", "\t"),
        ("sep=;\r\nProduct report\r\n", ";"),
    ],
)
def test_lines_above_the_header_are_skipped(tmp_path: Path, above: str, delimiter: str) -> None:
    rows = [["id", "image", "price"], *([str(n), f"{n}.jpg", f"{n}0.50"] for n in range(3))]
    table = opened(
        tmp_path, above + "".join(delimiter.join(row) + "\n" for row in rows), known=("id", "image", "productcode")
    )
    assert table.header == ("id", "image", "price")
    assert fields(table) == rows[1:]
    assert next(table.rows()).line == above.count("\n") + 2


@pytest.mark.parametrize("header", ["number,photo,what", "A-1,a.jpg,id"])
def test_a_first_line_as_wide_as_the_others_is_the_header(tmp_path: Path, header: str) -> None:
    table = opened(tmp_path, f"{header}\nA-2,b.jpg,id\nA-3,c.jpg,x\n", known=("id",))
    assert table.header == tuple(header.split(","))
    assert len(fields(table)) == 2
