"""The search page as a shopper uses it: from the empty page to the results, by pointer, finger and keyboard."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import FilePayload, Page, expect

from harness.browser import OpenVisit
from harness.search_page import ADDRESS, DESK, both_looks, dress, searched, state
from harness.shop import Shop
from harness.system import MODEL
from tools.chromium import Look

pytestmark = pytest.mark.slow
# A file as the browser hands it over with an event of this name.
GIVE = """([kind, text, type]) => {
  const bytes = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], "picture.jpg", {type}));
  const options = {bubbles: true, cancelable: true};
  const event = kind === "paste"
    ? new ClipboardEvent("paste", {...options, clipboardData: data})
    : new DragEvent(kind, {...options, dataTransfer: data});
  document.body.dispatchEvent(event);
}"""


@pytest.fixture(scope="module")
def query(shop: Shop) -> FilePayload:
    return dress(shop)


@pytest.fixture(scope="module")
def twins(shop: Shop) -> Iterator[str]:
    """A dataset that two models serve."""
    root = shop.system.catalog("twins", count=40)
    for model, release in ((MODEL, shop.system.release()), (shop.release.rpartition("-")[0], shop.release)):
        job = shop.start_index(dataset="twins", root=str(root), model=model, release_id=release)
        shop.system.succeeded(job["id"])
    yield "twins"
    assert shop.api.delete("/api/datasets/twins").is_success


def open_filters(page: Page, look: Look) -> None:
    if look.phone:
        page.get_by_role("button", name="Filters").click()


def close_filters(page: Page, look: Look) -> None:
    if look.phone:
        page.get_by_role("button", name="Show the results").click()


def give(page: Page, kind: str, query: FilePayload) -> None:
    page.evaluate(GIVE, [kind, base64.b64encode(query["buffer"]).decode(), query["mimeType"]])


@both_looks
def test_a_picture_finds_products_filters_narrow_them_and_the_address_leads_back(
    visit: OpenVisit, look: Look, shop: Shop, query: FilePayload
) -> None:
    visited = visit(shop.system.url("search_api"), look)
    page = visited.open(ADDRESS)
    expect(page.locator(".sample-list .tile")).to_have_count(8)
    visited.check_accessible()
    visited.check_no_overflow()

    page = searched(visited, query)
    assert "upload" in state(page)
    first = page.locator("[data-result]").first
    expect(first).to_contain_text("Dresses")
    expect(first).to_contain_text(re.compile(r"\d+\s%"))
    visited.check_accessible()
    visited.check_no_overflow()

    open_filters(page, look)
    page.locator("[data-facets] input[name=gender][value=Women]").check()
    expect(page.locator(".chip", has_text="Women")).to_have_count(1)
    page.locator("[data-facets] input[name=gender][value=Girls]").check()
    expect(page.locator(".results-column .chip.chosen")).to_have_count(2)
    assert state(page)["gender"] == ["Women", "Girls"]
    visited.settle()
    visited.check_accessible()
    low = page.locator("[data-range] input").first
    low.evaluate(
        "(one) => { one.value = Number(one.min) + 1; one.dispatchEvent(new Event('input', {bubbles: true})); }"
    )
    low.evaluate("(one) => one.dispatchEvent(new Event('change', {bubbles: true}))")
    expect(page.locator(".results-column .chip", has_text="Year from")).to_have_count(1)
    close_filters(page, look)
    for name in page.locator("[data-result] .tile-attributes").all_inner_texts():
        assert name.split(" · ")[0] in {"Women", "Girls"}

    page.go_back()
    page.go_back()
    expect(page.locator(".results-column .chip.chosen")).to_have_count(1)
    page.go_forward()
    expect(page.locator(".results-column .chip.chosen")).to_have_count(2)
    page.reload()
    expect(page.locator(".results-column .chip.chosen")).to_have_count(2)
    page.get_by_role("link", name="Clear all").click()
    expect(page.locator(".results-column .chip.chosen")).to_have_count(0)
    page.get_by_role("link", name="Remove", exact=True).click()
    expect(page.get_by_role("heading", name="Find it by how it looks")).to_be_visible()
    assert "upload" not in state(page)


@both_looks
def test_more_comes_on_scroll_and_by_the_button_until_all_is_there(
    visit: OpenVisit, look: Look, shop: Shop, query: FilePayload
) -> None:
    visited = visit(shop.system.url("search_api"), look)
    page = searched(visited, query)
    expect(page.locator("[data-result]")).to_have_count(20)
    page.evaluate("() => window.scrollTo(0, document.body.scrollHeight)")
    expect(page.locator("[data-result]")).to_have_count(40)
    seen = page.locator("[data-result]").evaluate_all("(all) => all.map((one) => one.dataset.id)")
    assert len(set(seen)) == 40
    ranks = page.locator("[data-result]").evaluate_all("(all) => all.map((one) => Number(one.dataset.rank))")
    assert ranks == list(range(1, 41))


@both_looks
def test_a_picture_is_dropped_or_pasted_anywhere(visit: OpenVisit, look: Look, shop: Shop, query: FilePayload) -> None:
    visited = visit(shop.system.url("search_api"), look)
    page = visited.open(ADDRESS)
    give(page, "dragenter", query)
    expect(page.locator("[data-veil]")).to_be_visible()
    give(page, "drop", query)
    expect(page.locator("[data-veil]")).to_be_hidden()
    page.locator("[data-result]").first.wait_for()
    dropped = state(page)["upload"]
    give(page, "paste", query)
    page.wait_for_url(lambda url: "upload=" in url and dropped[0] not in url)
    expect(page.locator("[data-result]").first).to_be_visible()


@both_looks
def test_a_box_searches_one_part_and_the_kinds_search_among_themselves(
    visit: OpenVisit, look: Look, shop: Shop, query: FilePayload
) -> None:
    visited = visit(shop.system.url("search_api"), look)
    page = searched(visited, query)
    page.get_by_role("button", name="Draw a box yourself").click()
    page.wait_for_url("**region=**")
    box = page.locator(".cropper-crop-box")
    expect(box).to_be_visible()
    before = state(page)["region"]
    box.focus()
    page.keyboard.press("Shift+ArrowLeft")
    page.wait_for_url(lambda url: parse_qs(urlsplit(url).query).get("region") not in (None, before))
    visited.settle()
    visited.check_accessible()
    page.reload()
    expect(page.locator(".cropper-crop-box")).to_be_visible()
    page.get_by_role("button", name="Remove the box").click()
    page.wait_for_url(lambda url: "region=" not in url)
    expect(page.locator(".cropper-crop-box")).to_have_count(0)

    page.locator(".query-kinds .chip").first.click()
    page.wait_for_url("**articleType=**")
    expect(page.locator(".query-kinds .chip[aria-current]")).to_have_count(1)


@both_looks
def test_examples_are_gathered_in_the_tray_and_a_match_is_explained(
    visit: OpenVisit, look: Look, shop: Shop, query: FilePayload
) -> None:
    visited = visit(shop.system.url("search_api"), look)
    page = searched(visited, query)
    for place, name in ((1, "More like this"), (5, "Less like this")):
        result = page.locator("[data-result]").nth(place)
        result.scroll_into_view_if_needed()
        if not look.phone:
            result.hover()
        result.get_by_role("button", name=name).click()
    tray = page.get_by_role("region", name="Examples to search with")
    expect(tray.locator("li")).to_have_count(2)
    assert state(page).keys() >= {"positive", "negative"}
    page.reload()
    expect(tray.locator("li")).to_have_count(2)
    visited.settle()
    visited.check_accessible()
    tray.get_by_role("button", name="Search with these").click()
    expect(page.locator(".results-title")).to_contain_text("like your examples")
    shown = page.locator("[data-result]").evaluate_all("(all) => all.map((one) => one.dataset.id)")
    assert not {*state(page)["positive"], *state(page)["negative"]} & set(shown)
    tray.get_by_role("button", name="Clear").click()
    expect(tray).to_be_hidden()
    expect(page.locator(".results-title")).not_to_contain_text("like your examples")

    page.locator("[data-result]").nth(2).get_by_role("button", name="Why did it match?").dispatch_event("click")
    expect(page.locator("[data-why-pair]:not([aria-busy])")).to_be_visible()
    assert page.locator("[data-why-product] canvas").evaluate("(one) => one.width") > 1
    visited.check_accessible()
    page.locator("[data-why-strength]").fill("20")
    assert page.locator("[data-why-query] canvas").evaluate("(one) => one.style.opacity") == "0.2"
    page.keyboard.press("Escape")

    page.locator("[data-result]").nth(3).get_by_role("link", name="Search with this").dispatch_event("click")
    page.wait_for_url("**id=**")
    assert "upload" not in state(page)


def test_the_keyboard_goes_to_the_picture_and_through_the_results(
    visit: OpenVisit, shop: Shop, query: FilePayload
) -> None:
    visited = visit(shop.system.url("search_api"), DESK)
    page = searched(visited, query)
    focused = "() => document.activeElement.closest('[data-result]')?.dataset.rank"
    page.locator("body").press("ArrowRight")
    assert page.evaluate(focused) == "1"
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == "2"
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused) == "7", "five in a row"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("+")
    assert state(page)["positive"]
    page.keyboard.press("/")
    assert page.evaluate("() => document.activeElement.matches('[data-choose]')")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
    visited.check_accessible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keyboard")).to_be_hidden()
    opened = page.locator("[data-result] .tile-name").first.get_attribute("href")
    assert (opened or "").startswith("/products/")


@both_looks
def test_two_models_stand_side_by_side_and_what_only_one_found_is_marked(
    visit: OpenVisit, look: Look, shop: Shop, query: FilePayload, twins: str
) -> None:
    visited = visit(shop.system.url("search_api"), look)
    page = searched(visited, query, f"/?dataset={twins}&model={MODEL}")
    page.get_by_label("Compare with").select_option(index=1)
    expect(page.locator(".compared-side")).to_have_count(2)
    assert state(page)["compare"]
    both = page.locator(".result.found-twice")
    expect(both.first).to_be_visible()
    for place in range(2):
        side = page.locator(".compared-side").nth(place)
        ids = side.locator("[data-result]").evaluate_all("(all) => all.map((one) => one.dataset.id)")
        alone = side.locator(".result.found-once").evaluate_all("(all) => all.map((one) => one.dataset.id)")
        other = page.locator(".compared-side").nth(1 - place)
        others = other.locator("[data-result]").evaluate_all("(all) => all.map((one) => one.dataset.id)")
        assert set(alone) == set(ids) - set(others)
    visited.settle()
    visited.check_accessible()
    visited.check_no_overflow()
