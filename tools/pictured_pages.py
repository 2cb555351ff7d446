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


_QUERY: Final = 7  # of the drawn pictures: a skirt


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


def _searched(page: Page, scene: Scene) -> None:
    picture = sorted(scene.pictures.iterdir())[_QUERY]
    page.locator("input[type=file][name=image]").set_input_files(picture)
    page.locator("[data-result]").first.wait_for()
    page.locator("[data-facets] .facet").first.wait_for(state="attached")


def _narrowed(page: Page, scene: Scene) -> None:
    _searched(page, scene)
    page.locator("[data-facets] input[name=gender]").first.dispatch_event("click")
    page.locator(".results-column .chip.chosen").first.wait_for()
    for place, side in ((1, "positive"), (2, "positive"), (4, "negative")):
        page.locator(f"[data-result] [data-like={side}]").nth(place).dispatch_event("click")


def _explained(page: Page, scene: Scene) -> None:
    _searched(page, scene)
    page.locator("[data-why]").nth(1).dispatch_event("click")
    page.locator("[data-why-pair]:not([aria-busy])").wait_for()


def _first_product(page: Page, _scene: Scene) -> None:
    page.locator(".tile-name").first.click()
    page.locator(".product-picture").wait_for()


def _job_opened(page: Page, _scene: Scene) -> None:
    page.locator(".jobs-table a").first.click()
    page.locator("[data-takes=live]").wait_for()


def _release_opened(page: Page, _scene: Scene) -> None:
    page.locator(".release h2 a").first.click()
    page.locator(".curve canvas").first.wait_for()


PICTURED: Final = (
    Pictured("search", "/"),
    Pictured("search-results", "/", steps=_searched),
    Pictured("search-filters", "/", steps=_narrowed),
    Pictured("search-why", "/", steps=_explained),
    Pictured("catalogue", "/catalogue"),
    Pictured("product", "/catalogue?sort=year", steps=_first_product),
    Pictured("add-product", "/catalogue/new"),
    Pictured("jobs", "/jobs"),
    Pictured("job", "/jobs", steps=_job_opened),
    Pictured("job-form", "/jobs/new/train"),
    Pictured("models", "/models"),
    Pictured("release", "/models", steps=_release_opened, full=True),
    Pictured("status", "/status", full=True),
    Pictured("docs", "/docs", steps=_calls_listed),
)
