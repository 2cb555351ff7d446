"""The output of the csv module is read back unchanged, for every dialect, encoding and quoting."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from vitrine.catalogs.table import MAX_ROW_CHARS, read_table

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "cp1252")
QUOTINGS = (csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC)
# Characters with a meaning in CSV are frequent. Windows-1252 is only found in text of a language.
_TEXT = st.text(
    st.one_of(st.sampled_from(',;\t|"\n\r é€ß'), st.characters(codec="utf-8", exclude_characters="\0\ufeff")),
    max_size=30,
)
_GERMAN = st.text(
    st.one_of(st.sampled_from(',;\t|"\n\r äöüÄÖÜß€'), st.characters(codec="ascii", exclude_characters="\0")),
    max_size=30,
)
_NAMES = st.lists(
    st.sampled_from(["colour", "Größe, EU", "price; net", "a|b", 'size "EU"', "long\ntext", "fit"]),
    unique=True, min_size=1, max_size=5,
)  # fmt: skip


@st.composite
def tables(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> list[list[str]]:
    """A header with an id among other columns, then rows that each have an id."""
    names = draw(_NAMES)
    header = ["id", *names] if draw(st.booleans()) else [*names, "id"]
    rows = draw(st.lists(st.lists(texts, min_size=len(names), max_size=len(names)), max_size=8))
    numbered = [[str(number), *row] if header[0] == "id" else [*row, str(number)] for number, row in enumerate(rows)]
    return [header, *numbered]


@settings(max_examples=400, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(ENCODINGS).flatmap(
        lambda encoding: st.tuples(st.just(encoding), tables(_GERMAN if encoding == "cp1252" else _TEXT))
    ),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(QUOTINGS),
    st.sampled_from(["\r\n", "\n", "\r"]),
)
def test_output_of_the_csv_module_is_read_back_unchanged(
    tmp_path_factory: pytest.TempPathFactory,
    encoded: tuple[str, list[list[str]]],
    delimiter: str,
    quoting: int,
    ending: str,
) -> None:
    encoding, table = encoded
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=ending).writerows(table)  # type: ignore[arg-type]
    # Before Python 3.13 the writer does not quote a line break other than its own, so that csv cannot read it either.
    assume(list(csv.reader(io.StringIO(text.getvalue(), newline=""), delimiter=delimiter)) == table)
    data = text.getvalue().encode(encoding)
    if encoding == "cp1252":  # a line that is also valid UTF-8 is ambiguous
        assume(all(line.isascii() or not _is_utf8(line) for line in data.splitlines()))
    path = tmp_path_factory.getbasetemp() / "written.csv"
    path.write_bytes(data)
    read = read_table(path, root=path.parent, known_columns={"id"})
    assert read.delimiter == delimiter
    assert list(read.header) == [name.strip() for name in table[0]]
    assert [row.fields for row in read.rows()] == table[1:]


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize("lines", [2, 11, 16, 2_000])
def test_a_quoted_field_may_have_any_number_of_lines(tmp_path: Path, lines: int) -> None:
    description = "\n".join(f"  <li>point {number}, with a comma</li>" for number in range(lines))
    path = tmp_path / "products.csv"
    rows = [["1", description, "Women"], ["2", "short", "Men"], ["3", description, "Women"]]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["id", "description", "gender"], *rows])
    table = read_table(path, root=tmp_path, known_columns={"id"})
    found = list(table.rows())
    assert [row.fields for row in found] == rows
    assert [row.line for row in found] == [2, 2 + lines, 3 + lines]


def test_a_far_too_long_row_loses_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "products.csv"
    path.write_text(f"id,text\n1,{'x' * (MAX_ROW_CHARS + 1)}\n2,y\n")
    found = list(read_table(path, root=tmp_path, known_columns={"id"}).rows())
    assert [(row.line, row.fields) for row in found] == [(2, None), (3, ["2", "y"])]


def test_a_field_longer_than_the_limit_of_the_csv_module_is_read(tmp_path: Path) -> None:
    long = "one, two\n" * 20_000
    path = tmp_path / "products.csv"
    path.write_text(f'id,text\n1,"{long}"\n2,y\n')
    found = list(read_table(path, root=tmp_path, known_columns={"id"}).rows())
    assert [row.fields for row in found] == [["1", long], ["2", "y"]]


def test_a_stray_quote_loses_only_its_row_at_any_distance_from_the_next_quote(tmp_path: Path) -> None:
    path = tmp_path / "products.csv"
    between = [f"{number},plain" for number in range(3, 60)]
    path.write_text("\n".join(["id,text", '1,"stray', "2,plain", *between, '60,"proper, quoted"', "61,plain", ""]))
    found = [row.fields for row in read_table(path, root=tmp_path, known_columns={"id"}).rows()]
    assert found[0] == ["1", '"stray']
    assert [fields[0] for fields in found if fields] == [str(number) for number in range(1, 62)]
    assert found[-2] == ["60", "proper, quoted"]
