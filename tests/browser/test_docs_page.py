"""The API's documentation as a page, in every look."""

from __future__ import annotations

import pytest

from harness.browser import OpenVisit, every_look
from harness.system import System
from harness.waiting import wait_until
from tools.chromium import Look

pytestmark = pytest.mark.slow


@every_look
def test_the_documentation_lists_the_calls_and_asks_nothing_of_another_host(
    visit: OpenVisit, look: Look, bare: System
) -> None:
    visited = visit(bare.url("search_api"), look)
    page = visited.open("/docs")
    assert "Vitrine" in page.title()
    document = bare.api.get("/openapi.json").json()
    wait_until(
        lambda: all(tag["description"] in page.locator("body").inner_text() for tag in document["tags"]),
        what="every group of calls on the page",
    )
    visited.check_accessible(exclude=["#swagger"])  # Swagger UI's own controls are nested and 23 px high
    visited.check_no_overflow()
