"""The state of the search page, which is its URL: the query picture or product, the garment or box, the models, the
examples and the filters. Every link of the page is a modified state.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, Self
from urllib.parse import urlencode

Pair = tuple[str, str]
# Options shared with the API calls; `compare`, `by`, `look` and `uncertain` exist only on the page.
_SINGLE: Final = ("dataset", "model", "upload", "id", "region", "compare")
_EXAMPLES: Final = ("positive", "negative")
_OWN_NAMES: Final = frozenset({*_SINGLE, *_EXAMPLES, "cutout", "look", "uncertain", "kindFilters", "by", "offset"})
_YES: Final = "true"
_NO: Final = "false"
# A search with the whole picture.
_WHOLE: Final[dict[str, Any]] = {"region": None, "kind_filters": True, "look": False, "by_examples": False}
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,2}")


@dataclass(frozen=True, slots=True)
class SearchState:
    """The query is the upload `upload`, or else the picture of the product `id`.

    `region` is the number of a garment or a box. `kind_filters`: whether a garment's kind restricts its results. With
    `look` the results are a few of every garment, with `by_examples` those of the examples. `uncertain`: whether
    garments that the parser is not sure of are shown.
    """

    dataset: str | None = None
    model: str | None = None
    upload: str | None = None
    id: str | None = None
    region: str | None = None
    compare: str | None = None
    cutout: bool = False
    kind_filters: bool = True
    look: bool = False
    uncertain: bool = False
    by_examples: bool = False
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    filters: tuple[Pair, ...] = ()

    @classmethod
    def of(cls, pairs: Iterable[Pair]) -> Self:
        """Parse a URL or a form. Empty values are ignored; of repeated ones the first counts."""
        given = [(name, value) for name, value in pairs if value]
        single: dict[str, Any] = {}
        for name, value in given:
            if name in _SINGLE:
                single.setdefault(name, value)
        values = {name: tuple(dict.fromkeys(v for n, v in given if n == name)) for name in _EXAMPLES}
        return cls(
            **single,
            positive=values["positive"],
            negative=values["negative"],
            cutout=("cutout", _YES) in given,
            kind_filters=("kindFilters", _NO) not in given,
            look=("look", _YES) in given,
            uncertain=("uncertain", _YES) in given,
            by_examples=("by", "examples") in given,
            filters=tuple(dict.fromkeys(pair for pair in given if pair[0] not in _OWN_NAMES)),
        )

    @property
    def searches(self) -> bool:
        """Whether there is anything to search with."""
        return self.upload is not None or self.id is not None or self.from_examples

    @property
    def from_examples(self) -> bool:
        return self.by_examples and bool(self.positive)

    @property
    def garment(self) -> int | None:
        """The number of the garment to search with; None for a box and the whole picture."""
        return int(self.region) if self.region is not None and _NUMBER.fullmatch(self.region) else None

    @property
    def box(self) -> str | None:
        """The drawn box."""
        return self.region if self.garment is None else None

    @property
    def shows_look(self) -> bool:
        """Whether the results are a few of every garment."""
        return self.look and self.upload is not None and not self.from_examples

    @property
    def subject(self) -> str:
        """An identifier of the query, independent of filters and region."""
        if self.upload is not None:
            return f"upload:{self.upload}"
        return f"id:{self.id}" if self.id is not None else "examples"

    def pairs(self) -> list[Pair]:
        """The (name, value) pairs of the URL."""
        single = [(name, value) for name in _SINGLE if (value := getattr(self, name)) is not None]
        examples = [(name, value) for name in _EXAMPLES for value in getattr(self, name)]
        switches = [
            *[("cutout", _YES)] * self.cutout,
            *[("kindFilters", _NO)] * (not self.kind_filters),
            *[("look", _YES)] * self.look,
            *[("uncertain", _YES)] * self.uncertain,
            *[("by", "examples")] * self.by_examples,
        ]
        return [*single, *switches, *examples, *self.filters]

    def query(self, *more: Pair) -> str:
        """The query string with its question mark; empty for the start page."""
        text = urlencode([*self.pairs(), *more])
        return f"?{text}" if text else ""

    def having(self, **changes: Any) -> Self:
        """The state with these members changed."""
        return replace(self, **changes)

    def searching_with(self, product_id: str) -> Self:
        """A search with a product's picture, under the same filters."""
        return self.without_picture().having(id=product_id)

    def searching_part(self, region: str | None) -> Self:
        """A search with a garment or a box of the picture; None for the whole picture."""
        return self.having(**{**_WHOLE, "region": region})

    def without_picture(self) -> Self:
        """The state without its query, and without what belongs to that."""
        return self.having(upload=None, id=None, uncertain=False, **_WHOLE)

    def unfiltered(self) -> Self:
        """The state without any filter."""
        return self.having(filters=(), kind_filters=self.garment is None)

    def values_of(self, field: str) -> tuple[str, ...]:
        """The values that the field is filtered by."""
        return tuple(value for name, value in self.filters if name == field)

    def filtering(self, field: str, *values: str) -> Self:
        """The state with these values as the only filter on the field."""
        others = tuple(pair for pair in self.filters if pair[0] not in names_of(field))
        return self.having(filters=(*others, *((field, value) for value in values)))

    def lacking(self, pair: Pair) -> Self:
        """The state without one condition."""
        return self.having(filters=tuple(one for one in self.filters if one != pair))


def names_of(field: str) -> frozenset[str]:
    """The parameter names of conditions on a field."""
    return frozenset({field, f"!{field}", f"{field}Min", f"{field}Max"})
