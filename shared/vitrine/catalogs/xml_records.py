"""Read products from an XML feed: Google Merchant as RSS or Atom, and feeds of other shops with such elements.

The name of a column is the element's name without its namespace: `g:image_link` is `image_link`. An element that occurs
several times in a product, such as `additional_image_link`, is a list. Entities and external documents are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import iterparse

from vitrine.catalogs.records import Record
from vitrine.catalogs.table_files import TableFile
from vitrine.errors import CatalogMalformed

# The elements that are products: RSS, Atom, Yandex Market and feeds of shops' own.
_PRODUCT_TAGS: Final = frozenset(
    {"item", "entry", "offer", "product", "shopitem", "artikel", "article", "row", "record"}
)
_GOOGLE: Final = "http://base.google.com/ns/1.0"
# Attributes that hold the value of an element without text, such as Atom's <link href="…"/>.
_VALUE_ATTRIBUTES: Final = ("href", "url", "src")
_MAX_DEPTH: Final = 100


def is_xml(head: bytes) -> bool:
    """Whether a file is XML, by its first bytes in any encoding."""
    start = head.replace(b"\0", b"").removeprefix(b"\xef\xbb\xbf").removeprefix(b"\xff\xfe").removeprefix(b"\xfe\xff")
    return start.lstrip()[:1] == b"<"


def xml_records(file: TableFile) -> Iterator[Record]:
    """The products of a feed; `line` is the number of the product, from 1. Raises CatalogMalformed."""
    number = 0
    root = "nothing"
    try:
        with file.open() as source:
            for element in _products(source):
                if isinstance(element, str):
                    root = element
                    continue
                number += 1
                yield Record(number, _members(element))
    except ParseError as error:
        raise CatalogMalformed(
            f"{file.path} is not valid XML after {number:,} products ({error}); write or download it again"
        ) from error
    except (DefusedXmlException, ValueError, LookupError) as error:
        raise CatalogMalformed(f"{file.path} is refused: its XML has entities or an unknown encoding") from error
    if not number:
        raise CatalogMalformed(
            f"{file.path} has no products: its first element is <{root}>, and products are "
            "<item> (RSS) or <entry> (Atom) elements, as in a Google Merchant feed"
        )


def _products(source: Any) -> Iterator[Element | str]:
    """The name of the root, then each product's element, which is emptied afterwards."""
    open_elements: list[Element] = []
    product: Element | None = None
    for event, element in iterparse(source, events=("start", "end")):
        if event == "start":
            if not open_elements:
                yield _name(element)
            elif product is None and _name(element).lower() in _PRODUCT_TAGS:
                product = element
            open_elements.append(element)
            if len(open_elements) > _MAX_DEPTH:
                raise ParseError("elements are nested too deeply")
            continue
        open_elements.pop()
        if product is not None and element is product:
            yield product
            product = None
        if product is None:
            element.clear()
            if open_elements:
                open_elements[-1].remove(element)


def _members(element: Element) -> dict[str, Any]:
    members: dict[str, Any] = {_name_of(name): value for name, value in element.attrib.items()}
    google: set[str] = set()
    for child in element:
        name, value = _name(child), _value(child)
        is_google = child.tag.startswith(f"{{{_GOOGLE}")
        if is_google and name not in google:
            google.add(name)
            members[name] = value  # <g:title> replaces <title>
        elif name not in members:
            members[name] = value
        elif is_google or name not in google:
            earlier = members[name]
            members[name] = [*earlier, value] if isinstance(earlier, list) else [earlier, value]
    return members


def _value(element: Element) -> Any:
    """The element's text, or the members of its inner elements."""
    text = (element.text or "").strip()
    if len(element) and not text:
        return _members(element)
    if len(element):
        return " ".join("".join(element.itertext()).split())
    return text or next((element.attrib[name] for name in _VALUE_ATTRIBUTES if name in element.attrib), "")


def _name(element: Element) -> str:
    return _name_of(element.tag) if isinstance(element.tag, str) else ""


def _name_of(tag: str) -> str:
    return tag.rpartition("}")[2]
