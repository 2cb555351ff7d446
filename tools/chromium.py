"""Headless Chromium for the tests, the screenshots and the page benchmark: the installed one, without network access
except to this machine.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

Theme = Literal["light", "dark"]
THEMES: Final[tuple[Theme, ...]] = ("light", "dark")
MISSING: Final = "Chromium is not installed: apt-get install chromium"
# Other hosts do not resolve. Playwright's request interception would disable the HTTP cache, which the pages need.
_ARGUMENTS: Final = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
    # The same text rendering on every machine: no hinting, no subpixel colours.
    "--font-render-hinting=none",
    "--disable-lcd-text",
    "--force-color-profile=srgb",
)
_SETTLED: Final = """() => {
  const waits = "[aria-busy=true], .htmx-request, .htmx-swapping, .htmx-settling";
  if (document.readyState !== "complete" || document.fonts.status !== "loaded" || document.querySelector(waits)) {
    return false;
  }
  return [...document.images].every((image) => {
    const box = image.getBoundingClientRect();
    const seen = box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
    return image.complete || !seen;
  });
}"""


_HEIGHTS_PX: Final = {360: 740, 768: 1024, 1280: 800, 1600: 1000}
_PHONE_PX: Final = 500


@dataclass(frozen=True, slots=True)
class Look:
    """Theme and width of a page. Below 500 px it is a phone: touch, and two device pixels per CSS pixel."""

    theme: Theme = "light"
    width_px: int = 1280

    @property
    def height_px(self) -> int:
        return _HEIGHTS_PX.get(self.width_px, 900)

    @property
    def phone(self) -> bool:
        return self.width_px < _PHONE_PX

    def __str__(self) -> str:
        return f"{self.theme}-{self.width_px}"


def find_chromium() -> str | None:
    """The path of the installed Chromium, or None."""
    return shutil.which("chromium")


@contextlib.contextmanager
def open_chromium() -> Iterator[Browser]:
    """A running browser. Raises RuntimeError if Chromium is not installed.

    Playwright's synchronous API runs an event loop in the calling thread until this context ends. Until then
    `asyncio.run` fails in that thread.
    """
    program = find_chromium()
    if program is None:
        raise RuntimeError(MISSING)
    with sync_playwright() as playwright:
        # Chromium's sandbox does not work for root.
        browser = playwright.chromium.launch(
            executable_path=program, args=_ARGUMENTS, chromium_sandbox=os.geteuid() != 0, handle_sigint=False
        )
        try:
            yield browser
        finally:
            browser.close()


def new_context(browser: Browser, look: Look) -> BrowserContext:
    """An isolated context in which a page looks the same in every run: reduced motion, fixed language and time zone."""
    return browser.new_context(
        viewport={"width": look.width_px, "height": look.height_px},
        color_scheme=look.theme,
        reduced_motion="reduce",
        has_touch=look.phone,
        is_mobile=look.phone,
        device_scale_factor=2 if look.phone else 1,
        locale="en-GB",
        timezone_id="UTC",
    )


def wait_settled(page: Page, *, timeout_ms: float) -> None:
    """Wait until the page, its fonts and its visible pictures are loaded and no element is busy.

    An element is busy if it has `aria-busy="true"` or waits for htmx. Raises Playwright's TimeoutError.
    """
    page.wait_for_function(_SETTLED, timeout=timeout_ms)
