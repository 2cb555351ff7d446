"""The choices in the forms of jobs: datasets, catalogue folders, releases and recipe files. If a source is
unavailable, the page says so and the values can be typed.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from search_api.context import Context
from search_api.models.service import is_parser
from search_api.settings import Settings
from vitrine.catalogs.roots import allowed_roots
from vitrine.catalogs.table import is_table_name
from vitrine.errors import NotFound, SettingsInvalid, VitrineError
from vitrine.images.formats import PICTURE_SUFFIXES
from vitrine.releases import ReleaseStore

MAX_RECIPE_BYTES: Final = 64 * 1024
_MAX_FOLDERS: Final = 200
_MAX_ENTRIES: Final = 2_000
_MAX_RECIPES: Final = 200


@dataclass(frozen=True, slots=True)
class Choices:
    """`missing` has a sentence for each source that could not be read."""

    datasets: tuple[str, ...]
    folders: tuple[str, ...]
    releases: tuple[str, ...]
    recipes: tuple[str, ...]
    missing: tuple[str, ...]


async def read_choices(context: Context) -> Choices:
    """Read all choices. An unavailable source raises nothing."""
    datasets, folders, releases, recipes = await asyncio.gather(
        _datasets(context),
        asyncio.to_thread(catalog_folders, context.settings),
        asyncio.to_thread(_releases, context.releases),
        asyncio.to_thread(recipe_names, context.settings),
    )
    missing = [
        *(["Qdrant is down, so the indexed datasets cannot be offered."] if datasets is None else []),
        *(["The release store cannot be read, so releases cannot be offered."] if releases is None else []),
    ]
    return Choices(datasets or (), folders, releases or (), recipes, tuple(missing))


def catalog_folders(settings: Settings) -> tuple[str, ...]:
    """Possible catalogue folders below the allowed roots."""
    try:
        roots = allowed_roots(settings)
    except SettingsInvalid:
        return ()
    found: list[str] = []
    for root in roots:
        entries = _entries(root)
        if any(_is_of_catalog(entry.name) for entry in entries):
            found.append(str(root))
            continue
        found += [entry.path for entry in entries if _is_folder(entry) and not entry.name.startswith(".")]
    return tuple(sorted(dict.fromkeys(found))[:_MAX_FOLDERS])


def recipe_names(settings: Settings) -> tuple[str, ...]:
    """The names of the recipe files, sorted."""
    names = [entry.name for entry in _entries(settings.recipes_dir) if entry.name.endswith(".toml")]
    return tuple(sorted(names)[:_MAX_RECIPES])


def recipe_text(settings: Settings, name: str) -> str:
    """The text of a recipe file. Raises NotFound for an unknown name or a file that is not text."""
    if name not in recipe_names(settings):
        raise NotFound(f"there is no recipe file {name[:80]!r}")
    try:
        with Path(settings.recipes_dir, name).open("rb") as file:
            return file.read(MAX_RECIPE_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise NotFound(f"the recipe file {name!r} cannot be read") from error


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry, _ in zip(entries, range(_MAX_ENTRIES), strict=False)]
    except OSError:
        return []


def _is_of_catalog(name: str) -> bool:
    """Whether a folder with a file of this name is a catalogue; one without may contain catalogues."""
    return is_table_name(name) or name.lower().endswith(PICTURE_SUFFIXES)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


async def _datasets(context: Context) -> tuple[str, ...] | None:
    try:
        servings = await context.store.servings(fresh=False)
    except VitrineError:
        return None
    return tuple(sorted({serving.dataset for serving in servings}))


def _releases(store: ReleaseStore) -> tuple[str, ...] | None:
    """All releases that embed pictures, sorted by id."""
    try:
        return tuple(release_id for release_id in store.ids() if not is_parser(store, release_id))
    except (VitrineError, OSError):
        return None
