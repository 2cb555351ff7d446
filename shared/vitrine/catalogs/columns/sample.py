"""What is kept of a column while a table is read for the first time.

Every text is tested as a number, a boolean and a date until these are spoiled. Of the distinct texts a sample is kept
with exact counts: those with the smallest hashes, so that it depends neither on the order of the rows nor on the run.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final, NamedTuple

from vitrine.catalogs.columns.booleans import BooleanForms, boolean_forms
from vitrine.catalogs.columns.dates import DateOrders, date_orders
from vitrine.catalogs.columns.free_text import ProseStatistics
from vitrine.catalogs.columns.keywords import known, plain_text
from vitrine.catalogs.columns.numbers import NumberForms, number_forms
from vitrine.kinds import UNKNOWN_WORDS

_MAX_DISTINCT: Final = 10_000
_MAX_CHARS: Final = 300  # longer texts are counted, not kept
_MAX_EXAMPLES: Final = 3
_SHOWN_CHARS: Final = 40
_HASHES: Final = 2**32
_REGIONS: Final = frozenset({"EU", "EMEA", "APAC", "LATAM", "MEA", "ROW"})


class Example(NamedTuple):
    """A text of a column and its row."""

    row: int
    text: str

    def __str__(self) -> str:
        return f"{self.text!r} in row {self.row}"


class Candidate:
    """One family of kinds: the `readings` that all texts share, everything that was `seen`, and the texts that spoiled
    a reading.
    """

    def __init__(self, forms_of: Callable[[str], int], readings: int) -> None:
        self.forms_of = forms_of
        self.readings = readings
        self.shared = readings
        self.seen = 0
        self.is_open = True
        self._wanted = readings  # readings that still want examples of what spoils them
        bits = (1 << place for place in range(readings.bit_length()))
        self._spoilers: dict[int, list[Example]] = {bit: [] for bit in bits if readings & bit}
        self.first_seen: dict[int, Example] = {}

    def spoilers(self, bit: int) -> list[Example]:
        """The first texts that do not have this reading."""
        return self._spoilers[bit]

    def outsiders(self) -> list[Example]:
        """The first texts that have no reading at all."""
        found = {example for examples in self._spoilers.values() for example in examples}
        return sorted(one for one in found if not self.forms_of(one.text) & self.readings)[:_MAX_EXAMPLES]

    def take(self, text: str, shown: str, row: int) -> None:
        """Test a text. `shown` is how the text is reported."""
        forms = self.forms_of(text)
        if new := forms & ~self.seen & ~self.readings:
            self.first_seen[new] = Example(row, shown[:_SHOWN_CHARS])
        self.seen |= forms
        lost = self.readings & ~forms
        if not lost:
            return
        self.shared &= forms
        if not lost & self._wanted:
            return
        for bit, examples in self._spoilers.items():
            if bit & lost & self._wanted:
                examples.append(Example(row, shown[:_SHOWN_CHARS]))
                if len(examples) == _MAX_EXAMPLES:
                    self._wanted &= ~bit
        self.is_open = self._wanted != 0


class ColumnSample:
    """The distinct texts of a column with their counts, and what they have in common."""

    def __init__(self) -> None:
        self.numbers = Candidate(number_forms, NumberForms.READINGS)
        self.booleans = Candidate(boolean_forms, BooleanForms.WORD)
        self.dates = Candidate(date_orders, DateOrders.BOTH)
        self._open = [self.numbers, self.booleans, self.dates]
        self._counts: dict[str, int] = {}
        self._bound = _HASHES
        self._rows = 0
        self._long = ProseStatistics()

    def add(self, text: str, row: int) -> None:
        self._rows += 1
        counts = self._counts
        if text in counts:
            counts[text] += 1
        else:
            self._add_new(text, row)

    def texts(self) -> dict[str, int]:
        """The known distinct texts of the sample, stripped, each with the number of its rows."""
        found: dict[str, int] = {}
        for text, count in self._counts.items():
            stripped = known(text)
            if stripped is not None and (stripped := plain_text(stripped)):
                found[stripped] = found.get(stripped, 0) + count
        return found

    def unknown_words(self) -> dict[str, int]:
        """The words for an unknown value and the numbers of their rows."""
        found: dict[str, int] = {}
        for text, count in self._counts.items():
            if known(text) is None:
                found[text.strip()] = found.get(text.strip(), 0) + count
        return found

    @property
    def is_empty(self) -> bool:
        """Whether no row has a known value."""
        return not self.has_long_texts and not self.texts() and not self.value_words()

    @property
    def has_long_texts(self) -> bool:
        return self._long.rows > 0

    def value_words(self) -> frozenset[str]:
        """The words for an unknown value that are a value in this column.

        `None` is one if the column has empty fields too: who writes both means two things. `NA` is one beside other
        regions, such as `EU` and `APAC`.
        """
        unknown = self.unknown_words()
        words = set()
        if "None" in unknown and "" in unknown and not self.numbers.shared and not self.dates.shared:
            words.add("None")
        if "NA" in unknown and _REGIONS & self.texts().keys():
            words.add("NA")
        return frozenset(words)

    def prose(self) -> ProseStatistics:
        """Statistics of all rows, those of short texts estimated from the sample."""
        short = ProseStatistics()
        for text, count in self.texts().items():
            short.add(text, count)
        known_rows = self._rows - sum(self.unknown_words().values()) - self._long.rows
        short.scale(known_rows / short.rows if short.rows and self._bound < _HASHES else 1.0)
        return short.merged(self._long)

    def distinct_share(self) -> float:
        """The estimated share of the known rows whose text is distinct."""
        known_rows = self._rows - sum(self.unknown_words().values())
        distinct = len(self.texts()) * (_HASHES / self._bound) + self._long.rows
        return min(1.0, distinct / known_rows) if known_rows else 0.0

    def _add_new(self, text: str, row: int) -> None:
        if len(text) > _MAX_CHARS and (stripped := known(text)) is not None:
            self._long.add(stripped)
            self._test("", stripped, row)
            return
        self._keep(text)
        if self._open and (stripped := known(text)) is not None and (plain := plain_text(stripped)):
            self._test(plain, plain, row)

    def _test(self, text: str, shown: str, row: int) -> None:
        for candidate in self._open:
            candidate.take(text, shown, row)
        if not all(candidate.is_open for candidate in self._open):
            self._open = [candidate for candidate in self._open if candidate.is_open]

    def _keep(self, text: str) -> None:
        if self._bound < _HASHES and text not in UNKNOWN_WORDS and _hash(text) >= self._bound:
            return
        self._counts[text] = 1
        while len(self._counts) > _MAX_DISTINCT:
            self._bound //= 2
            self._counts = {
                text: count
                for text, count in self._counts.items()
                if text in UNKNOWN_WORDS or _hash(text) < self._bound
            }


def _hash(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))
