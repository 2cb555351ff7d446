"""Several spellings of one value: `Navy`, `navy `, `NAVY`, `Navi`.

Values whose numbers differ are never the same: `Size 36` and `Size 38`, `10.5` and `105`.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

_NUMBERS: Final = re.compile(r"\d+(?:[.,]\d+)*")
# They change the meaning: `C`, `C++` and `C#`; `50` and `50%`.
_MEANT: Final = frozenset("+#%*°")
_LEAST_CHARS: Final = 6  # of a value with a typing error: in shorter ones another letter is another word
_TIMES_COMMONER: Final = 10
_FEW_PRODUCTS: Final = 3
_TIMES_COMMONER_THAN_MORE: Final = 200  # than a value of more products: Skirts is not a mistake for Shirts


@dataclass(frozen=True, slots=True)
class Spelling:
    """A spelling that should be another one, and why they are the same."""

    value: str
    count: int
    why: str


@dataclass(frozen=True, slots=True)
class Twins:
    """Spellings of one value. `suggested` is the commonest, `count` its products."""

    suggested: str
    count: int
    others: tuple[Spelling, ...]

    @property
    def products(self) -> int:
        """The products that would change."""
        return sum(one.count for one in self.others)


def spelling_twins(counts: Mapping[str, int]) -> list[Twins]:
    """Groups of spellings of one value, those with most products to change first. `counts`: the products of each."""
    found: dict[str, list[Spelling]] = defaultdict(list)
    by_key: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for value in counts:
        by_key[_key(value)].append(value)
    leaders = {}
    for key, values in by_key.items():
        leader = min(values, key=lambda value: (-counts[value], value != value.strip(), value.isupper(), value))
        leaders[key] = leader
        found[leader] += [Spelling(value, counts[value], _why(value, leader)) for value in values if value != leader]
    _add_typing_errors(found, {leader: sum(counts[value] for value in by_key[key]) for key, leader in leaders.items()})
    groups = [
        Twins(leader, counts[leader], tuple(sorted(others, key=lambda one: (-one.count, one.value))))
        for leader, others in found.items()
        if others
    ]
    return sorted(groups, key=lambda one: (-one.products, one.suggested))


def _add_typing_errors(found: dict[str, list[Spelling]], totals: Mapping[str, int]) -> None:
    """Move each rare spelling that is one edit from a much commoner one to it, with its own twins."""
    words = {value: "".join(_without_punctuation(_folded(value)).split()) for value in totals}
    by_part: dict[str, list[str]] = defaultdict(list)
    for value, word in words.items():
        if len(word) >= _LEAST_CHARS - 1:
            for part in _parts(word):
                by_part[part].append(value)
    for value in sorted(totals, key=lambda one: totals[one]):
        word = words[value]
        if len(word) < _LEAST_CHARS:
            continue
        times = _TIMES_COMMONER if totals[value] <= _FEW_PRODUCTS else _TIMES_COMMONER_THAN_MORE
        least = times * totals[value]
        near = {
            other
            for part in _parts(word)
            for other in by_part[part]
            if totals[other] >= least
            and _NUMBERS.findall(value) == _NUMBERS.findall(other)
            and is_one_edit(word, words[other])
        }
        if near:
            leader = max(near, key=lambda other: (totals[other], other))
            moved = found.pop(value, [])
            own = totals[value] - sum(one.count for one in moved)
            found[leader] += [Spelling(value, own, "one letter"), *moved]


def is_one_edit(one: str, other: str) -> bool:
    """Whether one letter is added, left out or changed, or two neighbours are swapped."""
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    a, b = one[start:], other[start:]
    while a and b and a[-1] == b[-1]:
        a, b = a[:-1], b[:-1]
    return (max(len(a), len(b)) == 1) or (len(a) == len(b) == 2 and a == b[::-1])


def _parts(word: str) -> set[str]:
    """The word, and with each letter left out: two words one edit apart share one."""
    return {word, *(word[:at] + word[at + 1 :] for at in range(len(word)))}


def _key(value: str) -> tuple[str, ...]:
    """Equal for spellings of one value."""
    text = value
    for step in _STEPS.values():
        text = step(text)
    return (text or value, *_NUMBERS.findall(value))


def _why(value: str, other: str) -> str:
    """What two spellings of one value differ in: the steps without which they would not become equal."""
    reasons = []
    for left_out in _STEPS:
        one, two = value, other
        for name, step in _STEPS.items():
            if name != left_out:
                one, two = step(one), step(two)
        if one != two:
            reasons.append(left_out)
    return ", ".join(reasons) or "Unicode form"


def _folded(text: str) -> str:
    """Without Unicode forms, diacritics and case."""
    return _without_diacritics(unicodedata.normalize("NFKC", text)).casefold()


def _without_diacritics(text: str) -> str:
    decomposed = unicodedata.normalize("NFD", text)
    kept = "".join(character for character in decomposed if not unicodedata.combining(character))
    return unicodedata.normalize("NFC", kept)


def _without_punctuation(text: str) -> str:
    joined = text.replace("&", " and ").replace("'", "").replace("\u2019", "")
    return "".join(one if one.isalnum() or one.isspace() or one in _MEANT else " " for one in joined)


def _singular_words(text: str) -> str:
    return " ".join(map(_singular, text.split(" ")))


def _singular(word: str) -> str:
    """An English word without the ending of the plural."""
    lowered = word.lower()
    if len(word) > 4 and lowered.endswith("ies"):
        return f"{word[:-3]}y"
    if len(word) > 4 and lowered.endswith(("ches", "shes", "sses", "xes", "zes")):
        return word[:-2]
    plural = len(word) > 3 and lowered.endswith("s") and not lowered.endswith(("ss", "us", "is"))
    return word[:-1] if plural else word


# The order matters: each step works on the result of the one before.
_STEPS: Final[Mapping[str, Callable[[str], str]]] = {
    "Unicode form": lambda text: unicodedata.normalize("NFKC", text),
    "diacritics": _without_diacritics,
    "case": str.casefold,
    "punctuation": _without_punctuation,
    "plural": _singular_words,
    "blanks": lambda text: "".join(text.split()),
}
