"""The search page as a shopper uses it: from the empty page to the results, by pointer, finger and keyboard, and what
it says where something is wrong. Each flow runs on a phone in the dark and on a desk in the light.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import FilePayload, Page, expect

from harness.browser import PATIENCE_MS, OpenVisit, Visit
from harness.shop import DATASET, Shop
from harness.system import MODEL, System
from tools.chromium import Look

pytestmark = pytest.mark.slow
expect.set_options(timeout=PATIENCE_MS)
LOOKS = (Look("light", 1280), Look("dark", 360))
both_looks = pytest.mark.parametrize("look", LOOKS, ids=str)
DESK = Look("light", 1280)
ADDRESS = f"/?dataset={DATASET}"
FIELD = "input[type=file][name=image]"
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
    """A picture of the catalogue: of a dress."""
    product = next(name for name, row in shop.rows.items() if row["articleType"] == "Dresses")
    return {"name": "dress.jpg", "mimeType": "image/jpeg", "buffer": shop.picture(product)}


@pytest.fixture(scope="module")
def twins(shop: Shop) -> Iterator[str]:
    """A dataset that two models serve."""
    root = shop.system.catalog("twins", count=40)
    for model, release in ((MODEL, shop.system.release()), (shop.release.rpartition("-")[0], shop.release)):
        job = shop.start_index(dataset="twins", root=str(root), model=model, release_id=release)
        shop.system.succeeded(job["id"])
    yield "twins"
    assert shop.api.delete("/api/datasets/twins").is_success


def state(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def searched(visited: Visit, query: FilePayload, address: str = ADDRESS) -> Page:
    """The page with the results of the picture."""
    page = visited.open(address)
    page.locator(FIELD).set_input_files(query)
    page.locator("[data-result]").first.wait_for()
    return visited.settle()


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
    page.locator("[data-more]").scroll_into_view_if_needed()
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
    page.get_by_role("button", name="Part of it").click()
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
    page.get_by_role("button", name="Whole picture").click()
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


@both_looks
def test_wrong_files_are_refused_with_a_reason_and_what_was_there_stays(
    visit: OpenVisit, look: Look, shop: Shop, query: FilePayload
) -> None:
    visited = visit(shop.system.url("search_api"), look)
    page = searched(visited, query, f"{ADDRESS}&gender=Women")
    address = page.url
    notice = page.locator("[data-notice]")
    wrong: list[tuple[FilePayload, str]] = [
        ({"name": "a.txt", "mimeType": "text/plain", "buffer": b"words"}, "That is a text file."),
        ({"name": "a.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.7"}, "That is a PDF. Send a JPEG"),
        ({"name": "a.jpg", "mimeType": "image/jpeg", "buffer": b""}, "That file is empty."),
        ({"name": "a.jpg", "mimeType": "image/jpeg", "buffer": bytes(30_000_000)}, "is 30 MB; up to 20 MB"),
    ]
    for file, words in wrong:
        page.locator(FIELD).set_input_files(file)
        expect(notice).to_contain_text(words)
        assert page.url == address
    visited.check_accessible()
    page.locator("main").press("Escape")
    expect(notice).to_be_empty()
    # What only the server can tell: the words inside a file, and a size that the page did not look at.
    visited.expect_failure("/", 400)
    page.locator(FIELD).set_input_files({"name": "a.jpg", "mimeType": "image/jpeg", "buffer": b"no picture"})
    expect(notice).to_contain_text("That picture cannot be read.")
    expect(page.locator("[data-result]").first).to_be_visible()
    assert page.url == address
    visited.expect_failure("/", 413)
    page.locator("[data-chooser]").evaluate("(one) => one.setAttribute('data-max-bytes', '90000000')")
    page.locator(FIELD).set_input_files({"name": "a.jpg", "mimeType": "image/jpeg", "buffer": bytes(21_000_000)})
    expect(notice).to_contain_text("too large")
    expect(page.locator(".chip", has_text="Women").first).to_be_visible()


@both_looks
def test_an_expired_picture_is_asked_for_again_and_the_filters_stay(
    visit: OpenVisit, look: Look, shop: Shop, query: FilePayload
) -> None:
    visited = visit(shop.system.url("search_api"), look)
    visited.expect_failure("/", 404)
    page = visited.open(f"{ADDRESS}&upload={'x' * 32}&gender=Women")
    expect(page.get_by_text("This picture is no longer kept.")).to_be_visible()
    expect(page.locator(".chip", has_text="Women").first).to_be_visible()
    visited.check_accessible()
    page.locator(FIELD).set_input_files(query)
    page.locator("[data-result]").first.wait_for()
    assert state(page)["gender"] == ["Women"]


def test_a_picture_that_expired_meanwhile_is_sent_again_by_itself(
    visit: OpenVisit, shop: Shop, query: FilePayload
) -> None:
    visited = visit(shop.system.url("search_api"), DESK)
    page = searched(visited, query)
    [upload] = state(page)["upload"]
    assert shop.system.redis_client.delete(f"vitrine:upload:{upload}")
    visited.expect_failure("/", 404)
    page.locator(".query-kinds .chip").first.click()
    page.wait_for_url(lambda url: "articleType=" in url and upload not in url)
    expect(page.locator("[data-result]").first).to_be_visible()


def test_nothing_found_names_the_filter_in_the_way_and_takes_it_away(
    visit: OpenVisit, shop: Shop, query: FilePayload
) -> None:
    visited = visit(shop.system.url("search_api"), DESK)
    page = visited.open(f"{ADDRESS}&gender=women")
    page.locator(FIELD).set_input_files(query)
    expect(page.get_by_text("Nothing here looks like this.")).to_be_visible()
    expect(page.get_by_text("did you mean Women?")).to_be_visible()
    visited.settle()
    visited.check_accessible()
    page.get_by_role("link", name="Search without").click()
    expect(page.locator("[data-result]").first).to_be_visible()
    assert "gender" not in state(page)


@both_looks
def test_an_empty_system_says_how_to_get_a_catalogue(visit: OpenVisit, look: Look, bare: System) -> None:
    visited = visit(bare.url("search_api"), look)
    page = visited.open("/")
    expect(page.get_by_role("heading", name="No catalogue yet")).to_be_visible()
    expect(page.get_by_role("button", name="Copy the command")).to_be_visible()
    visited.check_accessible()
    visited.check_no_overflow()


def test_the_page_waits_for_the_embedder_and_for_the_connection_by_itself(
    visit: OpenVisit, shop: Shop, query: FilePayload
) -> None:
    visited = visit(shop.system.url("search_api"), DESK)
    page = visited.open(f"{ADDRESS}&gender=Women")
    visited.expect_failure("/", 503)
    with shop.system.without("embedder"):
        page.locator(FIELD).set_input_files(query)
        expect(page.get_by_text("The picture service is starting again.")).to_be_visible()
        expect(page.get_by_text(re.compile(r"Trying by itself in \d+ s"))).to_be_visible()
        expect(page.locator("[data-preview]")).to_be_visible()
        visited.check_accessible()
    expect(page.locator("[data-result]").first).to_be_visible()
    assert state(page)["gender"] == ["Women"]

    visited.expect_failure("/", None)
    lost = re.compile(r"/\?")
    page.route(lost, lambda route: route.abort())
    page.get_by_role("link", name="Clear all").click()
    expect(page.get_by_text("The server cannot be reached.")).to_be_visible()
    expect(page.locator("[data-result]").first).to_be_visible()
    page.unroute(lost)
    expect(page.locator(".results-column .chip.chosen")).to_have_count(0)


@both_looks
def test_hostile_texts_are_shown_as_texts(visit: OpenVisit, look: Look, shop: Shop, hostile: str) -> None:
    visited = visit(shop.system.url("search_api"), look)
    page = visited.open(f"/?dataset={hostile}&id=script")
    expect(page.locator("[data-result]")).to_have_count(8)
    names = page.locator("[data-result] .tile-name").all_inner_texts()
    assert "<script>alert(1)</script>" in names
    visited.check_no_overflow()
    visited.check_accessible()
