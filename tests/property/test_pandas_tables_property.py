"""What pandas writes as CSV, JSON, JSON lines or Parquet is read back the same."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from vitrine.catalogs.table import Table, read_table

SETTINGS = settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
_TEXT = st.text(
    st.one_of(
        st.sampled_from(",;\t|\"'\\\n\r é€ßж"), st.characters(codec="utf-8", exclude_characters="\0\ufeff")
    ),
    max_size=20,
)  # fmt: skip
_NAMES = st.lists(
    st.sampled_from(["colour", "Größe, EU", "price; net", "a|b", "long\ntext", "fit", "цвет"]),
    unique=True, min_size=1, max_size=4,
)  # fmt: skip


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    names = draw(_NAMES)
    count = draw(st.integers(1, 8))
    columns: dict[str, list[Any]] = {"id": [f"A-{number}" for number in range(count)]}
    for name in names:
        values = draw(
            st.sampled_from([_TEXT, st.integers(-(2**53), 2**53), st.booleans(), st.floats(0, 1e6, width=32)])
        )
        columns[name] = draw(st.lists(values, min_size=count, max_size=count))
    return pd.DataFrame(columns)


def texts(frame: pd.DataFrame, *, true: str = "True", false: str = "False") -> list[list[str]]:
    """The fields of the frame as Python writes them."""

    def text(value: Any) -> str:
        return {True: true, False: false}[value] if isinstance(value, bool) else str(value)

    return [[text(value) for value in row] for row in frame.astype(object).to_numpy().tolist()]


def read(path: Path) -> Table:
    return read_table(path, root=path.parent, known_columns={"id"})


def rows(table: Table) -> list[list[str] | None]:
    return [row.fields for row in table.rows()]


@SETTINGS
@given(
    frames(),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_csv(
    tmp_path_factory: pytest.TempPathFactory,
    frame: pd.DataFrame,
    delimiter: str,
    encoding: str,
    quoting: Any,
    ending: str,
) -> None:
    path = tmp_path_factory.getbasetemp() / "pandas.csv"
    frame.to_csv(path, sep=delimiter, encoding=encoding, quoting=quoting, lineterminator=ending, index=False)
    again = pd.read_csv(path, sep=delimiter, encoding=encoding, dtype=str, keep_default_na=False, lineterminator=None)
    assume(again.to_numpy().tolist() == texts(frame))  # Python before 3.13 leaves a lone CR without marks
    table = read(path)
    assert table.delimiter == delimiter
    assert table.header == tuple(frame.columns)
    assert rows(table) == texts(frame)


@SETTINGS
@given(frames(), st.booleans(), st.booleans(), st.sampled_from([None, 2]))
def test_json(
    tmp_path_factory: pytest.TempPathFactory, frame: pd.DataFrame, lines: bool, ascii_only: bool, indent: int | None
) -> None:
    path = tmp_path_factory.getbasetemp() / ("pandas.jsonl" if lines else "pandas.json")
    frame.to_json(
        path,
        orient="records",
        lines=lines,
        force_ascii=ascii_only,
        indent=None if lines else indent,
        double_precision=15,
    )
    table = read(path)
    assert table.header == tuple(frame.columns)
    for found, expected in zip(rows(table), frame.astype(object).to_numpy().tolist(), strict=True):
        for field, value in zip(found or [], expected, strict=True):
            if isinstance(value, float):
                assert float(field) == pytest.approx(value, rel=1e-9, abs=1e-12)
            else:
                assert field == (str(value).lower() if isinstance(value, bool) else str(value))


@SETTINGS
@given(frames())
def test_parquet(tmp_path_factory: pytest.TempPathFactory, frame: pd.DataFrame) -> None:
    path = tmp_path_factory.getbasetemp() / "pandas.parquet"
    frame.to_parquet(path)
    table = read(path)
    assert table.header == tuple(frame.columns)
    assert rows(table) == texts(frame, true="true", false="false")
