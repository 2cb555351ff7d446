"""A real browser for the tests of pages, the installed Chromium, and real systems that serve the pages.

`visit` opens a page in one look and, when the test ends, fails it for anything that went wrong in the page meanwhile
(`harness.watch`):

    from harness.browser import OpenVisit, every_look
    from tools.chromium import Look

    @every_look
    def test_a_page_says_hello(visit: OpenVisit, look: Look, shop: Shop) -> None:
        visited = visit(shop.system.url("search_api"), look)
        page = visited.open("/hello")
        visited.check_accessible()

A worker starts each system once, for all of its files, and only when a test asks for it: `shop` takes about thirty
seconds of two cores, `bare` five. Tests leave a system as they found it; `System.without` and `System.another_api` are
for a service that is away and for other settings.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from harness.browser import OpenVisit, Visit
from harness.hostile import HOSTILE, write_hostile_catalog
from harness.shop import Shop, running_bundled_shop
from harness.system import System, running_system
from harness.waiting import wait_until
from tools.chromium import MISSING, Look, find_chromium, open_chromium

Reported = Generator[None, pytest.TestReport, pytest.TestReport]
_FAILED = pytest.StashKey[bool]()
PRODUCTS = 120


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Reported:
    report = yield
    if call.when == "call":
        item.stash[_FAILED] = report.failed
    return report


@pytest.fixture(scope="session")
def chromium() -> None:
    """Skip tests that need a browser if there is no browser, before a system is started for them."""
    if find_chromium() is None:
        pytest.skip(MISSING)


@pytest.fixture(scope="session")
def shop(chromium: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """120 drawn products as dataset `drawn`, served by the release that comes with Vitrine."""
    folder = tmp_path_factory.mktemp("shop") / "system"
    # The garments in pictures have tests of their own, with a parser that knows what they draw.
    with running_bundled_shop(folder, products=PRODUCTS, VITRINE_PARSER_MODEL="no-parser") as shop:
        yield shop


@pytest.fixture(scope="session")
def workshop(shop: Shop) -> Shop:
    """The shop with a trainer: releases are made, trained and evaluated."""
    shop.system.start("trainer")
    wait_until(lambda: shop.get("/api/status")["services"]["trainer"]["up"], what="the trainer")
    return shop


@pytest.fixture(scope="session")
def hostile(shop: Shop) -> Iterator[str]:
    """The name of a dataset in the shop whose texts are hostile to a page (`harness.hostile`)."""
    root = write_hostile_catalog(shop.system.catalogs / HOSTILE)
    shop.system.succeeded(shop.start_index(dataset=HOSTILE, reader="folder", root=str(root))["id"])
    yield HOSTILE
    assert shop.api.delete(f"/api/datasets/{HOSTILE}").is_success


@pytest.fixture(scope="session")
def bare(chromium: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A search API with nothing indexed, and neither embedder nor indexer."""
    with running_system(tmp_path_factory.mktemp("bare") / "system", "search_api") as system:
        yield system


# A file's browser, not the session's: while it runs no test of this process could use asyncio, and a start is 0.4 s.
@pytest.fixture(scope="module")
def browser(chromium: None) -> Iterator[Browser]:
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
