"""The result of reading a catalogue: its usable products, and every issue found.

A bad row never costs more than its own product. `ISSUE_KINDS` says for each kind whether the product is kept, so that
`rows == len(products) + len(rejected())` holds for every catalogue that is read without a limit.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from vitrine.catalogs.downloads import Downloads
from vitrine.catalogs.file_names import Found, Lookup
from vitrine.catalogs.roots import read_picture, resolve_picture
from vitrine.catalogs.table import Row
from vitrine.errors import CatalogMalformed, ParameterInvalid
from vitrine.kinds import kinds_of
from vitrine.products import AttributeKind, AttributeValue, Product, check_product_id

# kind -> whether the product is kept, and what the kind means
ISSUE_KINDS: Final[dict[str, tuple[bool, str]]] = {
    "malformed_row": (True, "too many fields; the extra ones were joined to the name"),
    "short_row": (True, "too few fields; the missing ones are left out"),
    "empty_field": (True, "fields without a value; they are left out"),
    "repaired_year": (True, "the year has an unusual form but was read"),
    "bad_year": (True, "the year cannot be read; it is left out"),
    "bad_encoding": (True, "the row is not UTF-8; it was read as Windows-1252"),
    "unknown_column": (True, "the column is unknown, unnamed or a repetition; it is left out"),
    "missing_column": (True, "a column of this layout is missing"),
    "renamed_column": (True, "the column's name is reserved or cannot be an attribute name; it was changed"),
    "unknown_category": (True, "no article type is known for this category; it is left out"),
    "unknown_partition": (True, "the benchmark has no such partition; it is left out"),
    "unusual_path": (True, "the picture's path does not have the form of this layout; its parts are left out"),
    "unlisted_item": (True, "the list of items does not have this item"),
    "repeated_row": (True, "a second list has this row twice; the first one is used"),
    "wrong_count": (True, "the first line of a list does not state its number of rows"),
    "differing_value": (True, "rows of one product differ; the first value is used"),
    "missing_further_picture": (True, "one of several pictures of the product cannot be used; it is left out"),
    "spreadsheet_id": (True, "a spreadsheet seems to have changed this id; the text is used as it is"),
    "not_shown": (False, "the shop does not show this product"),
    "missing_picture": (False, "there is no such picture"),
    "ambiguous_picture": (False, "several files have the picture's name, in different folders"),
    "format_unsupported": (False, "the file has a format that is not read as a picture"),
    "unsafe_picture": (False, "the picture's path or link leads out of the catalogue, or it is not a regular file"),
    "duplicate_id": (False, "an earlier row has this id; the first row is used"),
    "bad_id": (False, "the id is empty or not allowed"),
    "unreadable_row": (False, "the row cannot be read"),
}


@dataclass(frozen=True, slots=True)
class Issue:
    """One problem in a catalogue.

    `line` is the line of the CSV, from 1, where line 1 is the header. In a catalogue of several lists it is a line of
    the list of pictures, or of the list that `detail` names.
    """

    product_id: str | None
    line: int | None
    kind: str
    detail: str

    @property
    def kept(self) -> bool:
        """Whether the product is in the catalogue nevertheless."""
        return ISSUE_KINDS[self.kind][0]


@dataclass(frozen=True, slots=True)
class ColumnReport:
    """An attribute: the column it comes from, its kind, and what kept it from a better one (empty if nothing did)."""

    attribute: str
    column: str
    kind: AttributeKind
    spoiled: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """How a table was read. `tables` holds each file with what it was found to be; `used` the column of each role, and
    of each attribute that has another name than its column.
    """

    layout: str
    tables: tuple[tuple[Path, str], ...] = ()
    used: Mapping[str, str] = field(default_factory=dict)
    columns: tuple[ColumnReport, ...] = ()


@dataclass(frozen=True, slots=True)
class Catalog:
    """A catalogue read from a folder.

    `root` is absolute and free of links. `rows` counts the product rows that were read, without blank lines and header;
    with a limit, reading stops at the product that reaches it. `further_rows` counts the rows that only add pictures or
    variants to the product of another row. `kinds` holds the kind of each attribute; without it, the values decide.
    `mapping` holds the columns that the caller named for roles and attributes; `reading` is None for readers of a fixed
    layout. `downloads` holds the pictures that are links.
    """

    dataset: str
    reader: str
    root: Path
    products: tuple[Product, ...]
    issues: tuple[Issue, ...]
    rows: int
    further_rows: int = 0
    kinds: Mapping[str, AttributeKind] = field(default_factory=dict)
    mapping: Mapping[str, str] = field(default_factory=dict)
    reading: Reading | None = None
    downloads: Downloads | None = None

    def __post_init__(self) -> None:
        if not self.kinds:
            object.__setattr__(self, "kinds", kinds_of(product.attributes for product in self.products))

    def picture_path(self, product: Product) -> Path:
        """The file of the product's picture. Raises as `resolve_picture` does."""
        return resolve_picture(self.root, product.picture)

    def read_picture(self, product: Product) -> bytes:
        """The product's picture, a file or a download. Raises as `vitrine.catalogs.roots.read_picture` does."""
        return read_picture(self.root, product.picture, downloads=self.downloads)

    def issue_counts(self) -> dict[str, int]:
        """The number of issues of each kind, most frequent first."""
        return dict(Counter(issue.kind for issue in self.issues).most_common())

    def rejected(self) -> tuple[Issue, ...]:
        """The issues whose product was rejected, in the order of the file."""
        return tuple(issue for issue in self.issues if not issue.kept)

    def attribute_counts(self) -> dict[str, Counter[AttributeValue]]:
        """For each attribute, in order of first appearance, the number of products with each value.

        A product with a list counts once for each of its values.
        """
        counts: dict[str, Counter[AttributeValue]] = {}
        for product in self.products:
            for name, value in product.attributes.items():
                each = tuple(dict.fromkeys(value)) if isinstance(value, list) else (value,)
                counts.setdefault(name, Counter()).update(each)
        return counts


