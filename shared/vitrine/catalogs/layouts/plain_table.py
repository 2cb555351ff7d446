"""The layout of any table with a column of ids or of pictures. Other layouts are this one with more knowledge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from vitrine.catalogs.layouts.entry import Entry, Source, Value, fields_of, header_of
from vitrine.catalogs.layouts.roles import (
    ID_ROLE,
    NAME_NAMES,
    PICTURE_ROLE,
    VARIANT_ROLE,
    Header,
    Roles,
    found_roles,
    plain,
    with_mapping,
)
from vitrine.catalogs.references import PictureNames, split_pictures
from vitrine.catalogs.table import Row, Table
from vitrine.products import AttributeKind

# What pandas calls the row numbers that it writes.
_UNNAMED: Final = ("", "Unnamed: 0")


class PlainTable:
    """Reads each row as a product; rows with one id are put together later."""

    name = "table"
    reports_empty = True
    # Columns that mean nothing to a shopper, as from `plain`.
    ignored: frozenset[str] = frozenset()

    def __init__(self, table: Table, mapping: Mapping[str, str]) -> None:
        self.header: Header = header_of(table)
        self.roles: Roles = with_mapping(self.usual_roles(), self.header, mapping)
        self.kinds: dict[str, AttributeKind] = {}
        self.by_id = not self.roles.pictures_at
        self.unused: tuple[str, ...] = ()
        self.notices: tuple[str, ...] = ()
        self._labels = self._labelled()
        self._name_at = next((at for at, label in self._labels.items() if plain(label) in NAME_NAMES), None)
        self._names: PictureNames | None = None

    def usual_roles(self) -> Roles:
        return found_roles(self.header)

    @property
    def used(self) -> dict[str, str]:
        columns = self.header.columns
        used = {}
        if self.roles.id_at is not None:
            used[ID_ROLE] = columns[self.roles.id_at]
        if self.roles.pictures_at:
            used[PICTURE_ROLE] = ", ".join(columns[at] for at in self.roles.pictures_at)
        if self.roles.variant_at is not None:
            used[VARIANT_ROLE] = columns[self.roles.variant_at]
        return used | {label: columns[at] for at, label in self._labels.items() if label != columns[at]}

    @property
    def labels(self) -> Mapping[str, Source]:
        return {label: Source(self.header.columns[at], at) for at, label in self._labels.items()}

    def entries(self, table: Table) -> Iterator[Entry]:
        if self.roles.id_at is None and self._names is None:
            self._names = PictureNames(self._main_pictures(table))
        labels = tuple(self._labels.items())
        pictures = tuple((at, self.header.columns[at]) for at in self.roles.pictures_at)
        id_at, variant_at, name_at = self.roles.id_at, self.roles.variant_at, self._name_at
        name_column = None if name_at is None else self.header.columns[name_at]
        for row, fields in fields_of(table, name_column):
            if fields is None:
                yield Entry(Row(row.line, None, row.is_utf8), "")
                continue
            width = len(fields)
            values: dict[str, Value] = {label: text for at, label in labels if at < width and (text := fields[at])}
            references = [(column, text) for at, column in pictures if at < width and (text := fields[at].strip())]
            entry = Entry(row, self._id(fields, id_at, references), references, values)
            if variant_at is not None and variant_at < width:
                entry.variant_of = fields[variant_at].strip() or None
            entry.adds = name_at is not None and (name_at >= width or not fields[name_at].strip())
            yield entry

    def _labelled(self) -> dict[int, str]:
        """The label of each column that is an attribute: its own name, unless it has another. No two are the same."""
        columns, roles = self.header.columns, self.roles
        of_roles = {roles.id_at, roles.variant_at, *roles.pictures_at}
        labels: dict[int, str] = dict(roles.labels)
        taken = set(labels.values())
        unused = []
        for at, column in enumerate(columns):
            if at in labels or at in of_roles or plain(column) in self.ignored:
                continue
            if column in columns[:at]:
                unused.append(f"{column[:80]} occurs twice, the first one is used")
                continue
            if not at and column in _UNNAMED:
                unused.append("the first column has no name, like the row numbers that pandas writes")
                continue
            label, number = column, 2
            while label in taken:
                label, number = f"{column}_{number}", number + 1
            taken.add(label)
            labels[at] = label
        self.unused = tuple(unused)
        return dict(sorted(labels.items()))

    def _id(self, fields: Sequence[str], id_at: int | None, references: Sequence[tuple[str, str]]) -> str:
        if id_at is not None:
            return fields[id_at].strip() if id_at < len(fields) else ""
        pictures = split_pictures(references[0][1]) if references else []
        return self._names.id_of(self._named(pictures[0])) if pictures and self._names is not None else ""

    def _named(self, picture: str) -> str:
        """The reference that the id of a product without an id column is made of."""
        return picture

    def _main_pictures(self, table: Table) -> Iterator[str]:
        """The first picture of each row."""
        at = self.roles.pictures_at[0]
        for _, fields in fields_of(table, None):
            if fields is not None and at < len(fields) and (several := split_pictures(fields[at])):
                yield several[0]
