"""Names that a product's attribute cannot have: those of a call's option, of a member of the answer or of the payload.

An attribute of such a name would be shadowed by the option when it is filtered by, or would overwrite the member of
the answer. It is stored under the name with `_` appended instead, and the caller is notified. The two sets of the
API's names are held equal to what its option and answer models declare by `tests/unit/test_reserved_names.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

COMPOSITE_FIELD: Final = "genderArticleType"
# When Vitrine first stored the product, in milliseconds since 1970.
ADDED_AT_FIELD: Final = "added_at_ms"
# Fields that are indexed for our own use and offered neither as filters nor as facets.
HIDDEN_FIELDS: Final = frozenset({COMPOSITE_FIELD, ADDED_AT_FIELD})

# Query parameters and form fields of the calls that take filters or attributes as free fields.
OPTION_NAMES: Final = frozenset(
    {
        "crops", "cursor", "cutout", "dataset", "expand", "expandAlpha", "facets", "field", "flip", "fuse",
        "fuseWeight", "groupBy", "id", "image", "limit", "minConfidence", "minScore", "model", "negative",
        "negativeImage", "negativeUpload", "offset", "positive", "positiveImage", "positiveUpload", "region", "rerank",
        "sort", "topK", "upload",
    }
)  # fmt: skip
# Members of a product in an answer.
ANSWER_NAMES: Final = frozenset({"id", "dataset", "image", "score", "confidence"})
# What a point's payload holds beside the attributes.
PAYLOAD_NAMES: Final = frozenset(
    {"product_id", "dataset", "picture", "origin", "picture_sha256", COMPOSITE_FIELD, ADDED_AT_FIELD}
)
# Columns of these names have always been renamed; the filters that people have written name them so.
_ALWAYS_RENAMED: Final = frozenset({"release"})

RESERVED_NAMES: Final = OPTION_NAMES | ANSWER_NAMES | PAYLOAD_NAMES | _ALWAYS_RENAMED
# They say which product is meant; as an attribute they are a mistake, not a name to be changed.
IDENTITY_NAMES: Final = frozenset({"id", "product_id", "dataset", "image"})

_LOWERED: Final = frozenset(name.lower() for name in RESERVED_NAMES)
RANGE_SUFFIXES: Final = ("Min", "Max")
_LOWERED_SUFFIXES: Final = tuple(suffix.lower() for suffix in RANGE_SUFFIXES)


def is_reserved(name: str) -> bool:
    """Whether the name is reserved, in whatever case, or its range filter (`nameMin`, `nameMax`) would be."""
    lowered = name.lower()
    return lowered in _LOWERED or any(f"{lowered}{suffix}" in _LOWERED for suffix in _LOWERED_SUFFIXES)


def is_range_of(name: str, others: Iterable[str]) -> bool:
    """Whether the name is that of another attribute's range filter, such as `priceMin` beside `price`."""
    lowered = name.lower()
    bases = {lowered.removesuffix(suffix) for suffix in _LOWERED_SUFFIXES} - {lowered}
    return bool(bases) and any(other.lower() in bases for other in others)


def stored_name(name: str, others: Collection[str] = ()) -> str:
    """The name an attribute is stored under, given the names of the other attributes."""
    return f"{name}_" if is_reserved(name) or is_range_of(name, others) else name


def why_renamed(name: str) -> str:
    """The reason why `stored_name` changed a name."""
    lowered = name.lower()
    kinds = (
        (OPTION_NAMES, "an option of a call"),
        (ANSWER_NAMES, "a member of the answer"),
        (RESERVED_NAMES, "a name of Vitrine's own"),
    )
    for names, meaning in kinds:
        if lowered in {one.lower() for one in names}:
            return f"{name!r} is {meaning}"
    return f"{name!r} means a range filter"
