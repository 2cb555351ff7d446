"""The recipes page lists every recipe field, and the shipped recipes are valid."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools.recipe_table import PARSER_TABLES, TABLES
from vitrine.recipe_files import read_parser_chain, read_recipe

REPOSITORY = Path(__file__).resolve().parents[2]
RECIPES = sorted((REPOSITORY / "recipes").glob("*.toml"))


def test_the_page_of_recipes_is_current() -> None:
    command = [sys.executable, "-m", "tools.recipe_table", "--check"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_field_of_a_recipe_has_a_description() -> None:
    for name, table in (*TABLES.items(), *PARSER_TABLES.items()):
        unexplained = [field for field, found in table.model_fields.items() if not found.description]
        assert unexplained == [], name


@pytest.mark.parametrize("path", RECIPES, ids=[path.stem for path in RECIPES])
def test_a_shipped_recipe_is_valid_and_has_a_description(path: Path) -> None:
    parsers = read_parser_chain(path)
    recipe, catalog = read_recipe(path) if parsers is None else parsers[-1]
    assert recipe.name
    assert "dataset" in catalog
    assert path.read_text().startswith("# ")
