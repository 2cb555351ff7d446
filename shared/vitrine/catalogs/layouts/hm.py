"""The layout of the H&M data: `articles.csv` and `images/010/0108775015.jpg`; articles of one product are variants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from vitrine.catalogs.layouts.entry import Entry
from vitrine.catalogs.layouts.plain_table import PlainTable
from vitrine.catalogs.layouts.roles import Header, Roles, plain
from vitrine.catalogs.table import Table

_TELLING: Final = frozenset({"prodname", "producttypename", "productgroupname", "colourgroupname", "garmentgroupname"})
_LABELS: Final = {"prodname": "name", "producttypename": "articleType", "colourgroupname": "baseColour"}
_ID_DIGITS: Final = 10
_FOLDER_DIGITS: Final = 3


class HAndM(PlainTable):
    name = "hm"

    @staticmethod
    def fits(header: Header) -> bool:
        """Whether these are the columns of `articles.csv`."""
        names = {plain(column) for column in header.columns}
        return {"articleid", "productcode"} <= names and bool(names & _TELLING)

    def usual_roles(self) -> Roles:
        at = self.header.at
        labels = {place: label for name, label in _LABELS.items() if (place := at(name)) is not None}
        roles = super().usual_roles()
        id_at = roles.id_at if at("articleid") is None else at("articleid")
        return replace(roles, id_at=id_at, variant_at=at("productcode"), labels=labels)

    def entries(self, table: Table) -> Iterator[Entry]:
        column = self.used.get("id", "")
        for entry in super().entries(table):
            if entry.id and not entry.references:
                # A spreadsheet takes the zeros of an id, not those of a file's name.
                digits = entry.id.zfill(_ID_DIGITS) if entry.id.isdigit() else entry.id
                entry.references = [(column, f"images/{digits[:_FOLDER_DIGITS]}/{digits}.jpg")]
            yield entry
