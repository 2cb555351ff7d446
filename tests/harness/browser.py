"""A test's visit to a page: one look (theme and width), one page, and a watch that ends the test if anything failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import pytest
from playwright.sync_api import Browser, Page

from harness.accessibility import check_accessible
from harness.waiting import HUNG_AFTER_S
from harness.watch import Watch
from tools.chromium import THEMES, Look, new_context, wait_settled

# No test depends on how fast the machine is: what takes as long hangs.
PATIENCE_MS: Final = HUNG_AFTER_S * 1000.0
# Every flow is seen in these.
LOOKS: Final = tuple(Look(theme, width_px) for theme in THEMES for width_px in (360, 1280))
every_look: Final = pytest.mark.parametrize("look", LOOKS, ids=str)


class Visit:
    """A page in a browser context of its own: nothing of another test's cookies, storage or cache is in it."""

    def __init__(self, browser: Browser, origin: str, look: Look) -> None:
        self.look = look
        self.origin = origin.rstrip("/")
        self.context = new_context(browser, look)
        self.context.set_default_timeout(PATIENCE_MS)
        self.watch = Watch(self.context, self.origin)
        self.page: Page = self.context.new_page()

    def open(self, path: str = "/") -> Page:
        """Go to a path of the tested host, and wait until the page has settled."""
        self.page.goto(f"{self.origin}{path}")
        return self.settle()

    def settle(self) -> Page:
        """Wait until nothing in the page is busy and the pictures in view are there."""
        wait_settled(self.page, timeout_ms=PATIENCE_MS)
        return self.page

    def expect_failure(self, path: str, status: int | None) -> None:
        """The test provokes this answer (None: no answer); otherwise it would fail the test. It must occur."""
        self.watch.expect(path, status)

    def check_accessible(self, *, exclude: Sequence[str] = ()) -> None:
        """Axe finds nothing serious or critical on the page as it now stands."""
        check_accessible(self.page, exclude=exclude)

    def check_no_overflow(self) -> None:
        """The page is not wider than the window: nothing has to be scrolled sideways."""
        width_px = self.page.evaluate("() => document.documentElement.scrollWidth")
        assert width_px <= self.look.width_px, f"{self.page.url} is {width_px} px wide in {self.look.width_px} px"

    def close(self) -> None:
        self.context.close()


class OpenVisit(Protocol):
    """What the fixture `visit` gives a test: opens a visit, in the light look of 1280 px unless another is given."""

    def __call__(self, origin: str, look: Look | None = None) -> Visit: ...
