"""Which columns of a table hold the ids, the pictures, the shared id of variants and the name of its products.

Columns are compared without case, blanks and punctuation: `Image Src`, `image_src` and `g:image-src` are the same.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from vitrine.errors import ParameterInvalid
from vitrine.products import check_attribute_name

ID_ROLE: Final = "id"
PICTURE_ROLE: Final = "picture"
VARIANT_ROLE: Final = "variantOf"
# Names the file of the catalogue, where a folder has several tables.
TABLE_ROLE: Final = "table"

# The likeliest first.
ID_NAMES: Final = (
    "id", "productid", "sku", "productsku", "articleid", "itemid", "variantsku", "variantid", "handle", "productcode",
    "articlecode", "itemcode", "articlenumber", "articleno", "articlenr", "itemnumber", "itemno", "productnumber",
    "productno", "artikelnummer", "artikelnr", "artnr", "artikelid", "produktid", "produktnummer", "bestellnummer",
    "idproduit", "codeproduit", "codicearticolo", "idproducto", "productref", "productreference", "reference",
    "référence", "referencia", "codice", "código", "codigo", "stylenumber", "stylecode", "styleid", "partnumber", "mpn",
    "asin", "gtin", "ean", "ean13", "upc", "barcode", "isbn", "identifier", "code", "ref", "uid", "uuid", "key",
    "slug", "urlkey", "itemsku", "sellersku", "merchantsku",
)  # fmt: skip
VARIANT_NAMES: Final = (
    "variantof", "itemgroupid", "groupid", "parentid", "parentsku", "parentproductid", "parentproduct", "parent",
    "variantgroup", "variantgroupid", "productgroupid", "masterid", "masterproductid", "mastersku", "masterproduct",
)  # fmt: skip
NAME_NAMES: Final = (
    "name", "productdisplayname", "title", "productname", "producttitle", "itemname", "displayname", "prodname",
    "producttitel", "produktname", "artikelname", "titel", "bezeichnung", "nombre", "nom", "titre", "nome",
)  # fmt: skip
_PICTURE: Final = (
    "images?|pictures?|photos?|imgs?|pics?|bild|bilder|fotos?|imagen|imágenes|imagenes|imagem|imagens|immagine|immagini"
    "|afbeelding|afbeeldingen"
)
_BEFORE: Final = (
    "additional|more|other|extra|further|alternate|alternative|alt|second|secondary|third|gallery|main|primary|front|back"
    "|rear|side|detail|closeup|cover|featured|hero|base|product|item|article|model|lifestyle|weitere|zusätzliche"
)
_AFTER: Final = "url|urls|link|links|src|source|path|paths|file|files|filename|filenames|filepath|name|uri|href|urlsxyz"
# The main column first: a plain name, a name with a number, a name that says it has further pictures.
_PICTURE_COLUMN: Final = re.compile(
    rf"(?P<before>{_BEFORE})*(?:{_PICTURE})(?P<after>front|back|side|detail)?(?:{_AFTER})?(?P<number>[0-9]{{0,2}})(?:{_AFTER})?"
)
_MAIN: Final = re.compile(r"(?:main|primary|front|cover|featured|hero|base|product|item|article)?")
# Used only where no column is named after pictures.
WEAK_PICTURE_NAMES: Final = (
    "file", "filename", "path", "filepath", "thumbnail", "thumbnailurl", "thumb", "thumburl", "media", "mediaurl",
    "mediaurls", "gallery", "datei", "dateiname", "fichier", "archivo",
)  # fmt: skip
_SHOWN_COLUMNS: Final = 30
_SHOWN_CHARS: Final = 60


def plain(name: str) -> str:
    """A column's name as it is compared."""
    name = unicodedata.normalize("NFKC", name).casefold().strip()
    return "".join(filter(str.isalnum, name.removeprefix("g:")))