_SHOWN_CHARS: Final = 120
PICTURE_ISSUES: Final[dict[Found, str]] = {
    "missing": "missing_picture",
    "unsafe": "unsafe_picture",
    "ambiguous": "ambiguous_picture",
    "unsupported": "format_unsupported",
}


class CatalogBuilder:
    """Collects products and issues while a catalogue is read. Ids must be allowed and unique."""

    def __init__(
        self, *, dataset: str, reader: str, root: Path, limit: int | None, mapping: Mapping[str, str] | None = None
    ) -> None:
        self._mapping = dict(mapping or {})
        self._dataset = dataset
        self._reader = reader
        self._root = root
        self._limit = limit
        self._at: dict[str, int] = {}
        self._lines = array("Q")
        self.rows = 0
        self.further_rows = 0
        # The readers that know the kinds of the columns put them here.
        self.kinds: dict[str, AttributeKind] = {}
        self.products: list[Product] = []
        self.issues: list[Issue] = []

    @property
    def is_full(self) -> bool:
        return self._limit is not None and len(self.products) >= self._limit

    def position(self, product_id: str) -> int | None:
        """The place of a product that is collected already."""
        return self._at.get(product_id)

    def line(self, position: int) -> int:
        """The line of the row that began a product, 0 if it has none."""
        return self._lines[position]

    def issue(self, kind: str, detail: str, *, product_id: str | None = None, line: int | None = None) -> None:
        self.issues.append(Issue(product_id, line, kind, detail))

    def id_is_allowed(self, product_id: str, line: int | None) -> bool:
        try:
            check_product_id(product_id)
        except ParameterInvalid:
            shown = repr(product_id[:_SHOWN_CHARS]) if product_id else "no id"
            self.issue("bad_id", shown, line=line)
            return False
        return True

    def id_is_usable(self, product_id: str, line: int | None) -> bool:
        if not self.id_is_allowed(product_id, line):
            return False
        if product_id in self._at:
            self.issue("duplicate_id", "the first row is used", product_id=product_id, line=line)
            return False
        return True

    def picture_is_usable(self, found: Found | Lookup, product_id: str, line: int | None, picture: str) -> bool:
        """Whether the picture is found; if not, an issue is added, with `picture` as the table names it."""
        lookup = found if isinstance(found, Lookup) else Lookup(found)
        if lookup.found == "found":
            return True
        shown = picture[:_SHOWN_CHARS]
        detail = f"{shown}: {lookup.detail}" if lookup.detail else shown
        self.issue(PICTURE_ISSUES[lookup.found], detail, product_id=product_id, line=line)
        return False

    def row_issues(self, row: Row, width: int, product_id: str) -> None:
        """Record encoding and width issues of a row whose product is kept. `width` is the header's number of fields."""
        found = len(row.fields or ())
        if not row.is_utf8:
            self.issue("bad_encoding", "read as Windows-1252", product_id=product_id, line=row.line)
        if found > width:
            detail = f"{found} fields, the extra ones joined to the name"
            self.issue("malformed_row", detail, product_id=product_id, line=row.line)
        elif found < width:
            self.issue("short_row", f"{found} of {width} fields", product_id=product_id, line=row.line)

    def add(
        self,
        product_id: str,
        picture: str,
        attributes: dict[str, AttributeValue],
        *,
        more_pictures: tuple[str, ...] = (),
        variant_of: str | None = None,
        line: int = 0,
    ) -> None:
        self._at[product_id] = len(self.products)
        self._lines.append(line)
        self.products.append(Product(self._dataset, product_id, picture, attributes, more_pictures, variant_of))

    def add_pictures(self, position: int, pictures: Iterable[str]) -> None:
        """Add further pictures to a product."""
        product = self.products[position]
        self.products[position] = replace(product, more_pictures=(*product.more_pictures, *pictures))

    def set_attributes(self, position: int, attributes: dict[str, AttributeValue]) -> None:
        self.products[position] = replace(self.products[position], attributes=attributes)

    def keep(self, issues: Iterable[int], kind: str) -> None:
        """Change the kind of issues, by place, whose product is kept after all."""
        for at in issues:
            self.issues[at] = replace(self.issues[at], kind=kind)

    def group_variants(self) -> None:
        """Put the product that others are variants of into their group, and dissolve groups of one."""
        sizes = Counter(product.variant_of for product in self.products if product.variant_of is not None)
        for position, product in enumerate(self.products):
            group = product.variant_of
            if group is None and product.id in sizes:
                self.products[position] = replace(product, variant_of=product.id)
            elif group is not None and sizes[group] == 1 and (group == product.id or group not in self._at):
                self.products[position] = replace(product, variant_of=None)

    def catalog(self, csv_path: Path, *, reading: Reading | None = None, why_none: Callable[[], str] = str) -> Catalog:
        """The catalogue. Raises CatalogMalformed if there is no usable product; `why_none` gives the reason."""
        if not self.products and self._limit != 0:
            counts = Counter(issue.kind for issue in self.issues)
            listed = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
            raise CatalogMalformed(
                f"{csv_path} has {self.rows} rows and no usable product"
                + (f" ({listed})" if listed else "")
                + (f": {reason}" if (reason := why_none()) else "")
            )
        return Catalog(
            self._dataset,
            self._reader,
            self._root,
            tuple(self.products),
            tuple(self.issues),
            self.rows,
            further_rows=self.further_rows,
            kinds=self.kinds,
            mapping=self._mapping,
            reading=reading,
        )
