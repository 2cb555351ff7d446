"""The catalogue and the page of a product as a shop's owner uses them: browse, filter, add, change, replace, remove and
bring back, and what is said where something is wrong. Each flow runs on a phone in the dark and on a desk in the light.
"""

from __future__ import annotations

import hashlib
import math
import re
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import FilePayload, Page, expect

from harness.browser import PATIENCE_MS, OpenVisit
from harness.hostile import NAMES
from harness.releases import picture
from harness.shop import DATASET, Shop
from harness.system import System
from tools.chromium import Look

pytestmark = pytest.mark.slow
LOOKS = (Look("light", 1280), Look("dark", 360))
both_looks = pytest.mark.parametrize("look", LOOKS, ids=str)
CATALOGUE = f"/catalogue?dataset={DATASET}"
ORDER = {"dataset": DATASET}
TILES = ".tile[data-product]"


@pytest.fixture(autouse=True)
def _patience() -> None:
    expect.set_options(timeout=PATIENCE_MS)


def chosen(seed: int, name: str = "new.png") -> FilePayload:
    return {"name": name, "mimeType": "image/png", "buffer": picture(seed, kind="PNG")}


def state(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def ids(page: Page) -> list[str]:
    found: list[str] = page.locator(TILES).evaluate_all("tiles => tiles.map(tile => tile.dataset.product)")
    return found


@both_looks
def test_products_are_browsed_filtered_and_sorted_and_the_address_says_so(
    visit: OpenVisit, look: Look, shop: Shop
) -> None:
    visited = visit(shop.system.url("search_api"), look)
    page = visited.open(CATALOGUE)
    expect(page.locator("[data-total]")).to_have_text(f"{len(shop.rows)} products")
    expect(page.locator("main [data-part=facets]")).to_be_attached()
    visited.check_accessible()
    visited.check_no_overflow()
    if look.phone:
        page.locator("[data-filters]").click()
        visited.check_accessible()
    page.locator("input[type=checkbox][name=gender][value=Women]").check()
    women = sum(row["gender"] == "Women" for row in shop.rows.values())
    expect(page.locator("[data-total]")).to_have_text(f"{women} products")
    assert state(page)["gender"] == ["Women"]
    # Its own filter leaves the other values of a field to be chosen.
    expect(page.locator("input[type=checkbox][name=gender][value=Men]")).to_be_attached()
    expect(page.locator("input[type=checkbox][name=gender][value=Women]")).to_be_focused()
    if look.phone:
        page.locator("#filter-sheet [data-closes]").click()
    page.locator("#sort").focus()
    page.locator("#sort").select_option("-year")
    expect(page.locator("#sort")).to_be_focused()
    expect(page).to_have_url(re.compile("sort=-year"))
    page.wait_for_function("() => !document.querySelector('[data-catalogue][aria-busy=true]')")
    years = [int(shop.rows[found]["year"]) for found in ids(page)]
    assert years == sorted(years, reverse=True)
    page.reload()
    visited.settle()
    expect(page.locator("[data-total]")).to_have_text(f"{women} products")
    page.locator(".chip.chosen", has_text="Women").click()
    expect(page.locator("[data-total]")).to_have_text(f"{len(shop.rows)} products")
    page.go_back()
    expect(page.locator("[data-total]")).to_have_text(f"{women} products")


@both_looks
def test_more_products_come_until_all_are_there_once(visit: OpenVisit, look: Look, shop: Shop) -> None:
    visited = visit(shop.system.url("search_api"), look)
    page = visited.open(f"{CATALOGUE}&sort=year")
    while page.locator("[data-more]").count():
        page.evaluate("() => window.scrollTo(0, document.body.scrollHeight)")  # what asks for more may go meanwhile
        page.wait_for_function("() => !document.querySelector('[data-more][aria-busy=true]')")
    found = ids(page)
    assert len(found) == len(set(found)) == len(shop.rows)
    none = visited.open(f"{CATALOGUE}&gender=Nobody")
    expect(none.locator(".nothing")).to_contain_text("No product matches all filters")
    visited.check_accessible()
    none.get_by_role("link", name="Show all products").click()
    expect(none.locator("[data-total]")).to_have_text(f"{len(shop.rows)} products")


@both_looks
def test_a_product_is_added_changed_replaced_removed_and_brought_back(visit: OpenVisit, look: Look, shop: Shop) -> None:
    product_id = f"own-{look.width_px}"
    api = f"/api/products/{product_id}"
    visited = visit(shop.system.url("search_api"), look)
    visited.watch.max_shift = math.inf  # what happened is said above, as soon as the server has answered
    page = visited.open(CATALOGUE)
    page.get_by_role("link", name="Add a product").click()
    visited.settle()
    visited.check_accessible()
    visited.check_no_overflow()

    page.get_by_role("button", name="Add the product").click()
    expect(page.locator("[data-fault-of=image]")).to_have_text("A product needs a picture")
    expect(page.locator("[data-fault-of=id]")).to_have_text("A product needs an id")
    page.locator("[data-picture]").set_input_files({"name": "notes.pdf", "mimeType": "application/pdf", "buffer": b"x"})
    expect(page.locator("[data-fault-of=image]")).to_have_text(
        "That is a PDF. Send a JPEG, PNG, WebP, AVIF, HEIC, GIF, BMP or TIFF picture."
    )
    visited.check_accessible()
    page.locator("[data-picture]").set_input_files(chosen(look.width_px))
    expect(page.locator("[data-preview] img")).to_be_visible()
    page.locator("[data-id]").fill(next(iter(shop.rows)))
    page.get_by_role("button", name="Add the product").click()
    expect(page.locator("[data-fault-of=id]")).to_have_text("There is a product with this id already")
    page.locator("[data-id]").fill(product_id)
    page.locator("[name=name]").fill("A dress of our own")
    page.locator("[name=gender]").fill("Women")
    page.locator("[name=year]").fill("soon")
    page.get_by_role("button", name="Another attribute").click()
    page.locator("[data-further-name]").fill("fabric")
    page.locator("[data-further-value]").fill("Linen")
    visited.expect_failure(api, 400)
    page.get_by_role("button", name="Add the product").click()
    expect(page.locator("[data-fault-of=year]")).to_contain_text("'soon' is not")
    expect(page.locator("[name=year]")).to_be_focused()
    expect(page.locator("[name=name]")).to_have_value("A dress of our own")
    page.locator("[name=year]").fill("2031")
    page.get_by_role("button", name="Add the product").click()

    expect(page.locator("h1")).to_have_text("A dress of our own")
    try:
        visited.settle()
        expect(page.locator(".toast")).to_contain_text("The product is added.")
        expect(page.locator(".facts")).to_contain_text("Linen")
        expect(page.locator(".product-picture img")).to_have_js_property("complete", True)
        visited.check_accessible()
        visited.check_no_overflow()

        page.get_by_role("button", name="Edit").click()
        visited.check_accessible()
        dialog = page.get_by_role("dialog")
        dialog.locator("[name=baseColour]").fill("Teal")
        dialog.locator("[name=year]").fill("2032")
        dialog.get_by_role("button", name="Save").click()
        expect(page.locator(".facts")).to_contain_text("2032")
        expect(page.locator(".facts")).to_contain_text("Teal")

        before = shop.api.get(f"/api/images/{product_id}", params=ORDER).content
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Replace picture").click()
        chooser.value.set_files(chosen(look.width_px + 1))
        expect(page.locator(".toast").filter(has_text="is replaced")).to_be_visible()
        after = shop.api.get(f"/api/images/{product_id}", params=ORDER).content
        assert hashlib.sha256(after).digest() != hashlib.sha256(before).digest()
        assert shop.get(api, **ORDER)["product"]["baseColour"] == "Teal"

        page.get_by_role("button", name="Remove").click()
        visited.check_accessible()
        page.get_by_role("dialog").get_by_role("button", name="Remove").click()
        expect(page.locator("[data-gone]")).to_be_visible()
        assert shop.api.get(api, params=ORDER).status_code == 404
        page.get_by_role("button", name="Undo").click()
        expect(page.locator(".toast").filter(has_text="is back")).to_be_visible()
        # Its picture went with it, and came back from the page.
        assert shop.api.get(f"/api/images/{product_id}", params=ORDER).content == after
        assert shop.get(api, **ORDER)["product"]["year"] == 2032
    finally:
        shop.api.delete(api, params=ORDER)


@both_looks
def test_a_removed_product_waits_to_be_restored(visit: OpenVisit, look: Look, shop: Shop) -> None:
    visited = visit(shop.system.url("search_api"), look)
    page = visited.open(f"{CATALOGUE}&sort=year")
    first = page.locator(TILES).first
    product_id = first.get_attribute("data-product") or ""
    first.hover()
    first.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(first.get_by_text("Removed")).to_be_visible()
    expect(first.get_by_role("button", name="Undo")).to_be_focused()
    assert shop.api.get(f"/api/products/{product_id}", params=ORDER).status_code == 404
    visited.check_accessible()
    first.get_by_role("button", name="Undo").click()
    expect(page.locator(".toast").filter(has_text="is back")).to_be_visible()
    assert shop.api.get(f"/api/products/{product_id}", params=ORDER).status_code == 200

    assert shop.api.delete(f"/api/products/{product_id}", params=ORDER).is_success
    visited.expect_failure(f"/products/{product_id}", 404)
    page = visited.open(f"/products/{product_id}?dataset={DATASET}")
    expect(page.locator("h1")).to_have_text("This product was removed")
    visited.check_accessible()
    page = visited.open(f"/catalogue/deleted?dataset={DATASET}")
    visited.check_accessible()
    visited.check_no_overflow()
    page.get_by_role("button", name=f"Restore {product_id}").click()
    expect(page.locator("[data-state]").first).to_have_text("is back")
    page.get_by_role("link", name="Open").click()
    visited.settle()
    expect(page.locator(".facts")).to_contain_text(product_id)


@both_looks
def test_a_product_shows_what_is_alike_under_the_same_filters(visit: OpenVisit, look: Look, shop: Shop) -> None:
    product_id, row = next((name, row) for name, row in shop.rows.items() if row["gender"] == "Women")
    twin = f"twin-{look.width_px}"
    files = {"image": shop.picture(product_id)}
    assert shop.api.put(f"/api/products/{twin}", params=ORDER, files=files, data={"gender": "Men"}).is_success
    try:
        visited = visit(shop.system.url("search_api"), look)
        page = visited.open(f"/products/{product_id}?dataset={DATASET}&gender=Men")
        duplicates = page.locator("section", has=page.get_by_role("heading", name="Nearly the same picture"))
        expect(duplicates.get_by_text(twin, exact=True).first).to_be_visible()
        alike = ids(page.locator("#alike").page)
        assert twin in alike
        assert all(shop.rows[found]["gender"] == "Men" for found in alike if found not in (twin, product_id))
        visited.check_accessible()
        visited.check_no_overflow()
        page.locator(".chip.chosen", has_text="Men").click()
        page.locator("#alike .chip:not(.chosen)", has_text=row["articleType"]).first.click()
        visited.settle()
        assert all(shop.rows[found]["articleType"] == row["articleType"] for found in ids(page) if found in shop.rows)
        expect(page.get_by_role("link", name="Search with this").first).to_have_attribute(
            "href", re.compile(rf"^/\?.*id={product_id}")
        )
    finally:
        shop.api.delete(f"/api/products/{twin}", params=ORDER)


@both_looks
def test_hostile_texts_are_shown_as_the_texts_they_are(visit: OpenVisit, look: Look, shop: Shop, hostile: str) -> None:
    visited = visit(shop.system.url("search_api"), look)
    page = visited.open(f"/catalogue?dataset={hostile}")
    shown = page.locator(".tile-name").all_inner_texts()
    assert {NAMES["script"], NAMES["image"], NAMES["template"]} <= set(shown)
    visited.check_no_overflow()
    visited.check_accessible()
    for product_id in ("script", "long", "arabic"):
        page = visited.open(f"/products/{product_id}?dataset={hostile}")
        assert page.locator("h1").inner_text().strip() == NAMES[product_id]
        visited.check_no_overflow()
    page.locator("[data-opens=edit]").click()
    expect(page.locator("#edit [name=name]")).to_have_value(NAMES["arabic"])
    visited.check_no_overflow()


def test_without_a_catalogue_the_page_says_how_to_get_one(visit: OpenVisit, bare: System) -> None:
    visited = visit(bare.url("search_api"))
    page = visited.open("/catalogue")
    expect(page.locator("h1")).to_have_text("No catalogue yet")
    visited.check_accessible()


def test_who_may_only_search_is_offered_no_changes(visit: OpenVisit, shop: Shop) -> None:
    keys = f"owner:ingest+search:{hashlib.sha256(b'secret-of-the-owner').hexdigest()}"
    with shop.system.another_api(VITRINE_API_KEYS=keys, VITRINE_PUBLIC_PAGES="true") as url:
        visited = visit(url)
        page = visited.open(CATALOGUE)
        expect(page.locator(TILES).first).to_be_visible()
        for control in ("[data-remove]", "[data-replace]", 'a[href*="/catalogue/new"]'):
            expect(page.locator(control)).to_have_count(0)
        page.locator(".tile-name").first.click()
        visited.settle()
        expect(page.get_by_role("button", name="Edit")).to_have_count(0)
        assert httpx.get(f"{url}/catalogue/new", params=ORDER).headers["location"].startswith("/login")
        page.wait_for_load_state("networkidle")  # before its server goes
