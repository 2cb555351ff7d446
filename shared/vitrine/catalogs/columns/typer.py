"""Find out what kind of attribute a column of text is, and read its texts as values of that kind.

A table is read twice: each text is first given to the `ColumnTyper` of its column, then `typed_columns` decides, and
the `TypedColumn`s read the texts. A kind fits if all texts of the column do, in any order; which texts spoiled a better
kind is reported. A text that repeats costs one look-up, and memory is bounded whatever the number of rows.

    typers = [ColumnTyper("price", "Variant Price"), ColumnTyper("size", "Size")]
    for row, fields in enumerate(rows, start=1):
        for typer, text in zip(typers, fields):
            typer.add(text, row)
    columns = typed_columns(typers)
    for fields in rows:
        attributes = {}
        for column, text in zip(columns, fields):
            column.put(text, attributes)
    kinds = kinds_of(columns)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from vitrine.catalogs.columns.keywords import known, plain_text
from vitrine.catalogs.columns.sample import ColumnSample
from vitrine.catalogs.columns.verdicts import Verdict, verdict_of
from vitrine.products import STANDARD_ATTRIBUTES, AttributeKind, AttributeValue

_MAX_CACHED: Final = 50_000
_MAX_NAME_CHARS: Final = 64
CURRENCY_SUFFIX: Final = "Currency"


class ColumnTyper:
    """Collects the texts of one column. `column` is its name in the table, `attribute` the name of its values.

    `hint` is the kind that the table's layout gives the column. It is followed unless the texts cannot be read so.
    """

    def __init__(self, attribute: str, column: str, *, hint: AttributeKind | None = None) -> None:
        self.attribute = attribute
        self.column = column
        self.hint = hint
        self._sample = ColumnSample()
        self.add: Callable[[str, int], None] = self._sample.add

    def verdict(self) -> Verdict:
        return verdict_of(self._sample, self.attribute, self.hint)

    @property
    def is_empty(self) -> bool:
        return self._sample.is_empty

    def value_words(self) -> frozenset[str]:
        """The words for an unknown value that are a value in this column."""
        return self._sample.value_words()


@dataclass(frozen=True, slots=True)
class TypedColumn:
    """A column with the kind of its values.

    `currency_attribute` is the attribute for the currency of a price; None if the column has no prices. `spoiled` says
    what kept the column from a better kind, such as `decimal but for 'One Size' in row 6`; empty if nothing did.
    `is_empty`: no row has a value, and so the column has no kind yet.
    """

    attribute: str
    column: str
    kind: AttributeKind
    spoiled: str
    currency_attribute: str | None
    is_empty: bool
    _verdict: Verdict = field(repr=False, compare=False)
    _value_words: frozenset[str] = field(repr=False, compare=False)
    _cache: dict[str, tuple[AttributeValue | None, str | None]] = field(default_factory=dict, repr=False, compare=False)

    def put(self, text: str, attributes: dict[str, AttributeValue]) -> bool:
        """Add the value of a text to the attributes, with its currency. Returns False if it has none.

        Texts that repeat give the same object, so a list must not be changed.
        """
        value, currency = self._cache.get(text) or self._read(text)
        if value is None:
            return False
        attributes[self.attribute] = value
        if currency is not None and self.currency_attribute is not None:
            attributes[self.currency_attribute] = currency
        return True

    def read(self, text: str) -> AttributeValue | None:
        """The value of a text; None if it is unknown or cannot be read."""
        return (self._cache.get(text) or self._read(text))[0]

    def _read(self, text: str) -> tuple[AttributeValue | None, str | None]:
        stripped = text.strip()
        plain = plain_text(stripped) if known(stripped) is not None or stripped in self._value_words else ""
        found: tuple[AttributeValue | None, str | None] = (None, None)
        if plain:
            price = self._verdict.price
            found = (self._verdict.parse(plain), None) if price is None else price(plain)
        if len(self._cache) < _MAX_CACHED:
            self._cache[text] = found
        return found


def typed_columns(typers: Iterable[ColumnTyper]) -> tuple[TypedColumn, ...]:
    """The columns of a table with their kinds, in the order of the typers."""
    typers = tuple(typers)
    taken = {typer.attribute for typer in typers}
    columns = []
    for typer in typers:
        verdict = typer.verdict()
        currency = _currency_name(typer.attribute, taken) if verdict.price is not None else None
        columns.append(
            TypedColumn(
                typer.attribute,
                typer.column,
                verdict.kind,
                verdict.spoiled,
                currency,
                typer.is_empty,
                verdict,
                typer.value_words() if _has_words(typer.attribute, verdict.kind) else frozenset(),
            )
        )
    return tuple(columns)


def kinds_of(columns: Sequence[TypedColumn]) -> dict[str, AttributeKind]:
    """The kind of each attribute that has values, those of currencies included."""
    kinds = {column.attribute: column.kind for column in columns if not column.is_empty}
    currencies = (column.currency_attribute for column in columns)
    return kinds | {name: AttributeKind.KEYWORD for name in currencies if name is not None}


def _has_words(attribute: str, kind: AttributeKind) -> bool:
    return kind in (AttributeKind.KEYWORD, AttributeKind.KEYWORDS) and attribute not in STANDARD_ATTRIBUTES


def _currency_name(attribute: str, taken: set[str]) -> str:
    wanted = name = f"{attribute[: _MAX_NAME_CHARS - len(CURRENCY_SUFFIX) - 2]}{CURRENCY_SUFFIX}"
    number = 2
    while name in taken:
        name = f"{wanted}{number}"
        number += 1
    taken.add(name)
    return name
