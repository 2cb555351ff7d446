"""Take the pictures of the pages in docs/pictures, in both themes, of a demonstration that is started for it.

    python -m tools.screenshots
    python -m tools.screenshots --url http://127.0.0.1:8000 --out DIR [--width 360] [--theme dark] [--full] /path ...

The second form looks at any paths of a system that runs already; a path may be a whole query string.
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
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import Browser

from tools.chromium import THEMES, Look, new_context, open_chromium, wait_settled
from tools.pages import DOCS
from tools.pictured_pages import PICTURED, Pictured, Scene

PICTURES: Final = DOCS / "pictures"
WIDTHS_PX: Final = (360, 1280)
PATIENCE_MS: Final = 120_000.0
MAX_BYTES: Final = 150_000
_PRODUCTS: Final = 300
_POLL_S: Final = 0.2
_QUALITIES: Final = (88, 75, 60, 40)
_READY: Final = re.compile(r"^ready: (http://127\.0\.0\.1:\d+)$", re.MULTILINE)


def main() -> int:
    arguments = parse_arguments()
    looks = [Look(theme, width_px) for theme in arguments.theme or THEMES for width_px in arguments.width or WIDTHS_PX]
    if arguments.paths:
        pages: Sequence[Pictured] = [Pictured(name_of(path), path, full=arguments.full) for path in arguments.paths]
        scene: contextlib.AbstractContextManager[Scene] = contextlib.nullcontext(Scene(arguments.url, Path()))
    else:
        pages, scene = PICTURED, demonstration()
    with scene as running, open_chromium() as browser:
        for file in take_all(browser, running, pages, looks=looks, folder=arguments.out):
            sys.stdout.write(f"{file}  {file.stat().st_size / 1000:.0f} kB\n")
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", metavar="/path", help="paths to look at; without any, the documentation's")
    parser.add_argument("--url", default=os.environ.get("VITRINE_URL", "http://127.0.0.1:8000"))
    parser.add_argument("--out", type=Path, default=PICTURES, help="folder of the pictures (default: docs/pictures)")
    parser.add_argument("--theme", action="append", choices=THEMES, help="repeat for more (default: both)")
    parser.add_argument("--width", action="append", type=int, metavar="PX", help="repeat for more (default: 360, 1280)")
    parser.add_argument("--full", action="store_true", help="the whole height of the page, not only of the window")
    arguments = parser.parse_args()
    if arguments.paths and arguments.out == PICTURES:
        parser.error("name a folder with --out: docs/pictures holds only what the table says")
    return arguments


def take_all(
    browser: Browser, scene: Scene, pages: Iterable[Pictured], *, looks: Sequence[Look], folder: Path
) -> Iterator[Path]:
    """Take every page in every look, as NAME-THEME-WIDTH.webp below `folder`. Yields each file once it is written."""
    folder.mkdir(parents=True, exist_ok=True)
    for page in pages:
        for look in looks:
            file = folder / f"{page.name}-{look}.webp"
            file.write_bytes(take(browser, scene, page, look))
            yield file


def take(browser: Browser, scene: Scene, pictured: Pictured, look: Look) -> bytes:
    """The picture of a page in one look, after its steps. Raises playwright's Error if the page or a step fails."""
    context = new_context(browser, look)
    context.set_default_timeout(PATIENCE_MS)
    try:
        page = context.new_page()
        page.goto(f"{scene.url}{pictured.path}")
        wait_settled(page, timeout_ms=PATIENCE_MS)
        pictured.steps(page, scene)
        wait_settled(page, timeout_ms=PATIENCE_MS)
        return small_webp(page.screenshot(full_page=pictured.full, animations="disabled", caret="hide"))
    finally:
        context.close()


def small_webp(png: bytes) -> bytes:
    """The same picture as WebP: text stays sharp, garments keep their colours, and it is no larger than MAX_BYTES."""
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
    """A file's name for a path: `/products/7?model=a` is `products-7-model-a`, `/` is `home`."""
    return re.sub(r"[^A-Za-z0-9]+", "-", path).strip("-") or "home"


@contextlib.contextmanager
def demonstration() -> Iterator[Scene]:
    """A running `vitrine demo` in a folder that goes with it. Raises RuntimeError with its output if it ends."""
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
    """The address that the demonstration prints once a search has been shown."""
    while process.poll() is None:
        if found := _READY.search(screen.read_text(errors="replace")):
            return found[1]
        time.sleep(_POLL_S)
    raise RuntimeError(f"the demonstration ended before it was ready:\n{screen.read_text(errors='replace')}")


if __name__ == "__main__":
    sys.exit(main())
