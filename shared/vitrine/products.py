"""Products with their pictures and attributes, the ids derived from them, and the rules for names.

The point id depends only on dataset and product id, so indexing twice overwrites and never duplicates. Names of
datasets, models and attributes are validated here, because they become parts of collection names, addresses and query
strings.
"""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from vitrine.errors import ParameterInvalid

# A list holds several keywords, or several category paths; a date is text in ISO 8601.
AttributeValue = str | int | float | bool | list[str]


class AttributeKind(StrEnum):
    """What the values of an attribute are. It decides how they are indexed, filtered, counted and shown."""

    KEYWORD = "keyword"
    KEYWORDS = "keywords"  # a list of keywords; a filter matches each of them
    INTEGER = "integer"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    DATE = "date"  # 2024-01-15, or with a time and zone
    PATH = "path"  # Clothing > Dresses > Midi; a filter matches each level
    TEXT = "text"  # free text: shown, not filtered


POINT_NAMESPACE: Final = uuid.UUID("5a1f2f6e-6d0b-5c1e-9a53-2f1d8a4f7c10")

STANDARD_ATTRIBUTES: Final = (
    "gender",
    "masterCategory",
    "subCategory",
    "articleType",
    "baseColour",
    "season",
    "year",
    "usage",
    "name",
)
# `name` is free text: it is shown but cannot be filtered.
UNFILTERED_ATTRIBUTES: Final = frozenset({"name"})

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._]|-(?!-)){0,119}")
_ATTRIBUTE = re.compile(r"[^\W\d_]\w{0,63}")
_MAX_PRODUCT_ID_CHARS: Final = 200
_SLASHES: Final = re.compile(r"[/\\]")
_DOTS: Final = frozenset({".", ".."})


@dataclass(frozen=True, slots=True)
class Product:
    """One garment of a dataset.

    `picture` is the product's face: a path relative to the catalogue's root, with forward slashes. `more_pictures` are
    its further pictures. `attributes` has known values only: an unknown value is absent, never an empty string. `year`
    is an integer. `variant_of` is the id that the variants of one product share; None if the product has no variants.
    """

    dataset: str
    id: str
    picture: str
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    more_pictures: tuple[str, ...] = ()
    variant_of: str | None = None

    @property
    def pictures(self) -> tuple[str, ...]:
        """All pictures, the face first."""
        return (self.picture, *self.more_pictures)

    @property
    def point_id(self) -> str:
        return point_id(self.dataset, self.id)

    def payload(self) -> dict[str, Any]:
        """The payload of the product's point in Qdrant."""
        payload: dict[str, Any] = {
            "product_id": self.id,
            "dataset": self.dataset,
            "picture": self.picture,
            **self.attributes,
        }
        if self.more_pictures:
            payload[PICTURES_FIELD] = list(self.pictures)
        if self.variant_of is not None:
            payload[VARIANT_FIELD] = self.variant_of
        pairs = [
            composite_value(gender, article_type)
            for gender in _several(self.attributes.get("gender"))
            for article_type in _several(self.attributes.get("articleType"))
        ]
        if pairs:
            payload[COMPOSITE_FIELD] = pairs[0] if len(pairs) == 1 else pairs
        return payload


def group_of(payload: Mapping[str, Any]) -> str:
    """The id that a stored product shares with its variants; its own id if it has none."""
    return str(payload.get(VARIANT_FIELD) or payload["product_id"])


def _several(value: AttributeValue | None) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def point_id(dataset: str, product_id: str) -> str:
    """The point id of a product: UUIDv5 of dataset and product id."""
    return str(uuid.uuid5(POINT_NAMESPACE, f"{dataset}\x1f{product_id}"))


def composite_value(gender: AttributeValue, article_type: AttributeValue) -> str:
    """The value of the composite field. Indexing it adds graph links for the most common conjunction of filters."""
    return f"{gender}|{article_type}"


def public_id(product_id: str) -> int | str:
    """The id in API responses: an integer if it has the form of one, else the string."""
    if product_id.isascii() and product_id.isdigit() and (product_id == "0" or product_id[0] != "0"):
        number = int(product_id)
        if number <= 2**53:  # JavaScript clients would round larger numbers
            return number
    return product_id


def check_dataset_name(name: str) -> str:
    """Return the name. Raises ParameterInvalid unless it has 1 to 120 letters, digits, `.`, `_` and single `-`."""
    return _check_name(name, "dataset")


def check_model_name(name: str) -> str:
    """Return the name. Raises ParameterInvalid; the rule is that of datasets."""
    return _check_name(name, "model")


def check_attribute_name(name: str) -> str:
    """Return the name. Raises ParameterInvalid unless it is a letter, then letters, digits or `_`, not reserved.

    Letters and digits of all scripts are allowed, as composed characters (Unicode NFC): Qdrant reads such a key without
    quotes.
    """
    if not _ATTRIBUTE.fullmatch(name) or not name[0].isalpha() or not unicodedata.is_normalized("NFC", name):
        raise ParameterInvalid(
            f"attribute name {name[:80]!r} is not allowed: use a letter, then letters, digits and '_'"
        )
    if name in RESERVED_NAMES:
        raise ParameterInvalid(
            f"attribute name {name!r} is not allowed: {why_renamed(name)}; such an attribute is stored as "
            f"{stored_name(name)!r}"
        )
    return name