@dataclass(frozen=True, slots=True)
class Roles:
    """The positions of the columns with a role. `labels` holds the wanted attribute name of columns that have one."""

    id_at: int | None = None
    pictures_at: tuple[int, ...] = ()
    variant_at: int | None = None
    labels: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Header:
    """The columns of a table, by position."""

    columns: tuple[str, ...]
    table: str

    def at(self, *names: str) -> int | None:
        """The position of the first of the names that is a column; the names as from `plain`."""
        known = [plain(column) for column in self.columns]
        return next((known.index(name) for name in names if name in known), None)

    def named(self, column: str) -> int | None:
        """The position of a column as a person names it; None if there is none."""
        if column in self.columns:
            return self.columns.index(column)
        return self.at(plain(column)) if plain(column) else None

    def position(self, column: str) -> int:
        """The position of a column as a person names it. Raises ParameterInvalid, naming the likeliest column."""
        found = self.named(column)
        if found is not None:
            return found
        by_plain = {plain(one): one for one in self.columns}
        near = difflib.get_close_matches(plain(column), list(by_plain), n=1, cutoff=0.5)
        hint = f"the likeliest is {by_plain[near[0]]!r}, of " if near else "there are "
        shown = column[:_SHOWN_CHARS]
        raise ParameterInvalid(f"{self.table} has no column {shown!r}; {hint}{listed(self.columns)}")


def listed(columns: Sequence[str]) -> str:
    """The names of columns, for a message."""
    shown = ", ".join(repr(column[:_SHOWN_CHARS]) for column in columns[:_SHOWN_COLUMNS])
    more = len(columns) - _SHOWN_COLUMNS
    return f"{shown} and {more} more" if more > 0 else shown


def is_id(column: str) -> bool:
    return plain(column) in ID_NAMES


def is_picture(column: str) -> bool:
    name = plain(column)
    return bool(_PICTURE_COLUMN.fullmatch(name)) or name in WEAK_PICTURE_NAMES


def picture_columns(columns: Sequence[str]) -> tuple[int, ...]:
    """The positions of the columns that hold pictures, the main one first, then by number and place."""
    ranked = []
    for at, column in enumerate(columns):
        if match := _PICTURE_COLUMN.fullmatch(plain(column)):
            is_main = bool(_MAIN.fullmatch(match["before"] or "")) and match["after"] in (None, "front")
            ranked.append((not is_main, int(match["number"] or 0), at))
    if ranked:
        return tuple(at for *_, at in sorted(ranked))
    weak = Header(tuple(columns), "").at(*WEAK_PICTURE_NAMES)
    return () if weak is None else (weak,)


def found_roles(header: Header) -> Roles:
    """The roles of a table's columns by their usual names."""
    id_at = header.at(*ID_NAMES)
    pictures = tuple(at for at in picture_columns(header.columns) if at != id_at)
    name_at = header.at(*NAME_NAMES)
    # `attribute_names` knows the first two itself.
    labels = {} if name_at is None or plain(header.columns[name_at]) in NAME_NAMES[:2] else {name_at: "name"}
    return Roles(id_at, pictures, header.at(*VARIANT_NAMES), labels)


def with_mapping(roles: Roles, header: Header, mapping: Mapping[str, str]) -> Roles:
    """The roles with those that a person named. Raises ParameterInvalid for a column or an attribute that cannot be."""
    id_at, pictures, variant_at = roles.id_at, roles.pictures_at, roles.variant_at
    labels = dict(roles.labels)
    for name, column in mapping.items():
        role = plain(name)
        if role == ID_ROLE:
            id_at = header.position(column)
        elif role in (PICTURE_ROLE, "pictures", "image", "images"):
            pictures = _several(header, column)
        elif role == plain(VARIANT_ROLE):
            variant_at = header.position(column)
        elif role != TABLE_ROLE:
            at = header.position(column)
            labels = {other: label for other, label in labels.items() if label != name}
            labels[at] = check_attribute_name(name)
    return Roles(id_at, pictures, variant_at, labels)


def _several(header: Header, columns: str) -> tuple[int, ...]:
    """The positions of one column, or of several that are separated by commas."""
    whole = header.named(columns)
    if whole is not None:
        return (whole,)
    return tuple(dict.fromkeys(header.position(part.strip()) for part in columns.split(",") if part.strip()))
