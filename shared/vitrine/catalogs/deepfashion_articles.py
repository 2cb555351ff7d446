"""Which article type of the Fashion Product catalogue a DeepFashion category means; the tables are data."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Literal

Benchmark = Literal["category-prediction", "in-shop"]


def article_type(benchmark: Benchmark, category: str) -> str | None:
    """The article type, "" for a category that mixes several, or None for a category that the table lacks.

    Case, hyphens, blanks and underscores do not count: `Button-Down`, `button down` and `BUTTONDOWN` are one.
    """
    return _tables()[benchmark].get(_key(category))


@cache
def _tables() -> dict[str, dict[str, str]]:
    text = files("vitrine.catalogs").joinpath("deepfashion_articles.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    return {name: {_key(category): article for category, article in table.items()} for name, table in tables.items()}


def _key(category: str) -> str:
    return "".join(filter(str.isalnum, category)).casefold()
