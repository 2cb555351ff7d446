"""What the search page says where something is wrong, and that nothing chosen is lost by it."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import FilePayload, expect

from harness.browser import OpenVisit
from harness.search_page import ADDRESS, DESK, FIELD, both_looks, dress, searched, state
from harness.shop import Shop
from harness.system import System
from tools.chromium import Look

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def query(shop: Shop) -> FilePayload:
    return dress(shop)


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
