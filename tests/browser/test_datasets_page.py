"""The pages of datasets: what is known of one, its schedule, its deleted products, and its end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from harness.browser import PATIENCE_MS, OpenVisit, every_look
from harness.releases import picture
from harness.shop import DATASET, Shop
from tools.chromium import Look

pytestmark = pytest.mark.slow
SMALL = "for-its-page"


@pytest.fixture(autouse=True)
def _patient() -> None:
    expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture
def small(shop: Shop) -> Iterator[str]:
    """A small dataset of which one product is deleted."""
    root = shop.system.catalogs / SMALL
    (root / "images").mkdir(parents=True, exist_ok=True)
    for number in range(6):
        (root / "images" / f"{number}.jpg").write_bytes(picture(number))
    (root / "products.csv").write_text("id,fit\n" + "".join(f"{number},Slim\n" for number in range(6)))
    shop.system.succeeded(shop.start_index(dataset=SMALL, reader="folder", root=str(root))["id"])
    assert shop.api.delete("/api/products/2", params={"dataset": SMALL}).status_code == 200
    yield SMALL
    shop.api.delete(f"/api/datasets/{SMALL}", params={"uploads": "true"})


@every_look
def test_a_dataset_is_listed_and_shown(visit: OpenVisit, look: Look, shop: Shop) -> None:
    visited = visit(shop.system.url("search_api"), look)
    page = visited.open("/datasets")
    expect(page.get_by_role("row", name=DATASET).first).to_be_visible()
    visited.check_accessible()
    visited.check_no_overflow()
    page = visited.open(f"/datasets/{DATASET}")
    expect(page.get_by_role("heading", name=DATASET)).to_be_visible()
    expect(page.get_by_role("row", name="articleType")).to_contain_text("one of its values")
    expect(page.get_by_role("row", name="year")).to_contain_text("Whole number")
    expect(page.get_by_role("link", name=shop.release)).to_be_visible()
    visited.check_accessible()
    visited.check_no_overflow()


def test_a_dataset_is_scheduled_its_product_restored_and_the_dataset_deleted(
    visit: OpenVisit, shop: Shop, small: str
) -> None:
    visited = visit(shop.system.url("search_api"))
    page = visited.open(f"/datasets/{small}")
    page.get_by_label("Index again every").fill("6h")
    page.get_by_role("button", name="Set the schedule").click()
    stop = page.get_by_role("button", name="Stop indexing")
    expect(stop).to_be_visible()
    assert [one["every"] for one in shop.get(f"/api/datasets/{small}")["schedules"]] == ["6h"]
    visited.check_accessible()
    stop.click()
    expect(stop).to_have_count(0)
    page.get_by_role("button", name="Restore 2").click()
    expect(page.locator("[data-state]")).to_have_text("is back")
    assert shop.get(f"/api/datasets/{small}/deleted")["deleted"] == []
    page.get_by_role("button", name="Delete", exact=True).click()
    dialog = page.get_by_role("dialog", name=f"Delete {small}?")
    expect(dialog).to_contain_text("can no longer be found")
    visited.check_accessible()
    dialog.get_by_role("button", name="Cancel").click()
    assert shop.get(f"/api/datasets/{small}")["products"] == 6
    page.get_by_role("button", name="Delete", exact=True).click()
    dialog.get_by_role("button", name="Delete").click()
    expect(page).to_have_url(f"{shop.system.url('search_api')}/datasets")
    assert shop.api.get(f"/api/datasets/{small}").status_code == 404
