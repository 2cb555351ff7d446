"""Make products of the entries of a layout, in two passes: the kinds of the columns first, then the products.

Rows with one id are one product: the first row gives its values, further rows add pictures. A row that adds nothing is
a duplicate. No row is kept in memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from vitrine.catalogs.columns import ColumnTyper, TypedColumn, attribute_names, kinds_of, known, renaming, typed_columns
from vitrine.catalogs.downloads import KeepsLink, full_link, is_link
from vitrine.catalogs.file_names import Lookup
from vitrine.catalogs.layouts.entry import Entry, Layout, Source
from vitrine.catalogs.model import PICTURE_ISSUES, CatalogBuilder, ColumnReport
from vitrine.catalogs.picture_index import PictureIndex
from vitrine.catalogs.references import split_pictures
from vitrine.catalogs.table import Table
from vitrine.products import AttributeKind, AttributeValue

_SHOWN_CHARS: Final = 80
_PATH_LEVELS: Final = re.compile(r"\s*>\s*")
_INTEGER: Final = re.compile(r"[1-9][0-9]*")
_SPOILED_IDS: Final = (
    (re.compile(r"[0-9](?:\.[0-9]+)?[eE]\+?[0-9]{1,3}"), "digits are lost: format the column as text before saving"),
    (re.compile(r"#(?:N/A|REF!|NAME\?|VALUE!|DIV/0!|NUM!|NULL!)"), "the formula of the spreadsheet failed"),
    (
        re.compile(r"(?:[0-9]{1,2}-)?(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)-[0-9]{1,2}|[0-9]{1,2}-(?:jan|feb"
                   r"|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)(?:-[0-9]{2,4})?", re.IGNORECASE),
        "it looks like a date made of a code such as 1-2",
    ),
)  # fmt: skip
_DECIMAL_ID: Final = re.compile(r"[0-9]+\.0+")


_NONE: Final = Lookup("missing")


@dataclass(slots=True)
class _Pictures:
    """The pictures that a row names: those found, and the others as (column, reference, lookup)."""

    found: list[str] = field(default_factory=list)
    others: list[tuple[str, str, Lookup]] = field(default_factory=list)


@dataclass(slots=True)
class _Waiting:
    """The last product without a usable picture: a further row may have one."""

    entry: Entry
    issues: list[int]


class Assembler:
    """Reads tables into a builder, each with its layout."""

    def __init__(
        self, builder: CatalogBuilder, tables: Sequence[tuple[Table, Layout]], root: Path, *, keeps_link: KeepsLink
    ) -> None:
        self.builder = builder
        self._tables = tables
        self._root = root
        self._keeps_link = keeps_link
        self._index = PictureIndex(root)
        self.columns: dict[str, TypedColumn] = {}
        self.reports: tuple[ColumnReport, ...] = ()
        # What was looked for in vain, for the reason of a catalogue without products.
        self.missing_links = self.missing_paths = 0
        self._names: dict[str, str] = {}
        self._listed: dict[str, AttributeKind] = {}
        # The label, attribute, column and position of each field.
        self._fields: dict[Layout, list[tuple[str, str, str, int]]] = {}
        self._waiting: _Waiting | None = None
        self._decimal_ids: list[tuple[str, int]] = []
        self._has_integer_ids = False

    def run(self) -> None:
        self._find_kinds()
        for table, layout in self._tables:
            for entry in layout.entries(table):
                self._take(entry, table, layout)
        self._check_decimal_ids()
        self.builder.group_variants()

    def _find_kinds(self) -> None:
        typers: dict[str, ColumnTyper] = {}
        adds: dict[str, Callable[[str, int], None]] = {}
        for table, layout in self._tables:
            for entry in layout.entries(table):
                if not entry.id or entry.left_out is not None or entry.has_variations:
                    continue  # it is no product, so it decides no kind
                line = entry.row.line
                for label, value in entry.values.items():
                    if isinstance(value, str):
                        add = adds.get(label)
                        if add is None:
                            typers[label] = ColumnTyper(label, label, hint=layout.kinds.get(label))
                            add = adds[label] = typers[label].add
                        add(value, line)
                    else:
                        self._listed[label] = layout.kinds.get(label, AttributeKind.KEYWORDS)
        sources: dict[str, Source] = {}
        for _, layout in self._tables:
            sources |= {label: source for label, source in layout.labels.items() if label not in sources}
        self._names = attribute_names(sources)
        for _, layout in self._tables:
            self._fields[layout] = [
                (label, self._names[label], source.column, source.at)
                for label, source in layout.labels.items()
                if source.at is not None
            ]
        for label, typer in typers.items():
            typer.attribute, typer.column = self._names[label], sources[label].column
        for label in self._listed:
            typers.pop(label, None)
        self.columns = dict(zip(typers, typed_columns(typers.values()), strict=True))
        kinds = kinds_of(tuple(self.columns.values())) | {self._names[one]: kind for one, kind in self._listed.items()}
        self.builder.kinds.update(kinds)
        self._report(sources)

    def _report(self, sources: Mapping[str, Source]) -> None:
        reports = []
        for label, source in sources.items():
            column, attribute = self.columns.get(label), self._names[label]
            if column is not None:
                reports.append(ColumnReport(attribute, source.column, column.kind, column.spoiled))
                if column.currency_attribute is not None:
                    reports.append(ColumnReport(column.currency_attribute, source.column, AttributeKind.KEYWORD))
            elif label in self._listed:
                reports.append(ColumnReport(attribute, source.column, self._listed[label]))
            if attribute != label:
                self.builder.issue("renamed_column", renaming(label, attribute), line=1)
        self.reports = tuple(reports)
        for _, layout in self._tables:
            for notice in layout.notices:
                self.builder.issue("missing_column", notice, line=1)
            for reason in layout.unused:
                self.builder.issue("unknown_column", reason, line=1)

    def _take(self, entry: Entry, table: Table, layout: Layout) -> None:
        builder = self.builder
        position = builder.position(entry.id) if entry.id else None
        if builder.is_full and position is None:
            return
        if entry.row.fields is None:
            builder.rows += 1
            builder.issue("unreadable_row", "the row has too many fields or is too long", line=entry.row.line)
            return
        if entry.has_variations:
            builder.further_rows += 1
            return
        if position is not None:
            self._add_to(position, entry, layout)
            return
        builder.rows += 1
        builder.further_rows += entry.further_rows
        if entry.left_out is not None:
            builder.issue("not_shown", entry.left_out, product_id=entry.id or None, line=entry.row.line)
        elif builder.id_is_allowed(entry.id, entry.row.line):
            self._begin(entry, len(table.header), layout)

    def _begin(self, entry: Entry, width: int, layout: Layout) -> None:
        builder, line = self.builder, entry.row.line
        pictures = self._pictures(entry)
        only_links = all(map(is_link, pictures.found)) and all(is_link(one) for _, one, _ in pictures.others)
        named_any = bool(pictures.found or pictures.others)
        if (only_links and named_any) or (layout.by_id and not pictures.found):
            self._find_by_id(entry.id, pictures)
        waiting = self._waiting
        if waiting is not None and waiting.entry.id == entry.id:
            self._join(waiting, entry)
        if not pictures.found:
            self._reject(entry, pictures, layout)
            return
        self._waiting = None
        for other in pictures.others:
            builder.issue("missing_further_picture", _detail(*other), product_id=entry.id, line=line)
        builder.row_issues(entry.row, width, entry.id)
        self._check_id(entry.id, line)
        face, *more = pictures.found
        attributes = self._attributes(entry, layout)
        builder.add(entry.id, face, attributes, more_pictures=tuple(more), variant_of=entry.variant_of, line=line)

    def _join(self, waiting: _Waiting, entry: Entry) -> None:
        """Use the values of an earlier row of the product, whose picture could not be used."""
        entry.values = {**entry.values, **waiting.entry.values}
        entry.variant_of = waiting.entry.variant_of or entry.variant_of
        self.builder.rows -= 1
        self.builder.further_rows += 1
        self.builder.keep(waiting.issues, "missing_further_picture")

    def _reject(self, entry: Entry, pictures: _Pictures, layout: Layout) -> None:
        builder = self.builder
        first = len(builder.issues)
        column, reference, lookup = pictures.others[0] if pictures.others else ("", "", _NONE)
        if reference:
            detail = _detail(column, reference, lookup)
        elif layout.by_id:
            detail = f"no picture below {self._root} is named like the id"
        else:
            detail = f"column {layout.used.get('picture', '')[:_SHOWN_CHARS]!r} is empty"
        self.missing_links += is_link(reference)
        self.missing_paths += not is_link(reference)
        builder.issue(PICTURE_ISSUES[lookup.found], detail, product_id=entry.id, line=entry.row.line)
        self._waiting = _Waiting(entry, [first])

    def _add_to(self, position: int, entry: Entry, layout: Layout) -> None:
        """Add the pictures of a further row to a product."""
        builder, line = self.builder, entry.row.line
        product = builder.products[position]
        pictures = self._pictures(entry)
        new = [picture for picture in pictures.found if picture not in product.pictures]
        if not new and builder.is_full:
            return
        if not (new or pictures.others or (entry.adds and "name" in product.attributes)):
            builder.rows += 1
            builder.further_rows += entry.further_rows
            detail = f"line {builder.line(position)} has this id; this row adds no other picture"
            builder.issue("duplicate_id", detail, product_id=entry.id, line=line)
            return
        builder.further_rows += 1 + entry.further_rows
        if new:
            builder.add_pictures(position, new)
        for other in pictures.others:
            builder.issue("missing_further_picture", _detail(*other), product_id=entry.id, line=line)
        self._compare(position, entry, layout)

    def _compare(self, position: int, entry: Entry, layout: Layout) -> None:
        """Take the values that a product lacks from a further row, and report those that differ."""
        product = self.builder.products[position]
        attributes = dict(product.attributes)
        differing = []
        for name, value in self._attributes(entry, layout, quiet=True).items():
            before = attributes.setdefault(name, value)
            if entry.adds and isinstance(before, list) and isinstance(value, list):
                attributes[name] = list(dict.fromkeys((*before, *value)))
            elif before != value and not entry.adds:
                differing.append(f"{name} is {str(value)[:40]!r} here and {str(attributes[name])[:40]!r}")
        self.builder.set_attributes(position, attributes)
        if differing:
            detail = f"{', '.join(differing)} in line {self.builder.line(position)}"
            self.builder.issue("differing_value", detail, product_id=entry.id, line=entry.row.line)

    def _pictures(self, entry: Entry) -> _Pictures:
        pictures = _Pictures()
        for column, text in entry.references:
            for reference in split_pictures(text, self._exists):
                lookup = self._index.lookup(reference)
                if lookup.found == "missing" and is_link(reference):
                    link = full_link(reference)
                    if self._keeps_link(link):
                        lookup = Lookup("found", link)
                if lookup.found != "found":
                    pictures.others.append((column, reference, lookup))
                elif lookup.picture not in pictures.found:
                    pictures.found.append(lookup.picture)
        return pictures

    def _exists(self, reference: str) -> bool:
        return self._index.lookup(reference).found == "found"

    def _find_by_id(self, product_id: str, pictures: _Pictures) -> None:
        """Look for the picture that is named like the id. It replaces the first one, which is a link or missing."""
        lookup = self._index.lookup(product_id)
        if lookup.found == "found":
            first_link = 1 if pictures.found and not pictures.others else 0
            pictures.found[:first_link] = [lookup.picture]
            del pictures.others[:1]
        elif not pictures.others and not pictures.found:
            pictures.others.append(("", product_id, lookup))

    def _attributes(self, entry: Entry, layout: Layout, *, quiet: bool = False) -> dict[str, AttributeValue]:
        attributes: dict[str, AttributeValue] = {}
        columns = self.columns
        for label, value in entry.values.items():
            if isinstance(value, str) and label in columns:
                columns[label].put(value, attributes)
            elif label in self._listed and (listed := self._list(label, value)):
                attributes[self._names[label]] = listed
        if not quiet and layout.reports_empty:
            self._report_empty(entry, layout, attributes)
        return attributes

    def _list(self, label: str, value: str | list[str]) -> AttributeValue | None:
        values = [value] if isinstance(value, str) else value
        if self._listed[label] is not AttributeKind.PATH:
            return [one for one in values if known(one)] or None
        paths = [" > ".join(filter(None, _PATH_LEVELS.split(one.strip()))) for one in values]
        paths = list(dict.fromkeys(path for path in paths if path))
        return paths[0] if len(paths) == 1 else paths or None

    def _report_empty(self, entry: Entry, layout: Layout, attributes: Mapping[str, AttributeValue]) -> None:
        empty = []
        width = len(entry.row.fields or ())
        for label, attribute, column, at in self._fields[layout]:
            if attribute in attributes or at >= width:
                continue
            text = entry.values.get(label, "")
            if isinstance(text, str) and known(text) is not None:
                detail = repr(text[:40])
                self.builder.issue("bad_year", detail, product_id=entry.id, line=entry.row.line)
            else:
                empty.append(column)
        if empty:
            detail = ", ".join(empty)
            self.builder.issue("empty_field", detail, product_id=entry.id, line=entry.row.line)

    def _check_id(self, product_id: str, line: int) -> None:
        if _INTEGER.fullmatch(product_id):
            self._has_integer_ids = True
        elif _DECIMAL_ID.fullmatch(product_id):
            self._decimal_ids.append((product_id, line))
        else:
            for pattern, reason in _SPOILED_IDS:
                if pattern.fullmatch(product_id):
                    self._spreadsheet_id(product_id, line, reason)

    def _check_decimal_ids(self) -> None:
        if self._has_integer_ids:
            reason = "other ids are whole numbers"
        elif len(self._decimal_ids) == len(self.builder.products):
            reason = "all ids end like this, as if whole numbers had been saved as decimals"
        else:
            return
        for product_id, line in self._decimal_ids:
            self._spreadsheet_id(product_id, line, reason)

    def _spreadsheet_id(self, product_id: str, line: int, reason: str) -> None:
        self.builder.issue("spreadsheet_id", f"{product_id[:40]!r}: {reason}", product_id=product_id, line=line)


def _detail(column: str, reference: str, lookup: Lookup) -> str:
    """What an issue says of a picture: the column, the value, and where it was looked for."""
    shown = reference[:_SHOWN_CHARS]
    return f"column {column!r} is {shown!r}: {lookup.detail}" if column else f"{shown}: {lookup.detail}"
