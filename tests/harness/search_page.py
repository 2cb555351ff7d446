"""Shared by the tests of the search page: a query, the page with its results, and the state in its address."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import FilePayload, Page, expect

from harness.browser import PATIENCE_MS, Visit
from harness.shop import DATASET, Shop
from tools.chromium import Look

DESK = Look("light", 1280)
# Each flow runs on a desktop in the light theme and on a phone in the dark one.
both_looks = pytest.mark.parametrize("look", [DESK, Look("dark", 360)], ids=str)
ADDRESS = f"/?dataset={DATASET}"
FIELD = "input[type=file][name=image]"
expect.set_options(timeout=PATIENCE_MS)


def dress(shop: Shop) -> FilePayload:
    """A catalogue picture of a dress."""
    product = next(name for name, row in shop.rows.items() if row["articleType"] == "Dresses")
    return {"name": "dress.jpg", "mimeType": "image/jpeg", "buffer": shop.picture(product)}


def state(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def searched(visited: Visit, query: FilePayload, address: str = ADDRESS) -> Page:
    """The page with the results of the picture."""
    page = visited.open(address)
    page.locator(FIELD).set_input_files(query)
    page.locator("[data-result]").first.wait_for()
    return visited.settle()
