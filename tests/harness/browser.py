"""A browser page for one test, in one theme and width, which fails the test if the page has errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import pytest
from playwright.sync_api import Browser, Page

from harness.accessibility import check_accessible
from harness.waiting import HUNG_AFTER_S
from harness.watch import Watch
from tools.chromium import THEMES, Look, new_context, wait_settled

# Far longer than any page needs, so that no test depends on the speed of the machine.
PATIENCE_MS: Final = HUNG_AFTER_S * 1000.0
# Every flow is tested in these.
LOOKS: Final = tuple(Look(theme, width_px) for theme in THEMES for width_px in (360, 1280))
every_look: Final = pytest.mark.parametrize("look", LOOKS, ids=str)


class Visit:
    """A page in its own browser context, without cookies, storage or cache of other tests."""

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
        """Wait until no element of the page is busy and the visible pictures are loaded."""
        wait_settled(self.page, timeout_ms=PATIENCE_MS)
        return self.page

    def expect_failure(self, path: str, status: int | None) -> None:
        """Expect this answer (None: no answer), which would otherwise fail the test. It must occur."""
        self.watch.expect(path, status)

    def check_accessible(self, *, exclude: Sequence[str] = ()) -> None:
        """Axe finds nothing serious or critical on the page in its current state."""
        check_accessible(self.page, exclude=exclude)

    def check_no_overflow(self) -> None:
        """The page is not wider than the window, so it does not scroll sideways."""
        width_px = self.page.evaluate("() => document.documentElement.scrollWidth")
        assert width_px <= self.look.width_px, f"{self.page.url} is {width_px} px wide in {self.look.width_px} px"

    def close(self) -> None:
        self.context.close()


class OpenVisit(Protocol):
    """The fixture `visit`: opens a page, by default in the light theme at 1280 px."""

    def __call__(self, origin: str, look: Look | None = None) -> Visit: ...
