"""The layout of a Shopify product export: the rows of one handle are one product, its variants and its pictures.

Both forms of the export are read, the one with `Body (HTML)` and `Variant Price` and the one with `URL handle` and
`Price`. The values of the options (`Size`, `Color`) are lists of what is on offer, and the price is the lowest one.
Products that the shop does not show are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from typing import Final

from vitrine.catalogs.layouts.entry import Entry, Source, fields_of
from vitrine.catalogs.layouts.plain_table import PlainTable
from vitrine.catalogs.layouts.roles import Header, Roles, plain
from vitrine.catalogs.table import Row, Table
from vitrine.products import AttributeKind

_HANDLE: Final = ("handle", "urlhandle")
_PICTURE: Final = ("imagesrc", "productimageurl")
_VARIANT_PICTURE: Final = ("variantimage", "variantimageurl")
_TELLING: Final = frozenset(
    {
        *_HANDLE, *_PICTURE, *_VARIANT_PICTURE, "bodyhtml", "option1name", "option1value", "variantsku", "variantprice",
        "variantcompareatprice", "variantinventoryqty", "variantgrams", "imageposition", "publishedononlinestore",
    }
)  # fmt: skip
_LABELS: Final = {
    "title": "name", "bodyhtml": "description", "description": "description", "vendor": "vendor", "type": "articleType",
    "customproducttype": "articleType", "productcategory": "category", "standardizedproducttype": "category",
    "tags": "tags", "variantprice": "price", "price": "price", "variantcompareatprice": "compareAtPrice",
    "compareatprice": "compareAtPrice", "variantsku": "sku", "sku": "sku", "variantbarcode": "barcode",
    "barcode": "barcode", "googleshoppinggender": "gender", "googleshoppingagegroup": "ageGroup",
}  # fmt: skip
_OPTIONS: Final = 3
# A product without options has this one.
_NO_OPTION: Final = ("title", "default title")
_LISTED: Final = frozenset({"sku", "barcode"})
_TEXT_MARK: Final = "'"
_SHOWN: Final = "active"
_NO: Final = frozenset({"false", "no", "0"})
# Stock keeping, shipping, taxes and costs: no business of shoppers.
_IGNORED: Final = frozenset(
    {
        "published", "publishedononlinestore", "status", "imageposition", "imagealttext", "giftcard", "seotitle",
        "seodescription", "variantgrams", "variantinventorytracker", "variantinventoryqty", "variantinventorypolicy",
        "variantfulfillmentservice", "variantrequiresshipping", "varianttaxable", "varianttaxcode", "variantweightunit",
        "costperitem", "chargetax", "taxcode", "inventorytracker", "inventoryquantity", "fulfillmentservice",
        "continuesellingwhenoutofstock", "weightvaluegrams", "weightunitfordisplay", "requiresshipping",
        "unitpricetotalmeasure", "unitpricetotalmeasureunit", "unitpricebasemeasure", "unitpricebasemeasureunit",
        *_VARIANT_PICTURE,
        *(f"option{number}{part}" for number in range(1, _OPTIONS + 1) for part in ("name", "value", "linkedto")),
    }
)  # fmt: skip


class Shopify(PlainTable):
    name = "shopify"
    reports_empty = False
    ignored = _IGNORED

    def __init__(self, table: Table, mapping: Mapping[str, str]) -> None:
        super().__init__(table, mapping)
        self.by_id = False
        self.kinds = dict.fromkeys(("tags", *_LISTED), AttributeKind.KEYWORDS) | {"category": AttributeKind.PATH}
        self.kinds |= dict.fromkeys(("price", "compareAtPrice"), AttributeKind.DECIMAL)
        self.notices = tuple(self._renamed())
        at = self.header.at
        self._position_at = at("imageposition")
        self._variant_picture_at = at(*_VARIANT_PICTURE)
        self._state_at = (at("status"), at("published", "publishedononlinestore"))
        self._options_at = [(at(f"option{n}name"), at(f"option{n}value")) for n in range(1, _OPTIONS + 1)]
        self._option_labels: dict[str, str] = {}
        self._title_at = next((at for at, label in self._labels.items() if label == "name"), None)

    @staticmethod
    def fits(header: Header) -> bool:
        """Whether these are the columns of such an export, some of which may have been renamed."""
        names = {plain(column) for column in header.columns}
        needed = 3 if names.intersection(_HANDLE) else 5
        return len(names & _TELLING) >= needed

    def usual_roles(self) -> Roles:
        roles = super().usual_roles()
        handle, picture = self.header.at(*_HANDLE), self.header.at(*_PICTURE)
        labels: dict[int, str] = {}
        for at, column in enumerate(self.header.columns):
            label = _LABELS.get(plain(column))
            if label is not None and label not in labels.values():
                labels[at] = label
        return replace(
            roles,
            id_at=roles.id_at if handle is None else handle,
            pictures_at=roles.pictures_at if picture is None else (picture,),
            variant_at=None,
            labels=labels,
        )

    def _renamed(self) -> Iterator[str]:
        """What is doubtful where the export's own columns were renamed."""
        for names, shown, at in (
            (_HANDLE, "Handle", self.roles.id_at),
            (_PICTURE, "Image Src", next(iter(self.roles.pictures_at), None)),
        ):
            if self.header.at(*names) is None and at is not None:
                yield f"{shown}: {self.header.columns[at]!r} is used instead, as the other columns are Shopify's"

    @property
    def labels(self) -> Mapping[str, Source]:
        options = {label: Source(f"Option {label!r}", None) for label in self._option_labels.values()}
        return {**super().labels, **options}

    def entries(self, table: Table) -> Iterator[Entry]:
        product: _Product | None = None
        for row, fields in fields_of(table, None):
            if fields is None:
                yield Entry(Row(row.line, None, row.is_utf8), "")
                continue
            handle = _field(fields, self.roles.id_at)
            if product is None or (handle and handle != product.entry.id):
                if product is not None:
                    yield product.finished()
                product = _Product(Entry(row, handle))
                product.entry.adds = not _field(fields, self._title_at)
                product.entry.left_out = self._left_out(fields)
            else:
                product.entry.further_rows += 1
            self._add(product, fields)
        if product is not None:
            yield product.finished()

    def _add(self, product: _Product, fields: Sequence[str]) -> None:
        for at, label in self._labels.items():
            if text := _field(fields, at):
                product.put(label, text)
        for number, (name_at, value_at) in enumerate(self._options_at):
            if name := _field(fields, name_at):
                product.options[number] = name
            value, name = _field(fields, value_at), product.options.get(number, "")
            if value and name and (name.casefold(), value.casefold()) != _NO_OPTION:
                product.put_listed(self._option_label(name), value)
        position = _field(fields, self._position_at)
        for at in self.roles.pictures_at:
            if picture := _field(fields, at):
                rank = int(position) if position.isascii() and position.isdigit() else len(product.pictures) + 1
                product.pictures.append((rank, self.header.columns[at], picture))
        if self._variant_picture_at is not None and (picture := _field(fields, self._variant_picture_at)):
            product.variant_pictures.append((self.header.columns[self._variant_picture_at], picture))

    def _option_label(self, name: str) -> str:
        """One label for an option, however its case; not that of a column."""
        key = name.casefold()
        if key not in self._option_labels:
            taken = {label.casefold() for label in self._labels.values()}
            label = f"{name}_option" if key in taken else name
            self._option_labels[key] = label
            self.kinds[label] = AttributeKind.KEYWORDS
        return self._option_labels[key]

    def _left_out(self, fields: Sequence[str]) -> str | None:
        status_at, published_at = self._state_at
        if (status := _field(fields, status_at)) and status.casefold() != _SHOWN:
            return f"column 'Status' is {status[:40]!r}"
        if (published := _field(fields, published_at)).casefold() in _NO:
            return f"column {self.header.columns[published_at or 0]!r} is {published!r}"
        return None


