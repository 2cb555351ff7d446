"""How an attribute is filled: its empty, its rare and its misspelled values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from trainer.health.spelling import Twins, spelling_twins
from vitrine.products import AttributeKind

# With more values than this, an attribute is a name or a number of its own for nearly each product.
_MOST_VALUES: Final = 20_000
# Of the products with a value: an attribute with more different values than this share has no rare ones.
_NEARLY_UNIQUE: Final = 0.2
_RARE_COUNT: Final = 2
_RARE_SHARE: Final = 0.0002
_WORDS: Final = frozenset({AttributeKind.KEYWORD, AttributeKind.KEYWORDS, AttributeKind.PATH})


@dataclass(frozen=True, slots=True)
class AttributeHealth:
    """One attribute. `values` is None if there are too many to count. `rare` has the rare values with their counts."""

    name: str
    kind: AttributeKind
    empty: int
    values: int | None
    rare: tuple[tuple[str, int], ...]
    twins: tuple[Twins, ...]


class AttributeTally:
    """Counts the values of attributes, product by product."""

    def __init__(self, kinds: Mapping[str, AttributeKind]) -> None:
        self.products = 0
        self._kinds = dict(sorted(kinds.items()))
        self._filled = dict.fromkeys(self._kinds, 0)
        self._counts: dict[str, Counter[str] | None] = {
            name: Counter() if kind in _WORDS else None for name, kind in self._kinds.items()
        }

    def add(self, payload: Mapping[str, Any]) -> None:
        self.products += 1
        for name in self._kinds:
            values = _values(payload.get(name))
            if not values:
                continue
            self._filled[name] += 1
            counter = self._counts[name]
            if counter is not None:
                counter.update(map(str, values))
                if len(counter) > _MOST_VALUES:
                    self._counts[name] = None

    def health(self) -> list[AttributeHealth]:
        """Each attribute, the emptiest first."""
        found = [self._health(name, kind) for name, kind in self._kinds.items()]
        return sorted(found, key=lambda one: (-one.empty, one.name))

    def _health(self, name: str, kind: AttributeKind) -> AttributeHealth:
        filled, counter = self._filled[name], self._counts[name]
        empty = self.products - filled
        if counter is None:
            return AttributeHealth(name, kind, empty, None, (), ())
        if len(counter) > _NEARLY_UNIQUE * filled and len(counter) > 1:
            few = {value: count for value, count in counter.items() if count > 1}
            # The values of a short catalogue are all rare. Spellings are compared all the same, but for names.
            twins = tuple(spelling_twins(counter)) if len(few) >= len(counter) / 4 else ()
            return AttributeHealth(name, kind, empty, len(counter), (), twins)
        most = max(_RARE_COUNT, int(_RARE_SHARE * filled))
        rare = sorted((count, value) for value, count in counter.items() if count <= most)
        return AttributeHealth(
            name, kind, empty, len(counter), tuple((value, count) for count, value in rare),
            tuple(spelling_twins(counter)),
        )  # fmt: skip


def _values(value: Any) -> Sequence[Any]:
    """The values of a product; none for a blank text or an empty list."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return ()
    return [one for one in value if str(one).strip()] if isinstance(value, list) else (value,)
