"""The status page: what is up, what is away and what still works then, kept fresh by itself."""

from __future__ import annotations

import math

import pytest
from playwright.sync_api import expect

from harness.browser import PATIENCE_MS, OpenVisit, every_look
from harness.shop import DATASET, Shop
from harness.system import System
from tools.chromium import Look

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _patient() -> None:
    expect.set_options(timeout=PATIENCE_MS)


@every_look
def test_the_status_names_services_queues_and_datasets(visit: OpenVisit, look: Look, shop: Shop) -> None:
    visited = visit(shop.system.url("search_api"), look)
    page = visited.open("/status")
    for name in ("search-api", "embedder", "qdrant", "redis", "indexer"):
        expect(page.locator(".card", has=page.get_by_role("heading", name=name)).locator(".state")).to_have_text("up")
    expect(page.get_by_role("row", name=DATASET).first).to_contain_text(shop.release)
    expect(page.get_by_role("heading", name="Queues")).to_be_visible()
    visited.check_accessible()
    visited.check_no_overflow()


def test_what_goes_away_is_said_by_itself_and_so_is_its_return(visit: OpenVisit, shop: Shop) -> None:
    visited = visit(shop.system.url("search_api"))
    visited.watch.max_shift = math.inf  # what is away is said at the top
    page = visited.open("/status")
    state = page.locator(".card", has=page.get_by_role("heading", name="embedder")).locator(".state")
    expect(state).to_have_text("up")
    with shop.system.without("embedder"):
        expect(state).to_have_text("down")
        expect(page.get_by_text("Embedder is down.")).to_be_visible()
        visited.check_accessible()
    expect(state).to_have_text("up")


def test_a_system_with_nothing_in_it_says_so(visit: OpenVisit, bare: System) -> None:
    visited = visit(bare.url("search_api"))
    page = visited.open("/status")
    expect(page.get_by_text("No catalogue yet.")).to_be_visible()
    expect(page.get_by_text("Indexer is down.")).to_be_visible()
    visited.check_accessible()