def check_product_id(product_id: str) -> str:
    """Return the id. Raises ParameterInvalid unless it has 1 to 200 printable characters, none of them a blank at
    either end, and no part between slashes is `.` or `..`, which an address would lose.
    """
    if (
        not 0 < len(product_id) <= _MAX_PRODUCT_ID_CHARS
        or not product_id.isprintable()
        or product_id != product_id.strip()
        or ("." in product_id and not _DOTS.isdisjoint(_SLASHES.split(product_id)))
    ):
        raise ParameterInvalid(
            f"product id {product_id[:80]!r} is not allowed: "
            f"1 to {_MAX_PRODUCT_ID_CHARS} printable characters, and neither '.' nor '..' between slashes"
        )
    return product_id


def _check_name(name: str, what: str) -> str:
    if not _NAME.fullmatch(name) or name.endswith("-"):
        raise ParameterInvalid(
            f"{what} name {name[:80]!r} is not allowed: "
            "letters, digits, '.', '_' and single '-', at most 120 characters"
        )
    return name


COMPOSITE_FIELD: Final = "genderArticleType"
# All pictures of a product that has several.
PICTURES_FIELD: Final = "pictures"
# The id that the variants of a product share. In a collection with variants every point has it, a product without
# variants its own id.
VARIANT_FIELD: Final = "variant_of"
# The levels of each category path: {"category": ["Clothing", "Clothing > Dresses"]}. Filters use these.
PATHS_FIELD: Final = "paths_"
# The time when Vitrine first stored the product, in milliseconds since 1970.
ADDED_AT_FIELD: Final = "added_at_ms"
# The size and the time of change of each picture's file, by which an indexing sees whether to read it again.
FILES_FIELD: Final = "picture_files"
# Fields that are indexed for internal use and are neither filters nor facets.
HIDDEN_FIELDS: Final = frozenset({COMPOSITE_FIELD, ADDED_AT_FIELD, VARIANT_FIELD})

# Query parameters and form fields of calls that also accept attributes as fields.
OPTION_NAMES: Final = frozenset(
    {
        "crops", "cursor", "cutout", "dataset", "expand", "expandAlpha", "facets", "field", "flip", "fuse",
        "fuseWeight", "groupBy", "image", "kindFilters", "limit", "minConfidence", "minProbability", "minScore",
        "model", "negative", "negativeImage", "negativeUpload", "offset", "positive", "positiveImage",
        "positiveUpload", "region", "regions", "rerank", "sort", "topK", "under", "upload", "variantOf", "variants",
    }
)  # fmt: skip
# Members of a product in a response.
ANSWER_NAMES: Final = frozenset(
    {"id", "dataset", "image", "pictures", "score", "confidence", "matchedPicture", "variants", "variantOf"}
)
# Members of a point's payload besides the attributes.
PAYLOAD_NAMES: Final = frozenset(
    {
        "product_id", "dataset", "picture", "origin", "picture_sha256", COMPOSITE_FIELD, ADDED_AT_FIELD,
        PICTURES_FIELD, "pictures_sha256", VARIANT_FIELD, PATHS_FIELD, FILES_FIELD,
    }
)  # fmt: skip
# Not used any more, but existing filters rely on the changed name of such columns.
_ALWAYS_RENAMED: Final = frozenset({"release"})

RESERVED_NAMES: Final = OPTION_NAMES | ANSWER_NAMES | PAYLOAD_NAMES | _ALWAYS_RENAMED
# These identify the product. As an attribute they are an error, and not renamed.
IDENTITY_NAMES: Final = frozenset({"id", "product_id", "dataset", "image"})

_LOWERED: Final = frozenset(name.lower() for name in RESERVED_NAMES)
RANGE_SUFFIXES: Final = ("Min", "Max")
_LOWERED_SUFFIXES: Final = tuple(suffix.lower() for suffix in RANGE_SUFFIXES)


def is_reserved(name: str) -> bool:
    """Whether the name, in any case, or the name of its range filter (`nameMin`, `nameMax`) is reserved."""
    lowered = name.lower()
    return lowered in _LOWERED or any(f"{lowered}{suffix}" in _LOWERED for suffix in _LOWERED_SUFFIXES)


def is_range_of(name: str, others: Iterable[str]) -> bool:
    """Whether the name is that of another attribute's range filter, such as `priceMin` next to `price`."""
    lowered = name.lower()
    bases = {lowered.removesuffix(suffix) for suffix in _LOWERED_SUFFIXES} - {lowered}
    return bool(bases) and any(other.lower() in bases for other in others)


def stored_name(name: str, others: Collection[str] = ()) -> str:
    """The stored name of an attribute, given the names of the other attributes."""
    return f"{name}_" if is_reserved(name) or is_range_of(name, others) else name


def why_renamed(name: str) -> str:
    """Why `stored_name` changes a name."""
    lowered = name.lower()
    kinds = (
        (OPTION_NAMES, "an option of a call"),
        (ANSWER_NAMES, "a member of the answer"),
        (RESERVED_NAMES, "used internally"),
    )
    for names, meaning in kinds:
        if lowered in {one.lower() for one in names}:
            return f"{name!r} is {meaning}"
    return f"{name!r} means a range filter"