class _Product:
    """Collects the rows of one handle."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.options: dict[int, str] = {}
        self.pictures: list[tuple[int, str, str]] = []
        self.variant_pictures: list[tuple[str, str]] = []

    def put(self, label: str, text: str) -> None:
        if label in _LISTED:
            self.put_listed(label, text.removeprefix(_TEXT_MARK))
        elif label == "tags":
            for tag in text.split(","):
                self.put_listed(label, tag.strip())
        elif label == "description":
            self.entry.values.setdefault(label, _without_tags(text))
        elif label == "price":
            before = self.entry.values.get(label)
            self.entry.values[label] = min(before, text, key=_amount) if isinstance(before, str) else text
        else:
            self.entry.values.setdefault(label, text)

    def put_listed(self, label: str, text: str) -> None:
        listed = self.entry.values.setdefault(label, [])
        if text and isinstance(listed, list) and text not in listed:
            listed.append(text)

    def finished(self) -> Entry:
        ranked = sorted(self.pictures, key=lambda picture: picture[0])
        self.entry.references = [(column, picture) for _, column, picture in ranked] + self.variant_pictures
        return self.entry


def _field(fields: Sequence[str], at: int | None) -> str:
    return fields[at].strip() if at is not None and at < len(fields) else ""


def _amount(text: str) -> float:
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return float("inf")


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)

    def handle_starttag(self, *_: object) -> None:
        self.parts.append(" ")


def _without_tags(html: str) -> str:
    if "<" not in html and "&" not in html:
        return html
    parser = _Text()
    parser.feed(html)
    parser.close()
    return " ".join("".join(parser.parts).split())
