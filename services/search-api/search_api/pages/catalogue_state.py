"""The state of the catalogue's pages, which is their URL: the dataset, the filters and the order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from search_api.pages.search_state import Pair, SearchState

_OWN_NAMES = ("sort", "cursor", "offset")


@dataclass(frozen=True, slots=True)
class CatalogueState(SearchState):
    """It has the filters of a search, so that a link to the search page keeps them."""

    sort: str | None = None

    @classmethod
    def of(cls, pairs: Iterable[Pair]) -> Self:
        given = list(pairs)
        sort = next((value for name, value in given if name == "sort" and value), None)
        plain = SearchState.of(pair for pair in given if pair[0] not in _OWN_NAMES)
        return cls(dataset=plain.dataset, model=plain.model, filters=plain.filters, sort=sort)

    def pairs(self) -> list[Pair]:
        order = [("sort", self.sort)] if self.sort is not None else []
        return [*SearchState.pairs(self), *order]
