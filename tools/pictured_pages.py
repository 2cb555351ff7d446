"""The pages that docs/pictures shows: the table that `tools.screenshots` goes through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from playwright.sync_api import Page


@dataclass(frozen=True, slots=True)
class Scene:
    """What is running: the search API's address, and the folder of the catalogue's pictures (`<product id>.jpg`)."""

    url: str
    pictures: Path


def _as_opened(_page: Page, _scene: Scene) -> None:
    """No steps: the page as it opens."""


@dataclass(frozen=True, slots=True)
class Pictured:
    """One page: the picture's name, the page's path, and what is done on it before the picture is taken.

    `full`: the picture has the whole height of the page, not only of the window.
    """

    name: str
    path: str
    steps: Callable[[Page, Scene], None] = _as_opened
    full: bool = False


def _calls_listed(page: Page, _scene: Scene) -> None:
    page.locator("#swagger .opblock").last.wait_for()


PICTURED: Final = (
    Pictured("search", "/"),
    Pictured("docs", "/docs", steps=_calls_listed),
)
