"""A real browser for the tests of pages: the installed Chromium, which `make test` installs where it may.

`visit` opens a page in one look and, when the test ends, fails it for anything that went wrong in the page meanwhile
(`harness.watch`):

    from harness.browser import Look, OpenVisit, every_look

    @every_look
    def test_a_page_says_hello(visit: OpenVisit, look: Look, shop: Shop) -> None:
        visited = visit(shop.system.url("search_api"), look)
        page = visited.open("/hello")
        visited.check_accessible()
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from harness.browser import Look, OpenVisit, Visit
from tools.chromium import MISSING, find_chromium, open_chromium

Reported = Generator[None, pytest.TestReport, pytest.TestReport]
_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Reported:
    report = yield
    if call.when == "call":
        item.stash[_FAILED] = report.failed
    return report


# A file's browser, not the session's: while it runs no test of this process could use asyncio, and a start is 0.4 s.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if find_chromium() is None:
        pytest.skip(MISSING)
    with open_chromium() as started:
        yield started


@pytest.fixture
def visit(browser: Browser, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenVisit]:
    """Open a visit to `origin`, in the light look of 1280 px unless another is given. Several may be open at once."""
    visits: list[Visit] = []

    def opened(origin: str, look: Look | None = None) -> Visit:
        visits.append(Visit(browser, origin, look or Look()))
        return visits[-1]

    yield opened
    failed = request.node.stash.get(_FAILED, True)
    faults = []
    for number, one in enumerate(visits):
        found = one.watch.faults()
        faults += [f"{one.look}: {fault}" for fault in found]
        if (failed or found) and not one.page.is_closed():
            picture = tmp_path / f"visit-{number}-{one.look}.png"
            one.page.screenshot(path=picture)
            request.node.add_report_section("teardown", "picture", f"{one.page.url} at the end: {picture}")
        one.close()
    assert not faults, "\n".join(["the page has faults:", *faults])
