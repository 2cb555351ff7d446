"""Recipe files: a recipe, the catalogue it is meant for, and the recipe whose release it goes on from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

from vitrine.errors import ParameterInvalid
from vitrine.parsing import read_toml, without_catalog
from vitrine.recipes import Recipe, parse_recipe

_NOT_YET: Final = "0000000000"


class RecipeFile(NamedTuple):
    """A recipe and its `catalog` table (dataset, reader, root, limit), empty where it has none."""

    recipe: Recipe
    catalog: dict[str, Any]


def read_recipe(path: Path) -> RecipeFile:
    """One recipe file. A recipe that goes on `after` another has a place to be filled for the release it starts from.

    Raises ParameterInvalid where a file is not there, is no TOML or no recipe.
    """
    return read_chain(path)[-1]


def read_chain(path: Path) -> tuple[RecipeFile, ...]:
    """The file's recipe, and before it those that have to be trained first, each going on from the release of the one
    before. Raises as `read_recipe` does, and where they go in a circle.
    """
    return _chain(path, ())


def _chain(path: Path, later: tuple[Path, ...]) -> tuple[RecipeFile, ...]:
    content, catalog = without_catalog(read_toml(path, what="recipe"), path, what="recipe")
    after = content.pop("after", None)
    if after is None:
        return (RecipeFile(_parsed(content, path), catalog),)
    if not isinstance(after, str):
        raise ParameterInvalid(f"'after' of the recipe {path} is no name of a file: {after!r}")
    seen = (*later, path.resolve())
    if (path.parent / after).resolve() in seen:
        raise ParameterInvalid(f"the recipe {path} goes on after {after}, which goes on after it")
    before = _chain(path.parent / after, seen)
    model = content.get("model", {})
    if isinstance(model, dict):
        content["model"] = {**model, "release": f"{before[-1].recipe.name}-{_NOT_YET}"}
    return (*before, RecipeFile(_parsed(content, path), catalog))


def _parsed(content: dict[str, Any], path: Path) -> Recipe:
    """The recipe, or which file of a chain is none."""
    try:
        return parse_recipe(content)
    except ParameterInvalid as invalid:
        raise ParameterInvalid(f"{path}: {invalid.detail}") from invalid
