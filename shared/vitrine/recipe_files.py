"""Recipe files: a recipe, its catalogue, and with `after` the recipe file whose release it continues from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

from vitrine.errors import ParameterInvalid
from vitrine.parse_recipes import ParseRecipe, is_parse
from vitrine.parsing import parse_as, read_toml, without_catalog
from vitrine.recipes import Recipe, parse_recipe

_NOT_YET: Final = "0000000000"  # stands for the hash in the id of a release that does not exist yet


class RecipeFile(NamedTuple):
    """A recipe and its `catalog` table (dataset, reader, root, limit, mapping); empty if the file has none."""

    recipe: Recipe
    catalog: dict[str, Any]


class ParseRecipeFile(NamedTuple):
    """A recipe of a parser and its `catalog` table (dataset, root); empty if the file has none."""

    recipe: ParseRecipe
    catalog: dict[str, Any]


def read_parser_chain(path: Path) -> tuple[ParseRecipeFile, ...] | None:
    """Read a recipe file of a parser and, before it, the recipes to train first; None if it is of another kind.

    Raises ParameterInvalid as `read_chain` does.
    """
    return _parser_chain(path, ())


def _parser_chain(path: Path, later: tuple[Path, ...]) -> tuple[ParseRecipeFile, ...] | None:
    content, catalog = without_catalog(read_toml(path, what="recipe"), path, what="recipe")
    if not is_parse(content):
        return None
    before: tuple[ParseRecipeFile, ...] = ()
    after = _after(content, path, later)
    if after is not None:
        found = _parser_chain(after, (*later, path.resolve()))
        if found is None:
            raise ParameterInvalid(f"the recipe {path} continues after {after.name}, which trains no parser")
        before = found
        model = content.get("model", {})
        if isinstance(model, dict):
            content["model"] = {**model, "release": f"{before[-1].recipe.name}-{_NOT_YET}"}
    try:
        return (*before, ParseRecipeFile(parse_as(ParseRecipe, content, what="recipe"), catalog))
    except ParameterInvalid as invalid:
        raise ParameterInvalid(f"{path}: {invalid.detail}") from invalid


def read_recipe(path: Path) -> RecipeFile:
    """Read one recipe file. A recipe with `after` has a placeholder as the id of the release to start from.

    Raises ParameterInvalid if a file is missing, is not TOML or not a valid recipe.
    """
    return read_chain(path)[-1]


def read_chain(path: Path) -> tuple[RecipeFile, ...]:
    """Read a recipe file and, before it, the recipes to train first: each continues from the release of the one before.

    Raises as `read_recipe` does, and if the files form a circle.
    """
    return _chain(path, ())


def _chain(path: Path, later: tuple[Path, ...]) -> tuple[RecipeFile, ...]:
    content, catalog = without_catalog(read_toml(path, what="recipe"), path, what="recipe")
    after = _after(content, path, later)
    if after is None:
        return (RecipeFile(_parsed(content, path), catalog),)
    before = _chain(after, (*later, path.resolve()))
    model = content.get("model", {})
    if isinstance(model, dict):
        content["model"] = {**model, "release": f"{before[-1].recipe.name}-{_NOT_YET}"}
    return (*before, RecipeFile(_parsed(content, path), catalog))


def _after(content: dict[str, Any], path: Path, later: tuple[Path, ...]) -> Path | None:
    """Take the recipe that this one continues after out of its content. Raises ParameterInvalid."""
    after = content.pop("after", None)
    if after is None:
        return None
    if not isinstance(after, str):
        raise ParameterInvalid(f"'after' in the recipe {path} must be a file name, not {after!r}")
    if (path.parent / after).resolve() in (*later, path.resolve()):
        raise ParameterInvalid(f"the recipe {path} continues after {after}, which continues after it")
    return path.parent / after


def _parsed(content: dict[str, Any], path: Path) -> Recipe:
    """Raises ParameterInvalid, which names the file: it may be any in a chain."""
    try:
        return parse_recipe(content)
    except ParameterInvalid as invalid:
        raise ParameterInvalid(f"{path}: {invalid.detail}") from invalid
