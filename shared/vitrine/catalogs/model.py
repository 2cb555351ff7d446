"""What a reader hands over: the good products of a catalogue, and every fault it met by id and kind.

A fault costs at most its own row. `FAULT_KINDS` says for each kind whether its product was kept, so that
`rows == len(products) + skipped rows` holds for every catalogue read without a limit.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vitrine.catalogs.pictures import Found
from vitrine.catalogs.roots import resolve_picture
from vitrine.catalogs.table import Row
from vitrine.errors import CatalogMalformed, ParameterInvalid
from vitrine.products import AttributeValue, Product, check_product_id

FAULT_KINDS: Final[dict[str, tuple[bool, str]]] = {
    "malformed_row": (True, "too many fields; the surplus was joined to the name"),
    "short_row": (True, "too few fields; the missing ones are left out"),
    "empty_field": (True, "fields without a value; they are left out"),
    "repaired_year": (True, "the year was written oddly and was read all the same"),
    "bad_year": (True, "the year cannot be read; it is left out"),
    "bad_encoding": (True, "the row is not UTF-8; it was read as Windows-1252"),
    "unknown_column": (True, "a column this reader does not know; it is left out"),
    "missing_column": (True, "a column that every such catalogue has is not there"),
    "renamed_column": (
        True,
        "the column's name cannot be an attribute's name, or means something else in a call, and was changed",
    ),
    "unknown_category": (True, "no article type is known for this category; it is left out"),
    "unknown_partition": (True, "the benchmark has no such partition; it is left out"),
    "unusual_path": (True, "the picture's path does not tell what this layout promises; that is left out"),
    "unlisted_item": (True, "the list of items does not have this item"),
    "repeated_row": (True, "a second list has this row twice; the first counts"),
    "wrong_count": (True, "a list's first line does not tell how many rows it has"),
    "missing_picture": (False, "there is no such picture"),
    "unsafe_picture": (False, "the picture's path or link leads out of the catalogue, or it is no regular file"),
    "duplicate_id": (False, "the id came before; the first row counts"),
    "bad_id": (False, "the id is empty or cannot be used"),
    "unreadable_row": (False, "the row cannot be made sense of"),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a catalogue.

    `line` is the line of the CSV, counted from 1 with the header as line 1. For a catalogue of several lists it is a
    line of the list of pictures, or of the list that `detail` names.
    """

    product_id: str | None
    line: int | None
    kind: str
    detail: str

    @property
    def kept(self) -> bool:
        """Whether the product is in the catalogue all the same."""
        return FAULT_KINDS[self.kind][0]


@dataclass(frozen=True, slots=True)
class Catalog:
    """A catalogue read from a folder.

    `root` is absolute and free of links. `rows` counts the rows of products that were read, blank lines and header
    not included; with a limit, reading stops at the product that reaches it.
    """

    dataset: str
    reader: str
    root: Path
    products: tuple[Product, ...]
    faults: tuple[Fault, ...]
    rows: int

    def picture_path(self, product: Product) -> Path:
        """The product's picture, inside the root after links are followed. Raises as `resolve_picture` does."""
        return resolve_picture(self.root, product.picture)

    def fault_counts(self) -> dict[str, int]:
        """How many faults there are of each kind, the commonest first."""
        return dict(Counter(fault.kind for fault in self.faults).most_common())

    def skipped(self) -> tuple[Fault, ...]:
        """The faults that cost a product, in the order of the file."""
        return tuple(fault for fault in self.faults if not fault.kept)

    def attribute_counts(self) -> dict[str, Counter[AttributeValue]]:
        """For each attribute, how many products have each value, in the order attributes first appear."""
        counts: dict[str, Counter[AttributeValue]] = {}
        for product in self.products:
            for name, value in product.attributes.items():
                counts.setdefault(name, Counter())[value] += 1
        return counts


_SHOWN_CHARS = 120


class Harvest:
    """The products and faults so far, with the rules that every reader shares: ids are usable and come once."""

    def __init__(self, *, dataset: str, reader: str, root: Path, limit: int | None) -> None:
        self._dataset = dataset
        self._reader = reader
        self._root = root
        self._limit = limit
        self._ids: set[str] = set()
        self.rows = 0
        self.products: list[Product] = []
        self.faults: list[Fault] = []

    @property
    def is_full(self) -> bool:
        return self._limit is not None and len(self.products) >= self._limit

    def fault(self, kind: str, detail: str, *, product_id: str | None = None, line: int | None = None) -> None:
        self.faults.append(Fault(product_id, line, kind, detail))

    def id_is_usable(self, product_id: str, line: int) -> bool:
        try:
            check_product_id(product_id)
        except ParameterInvalid:
            shown = repr(product_id[:_SHOWN_CHARS]) if product_id else "no id"
            self.fault("bad_id", shown, line=line)
            return False
        if product_id in self._ids:
            self.fault("duplicate_id", "the first row counts", product_id=product_id, line=line)
            return False
        return True

    def picture_is_usable(self, found: Found, product_id: str, line: int, picture: str) -> bool:
        if found == "found":
            return True
        kind = "missing_picture" if found == "missing" else "unsafe_picture"
        self.fault(kind, picture[:_SHOWN_CHARS], product_id=product_id, line=line)
        return False

    def row_faults(self, row: Row, width: int, product_id: str) -> None:
        """Tell what is wrong with the form of a row whose product is kept. `width` is the header's."""
        found = len(row.fields or ())
        if not row.is_utf8:
            self.fault("bad_encoding", "read as Windows-1252", product_id=product_id, line=row.line)
        if found > width:
            detail = f"{found} fields, the surplus joined to the name"
            self.fault("malformed_row", detail, product_id=product_id, line=row.line)
        elif found < width:
            self.fault("short_row", f"{found} of {width} fields", product_id=product_id, line=row.line)

    def add(self, product_id: str, picture: str, attributes: dict[str, AttributeValue]) -> None:
        self._ids.add(product_id)
        self.products.append(Product(self._dataset, product_id, picture, attributes))

    def catalog(self, csv_path: Path) -> Catalog:
        """The catalogue, or CatalogMalformed where a whole file gave no product."""
        if not self.products and self._limit != 0:
            counts = Counter(fault.kind for fault in self.faults)
            told = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
            raise CatalogMalformed(
                f"{csv_path} has {self.rows} rows and no usable product" + (f" ({told})" if told else "")
            )
        return Catalog(self._dataset, self._reader, self._root, tuple(self.products), tuple(self.faults), self.rows)
