"""The colors of the pages in both themes: text reaches WCAG's contrast of 4.5, borders of controls reach 3."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Final

import pytest

STATIC = Path(str(files("search_api.pages") / "static"))
TEXT = 4.5
SHAPE = 3.0
COLORS: Final = ("tokens.css", "swatches.css")  # of the pages, and of garments
GROUNDS: Final = ("ground", "raised", "sunken", "hover")
PAIRS: Final = [
    *((ink, ground, TEXT) for ink in ("ink", "second", "faint", "accent-strong") for ground in GROUNDS),
    *((ink, ground, TEXT) for ink in ("accent", "good", "doubtful", "bad") for ground in GROUNDS),
    *(("ink", f"{tone}-soft", TEXT) for tone in ("accent", "good", "doubtful", "bad")),
    *(("second", f"{tone}-soft", TEXT) for tone in ("accent", "good", "doubtful", "bad")),
    *((tone, f"{tone}-soft", TEXT) for tone in ("good", "doubtful", "bad")),
    ("on-accent", "accent", TEXT),
    ("on-accent", "accent-strong", TEXT),
    *(("edge", ground, SHAPE) for ground in GROUNDS[:3]),
    *(("accent", ground, SHAPE) for ground in ("accent-soft", "line")),
]


def tokens(theme: str) -> dict[str, str]:
    text = (STATIC / "css" / "tokens.css").read_text()
    found = re.findall(r"--([a-z-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);", text)
    return {name: light if theme == "light" else dark for name, light, dark in found}


def luminance(color: str) -> float:
    channels = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_matches_the_standard() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_pair_of_colors_can_be_read(theme: str) -> None:
    colors = tokens(theme)
    ratios = {(ink, ground): (contrast(colors[ink], colors[ground]), least) for ink, ground, least in PAIRS}
    weak = {pair: round(ratio, 2) for pair, (ratio, least) in ratios.items() if ratio < least}
    assert not weak


def test_every_used_token_exists() -> None:
    sheets = {file.name: file.read_text() for file in (STATIC / "css").iterdir()}
    defined = {name for text in sheets.values() for name in re.findall(r"(--[a-z0-9-]+):", text)}
    used = {name for text in sheets.values() for name in re.findall(r"var\((--[a-z0-9-]+)", text)}
    scripts = [file.read_text() for file in (STATIC / "js").rglob("*.js")]
    set_by_scripts = {name for text in scripts for name in re.findall(r'setProperty\("(--[a-z0-9-]+)"', text)}
    assert used <= defined | set_by_scripts
    assert defined - used == set(), "a token that nothing uses"


def test_colors_of_the_pages_are_defined_only_in_the_tokens() -> None:
    literal = re.compile(r"#[0-9a-fA-F]{3,8}\b|\brgba?\(|\bhsla?\(")
    others = [file for file in (STATIC / "css").iterdir() if file.name not in COLORS]
    assert [file.name for file in others if literal.search(file.read_text())] == []


def test_the_browser_bar_has_the_background_color() -> None:
    page = (files("search_api.pages") / "templates" / "base.html").read_text()
    shown = re.findall(r'name="theme-color" media="\(prefers-color-scheme: (\w+)\)" content="(#\w+)"', page)
    assert dict(shown) == {theme: tokens(theme)["ground"] for theme in ("light", "dark")}
