"""Takes the screenshots in docs/pictures, in both themes, of a `vitrine demo` that it starts.

    python -m tools.screenshots
    python -m tools.screenshots --url http://127.0.0.1:8000 --out DIR [--width 360] [--theme dark] [--full] /path ...

The second form takes screenshots of any paths of a running system. A path may include a query string.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import Browser, Page

from tools.chromium import THEMES, Look, new_context, open_chromium, wait_settled
from tools.pages import DOCS

PICTURES: Final = DOCS / "pictures"
WIDTHS_PX: Final = (360, 1280)
TIMEOUT_MS: Final = 120_000.0
MAX_BYTES: Final = 150_000
_PRODUCTS: Final = 300
_POLL_S: Final = 0.2
_QUALITIES: Final = (88, 75, 60, 40)
_READY: Final = re.compile(r"^ready: (http://127\.0\.0\.1:\d+)$", re.MULTILINE)
_QUERY: Final = 7  # a drawn skirt


@dataclass(frozen=True, slots=True)
class Scene:
    """The running system: its URL, and the folder of the catalogue's pictures (`<product id>.jpg`)."""

    url: str
    pictures: Path


def _as_opened(_page: Page, _scene: Scene) -> None:
    """No steps: the page as it opens."""


@dataclass(frozen=True, slots=True)
class PageShot:
    """One screenshot: its name, the page's path, and the steps on the page before it.

    full: the whole height of the page instead of the window's.
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


PAGE_SHOTS: Final = (
    PageShot("search", "/"),
    PageShot("search-results", "/", steps=_searched),
    PageShot("search-filters", "/", steps=_narrowed),
    PageShot("search-why", "/", steps=_explained),
    PageShot("catalogue", "/catalogue"),
    PageShot("product", "/catalogue?sort=year", steps=_first_product),
    PageShot("add-product", "/catalogue/new"),
    PageShot("jobs", "/jobs"),
    PageShot("job", "/jobs", steps=_job_opened),
    PageShot("job-form", "/jobs/new/train"),
    PageShot("models", "/models"),
    PageShot("release", "/models", steps=_release_opened, full=True),
    PageShot("status", "/status", full=True),
    PageShot("docs", "/docs", steps=_calls_listed),
)


def main() -> int:
    arguments = parse_arguments()
    looks = [Look(theme, width_px) for theme in arguments.theme or THEMES for width_px in arguments.width or WIDTHS_PX]
    if arguments.paths:
        pages: Sequence[PageShot] = [PageShot(name_of(path), path, full=arguments.full) for path in arguments.paths]
        scene: contextlib.AbstractContextManager[Scene] = contextlib.nullcontext(Scene(arguments.url, Path()))
    else:
        pages, scene = PAGE_SHOTS, demo_system()
    with scene as running, open_chromium() as browser:
        for file in take_all(browser, running, pages, looks=looks, folder=arguments.out):
            sys.stdout.write(f"{file}  {file.stat().st_size / 1000:.0f} kB\n")
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", metavar="/path", help="paths (default: those of the documentation)")
    parser.add_argument("--url", default=os.environ.get("VITRINE_URL", "http://127.0.0.1:8000"))
    parser.add_argument("--out", type=Path, default=PICTURES, help="folder of the screenshots (default: docs/pictures)")
    parser.add_argument("--theme", action="append", choices=THEMES, help="repeat for more (default: both)")
    parser.add_argument("--width", action="append", type=int, metavar="PX", help="repeat for more (default: 360, 1280)")
    parser.add_argument("--full", action="store_true", help="the whole height of the page instead of the window's")
    arguments = parser.parse_args()
    if arguments.paths and arguments.out == PICTURES:
        parser.error("give a folder with --out: docs/pictures is only for the documentation's pages")
    return arguments


def take_all(
    browser: Browser, scene: Scene, pages: Iterable[PageShot], *, looks: Sequence[Look], folder: Path
) -> Iterator[Path]:
    """Take every page in every theme and width, as NAME-THEME-WIDTH.webp in `folder`. Yields each written file."""
    folder.mkdir(parents=True, exist_ok=True)
    for page in pages:
        for look in looks:
            file = folder / f"{page.name}-{look}.webp"
            file.write_bytes(take(browser, scene, page, look))
            yield file


def take(browser: Browser, scene: Scene, pictured: PageShot, look: Look) -> bytes:
    """A screenshot of a page after its steps, as WebP. Raises Playwright's Error if the page or a step fails."""
    context = new_context(browser, look)
    context.set_default_timeout(TIMEOUT_MS)
    try:
        page = context.new_page()
        page.goto(f"{scene.url}{pictured.path}")
        wait_settled(page, timeout_ms=TIMEOUT_MS)
        pictured.steps(page, scene)
        wait_settled(page, timeout_ms=TIMEOUT_MS)
        return small_webp(page.screenshot(full_page=pictured.full, animations="disabled", caret="hide"))
    finally:
        context.close()


def small_webp(png: bytes) -> bytes:
    """The picture as WebP, in the highest quality that fits into MAX_BYTES."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    smaller = b""
    for quality in _QUALITIES:
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", quality=quality, method=6)
        smaller = buffer.getvalue()
        if len(smaller) <= MAX_BYTES:
            break
    return smaller


def name_of(path: str) -> str:
    """The file name for a path: `/products/7?model=a` gives `products-7-model-a`, `/` gives `home`."""
    return re.sub(r"[^A-Za-z0-9]+", "-", path).strip("-") or "home"


@contextlib.contextmanager
def demo_system() -> Iterator[Scene]:
    """A running `vitrine demo` in a temporary folder. Raises RuntimeError, with its output, if it fails."""
    program = Path(sys.executable).with_name("vitrine")
    env = {name: value for name, value in os.environ.items() if not name.startswith("VITRINE_")}
    with tempfile.TemporaryDirectory(prefix="vitrine-screenshots-") as folder:
        data, screen = Path(folder, "data"), Path(folder, "screen.txt")
        command = [str(program), "demo", "--count", str(_PRODUCTS), "--data", str(data)]
        with screen.open("wb") as output, subprocess.Popen(command, env=env, stdout=output, stderr=output) as process:
            try:
                yield Scene(_address(process, screen), data / f"catalog-{_PRODUCTS}" / "images")
            finally:
                process.send_signal(signal.SIGINT)


def _address(process: subprocess.Popen[bytes], screen: Path) -> str:
    """The URL that the demo prints once it has shown a search."""
    while process.poll() is None:
        if found := _READY.search(screen.read_text(errors="replace")):
            return found[1]
        time.sleep(_POLL_S)
    raise RuntimeError(f"the demo ended before it was ready:\n{screen.read_text(errors='replace')}")


if __name__ == "__main__":
    sys.exit(main())
