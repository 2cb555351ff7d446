"""What a layout makes of a table's rows: one entry for each product that a row begins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from vitrine.catalogs.layouts.roles import Header
from vitrine.catalogs.table import Row, Table
from vitrine.products import AttributeKind

# One text, or several where the layout says that they are several.
Value = str | list[str]


@dataclass(slots=True)
class Entry:
    """A product as its rows describe it.

    `references` holds (column, text) of each field with pictures, `values` the texts of attributes by label. `adds` is
    true for a row that only adds to the product of its id, such as a row without a title. An entry that
    `has_variations` is no product itself: other entries are its variants. `left_out` says why the shop does not show
    the product.
    """

    row: Row
    id: str
    references: list[tuple[str, str]] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)
    variant_of: str | None = None
    further_rows: int = 0
    adds: bool = False
    has_variations: bool = False
    left_out: str | None = None


class Source(NamedTuple):
    """Where an attribute comes from: its column, and the column's position if it is one of the table's."""

    column: str
    at: int | None


class Layout(Protocol):
    """A way to read a table as products."""

    name: str
    header: Header
    # Columns that are left out, each with the reason.
    unused: tuple[str, ...]
    # Columns of the layout that the table does not have, with what is used instead.
    notices: tuple[str, ...]
    # The kinds of the labels that the layout knows.
    kinds: dict[str, AttributeKind]
    # Whether empty fields are worth an issue.
    reports_empty: bool
    # Whether a product without a picture of its row has the one that is named like its id.
    by_id: bool

    @property
    def used(self) -> dict[str, str]:
        """The columns of roles, and of attributes with another name than their column."""

    @property
    def labels(self) -> Mapping[str, Source]:
        """The source of each label. Some labels are known only after the entries were read once."""

    def entries(self, table: Table) -> Iterator[Entry]:
        """The entries in the order of the table. An unreadable row gives an entry without an id."""


def header_of(table: Table) -> Header:
    return Header(table.header, table.path.name)


def fields_of(table: Table, name_column: str | None) -> Iterable[tuple[Row, list[str] | None]]:
    """The rows with their fields, at most as many as columns; None for a row that cannot be read."""
    for row in table.rows():
        yield row, table.fitted(row, name_column=name_column)
