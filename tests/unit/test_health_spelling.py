"""Spelling twins and the counts of attributes in a health report."""

from __future__ import annotations

import pytest

from trainer.health.attributes import AttributeTally
from trainer.health.spelling import is_one_edit, spelling_twins
from vitrine.products import AttributeKind


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ("navy blue", "case"),
        ("NAVY BLUE", "case"),
        ("Navy Blue ", "blanks"),
        ("Navy  Blue", "blanks"),
        ("NavyBlue", "blanks"),
        ("Navy\N{NO-BREAK SPACE}Blue", "Unicode form"),
        ("Navy-Blue", "punctuation"),
        ("navy_blue ", "case, punctuation"),
        ("Navy Blues", "plural"),
        ("Navy Blu\N{LATIN SMALL LETTER E WITH ACUTE}", "diacritics"),
        ("Navy Blua", "one letter"),
        ("Nayv Blue", "one letter"),
        ("Navy Bluee", "one letter"),
    ],
)
def test_another_spelling_of_a_common_value_is_found_with_the_reason(other: str, why: str) -> None:
    (twins,) = spelling_twins({"Navy Blue": 400, other: 3, "Red": 200})
    assert (twins.suggested, twins.count) == ("Navy Blue", 400)
    assert [(one.value, one.count) for one in twins.others] == [(other, 3)]
    assert why.split(", ")[0] in twins.others[0].why


def test_composed_and_decomposed_letters_are_one_value() -> None:
    composed, decomposed = "Caf\N{LATIN SMALL LETTER E WITH ACUTE}", "Cafe\N{COMBINING ACUTE ACCENT}"
    (twins,) = spelling_twins({composed: 9, decomposed: 2})
    assert twins.others[0].value == decomposed
    assert twins.others[0].why == "Unicode form"


@pytest.mark.parametrize(
    "counts",
    [
        {"Size 36": 100, "Size 38": 3},
        {"10.5": 40, "105": 2},
        {"10,5": 40, "105": 2},
        {"Men": 400, "Women": 300},
        {"Shirts": 4000, "Shorts": 600},
        {"C": 30, "C++": 20, "C#": 10},
        {"Red": 400, "Bed": 2},
        {"Dress": 100, "Dressing gown": 3},
        {"+": 4, "-": 2, "": 1},
        {"Dark Blue": 100, "Dark Grey": 2},
    ],
)
def test_different_values_are_no_twins(counts: dict[str, int]) -> None:
    assert spelling_twins(counts) == []


def test_all_spellings_of_a_value_are_one_group_under_the_commonest() -> None:
    (twins,) = spelling_twins({"T-Shirts": 900, "tshirts": 40, "T Shirt": 12, "Tshirst": 1})
    assert twins.suggested == "T-Shirts"
    assert [one.value for one in twins.others] == ["tshirts", "T Shirt", "Tshirst"]
    assert twins.products == 53


def test_one_edit_is_a_letter_more_less_or_other_or_two_swapped() -> None:
    assert all(is_one_edit("striped", other) for other in ("stripe", "stripedd", "strIped", "stirped"))
    assert not any(is_one_edit("striped", other) for other in ("striped", "stri", "sripde", "dotted"))


def tally_of(kinds: dict[str, AttributeKind], payloads: list[dict[str, object]]) -> AttributeTally:
    tally = AttributeTally(kinds)
    for payload in payloads:
        tally.add(payload)
    return tally


def test_empty_values_are_counted_by_attribute_and_the_emptiest_comes_first() -> None:
    kinds = {"colour": AttributeKind.KEYWORD, "tags": AttributeKind.KEYWORDS, "price": AttributeKind.DECIMAL}
    payloads: list[dict[str, object]] = [
        {"colour": "Red", "tags": ["a"], "price": 0.0},
        {"colour": " ", "tags": [], "price": 3.5},
        {"tags": None, "price": 2.0},
    ]
    health = tally_of(kinds, payloads).health()
    assert [(one.name, one.empty) for one in health] == [("colour", 2), ("tags", 2), ("price", 0)]


def test_rare_values_are_listed_but_not_of_names() -> None:
    kinds = {"colour": AttributeKind.KEYWORD, "name": AttributeKind.KEYWORD, "tags": AttributeKind.KEYWORDS}
    payloads: list[dict[str, object]] = [
        {
            "colour": "Red" if number else "Fuchsia",
            "name": f"Product of {number}",
            "tags": ["a", "b"] if number else ["z"],
        }
        for number in range(100)
    ]
    health = {one.name: one for one in tally_of(kinds, payloads).health()}
    assert health["colour"].rare == (("Fuchsia", 1),)
    assert health["tags"].rare == (("z", 1),)
    assert health["name"].rare == ()
    assert health["name"].twins == ()


def test_an_attribute_with_endless_values_is_not_kept_in_memory() -> None:
    tally = AttributeTally({"name": AttributeKind.KEYWORD})
    for number in range(25_000):
        tally.add({"name": f"n{number}"})
    (health,) = tally.health()
    assert (health.values, health.empty, health.rare, health.twins) == (None, 0, (), ())
