"""What a reader gathers row by row: the products that are good, and the faults of those that are not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from vitrine.catalogs.model import Catalog, Fault
from vitrine.catalogs.pictures import Found
from vitrine.catalogs.table import Row
from vitrine.errors import CatalogMalformed, ParameterInvalid
from vitrine.products import AttributeValue, Product, check_product_id

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
