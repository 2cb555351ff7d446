"""The garments found in a photograph, as a shopper sees and chooses them on the search page."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import FilePayload, Locator, Page, expect

from harness.browser import OpenVisit, Visit
from harness.search_page import DESK, both_looks, searched, state
from harness.shop import Shop
from harness.tiny_parser import COLOURS, build_tiny_parser, drawn_person
from harness.waiting import HUNG_AFTER_S
from tools.chromium import Look

pytestmark = pytest.mark.slow
PARSER = "tiny-parser"


@pytest.fixture(scope="module")
def boutique(shop: Shop) -> Iterator[str]:
    """The address of a search API on the shop's data that finds the garments of drawn people."""
    release_id = build_tiny_parser(shop.system.releases, name=PARSER)
    try:
        with shop.system.another_api(VITRINE_PARSER_MODEL=PARSER) as url:
            yield url
    finally:
        shutil.rmtree(shop.system.releases / release_id)


def file_of(image: Image.Image) -> FilePayload:
    data = io.BytesIO()
    image.save(data, "PNG")
    return {"name": "picture.png", "mimeType": "image/png", "buffer": data.getvalue()}


@pytest.fixture(scope="module")
def person() -> FilePayload:
    """Wears a top, which is the most prominent garment, and trousers."""
    return file_of(drawn_person("upper", "trousers", size=(320, 480)))


@pytest.fixture(scope="module")
def unsure(boutique: str) -> FilePayload:
    """The same person beside something whose colour is between those of two kinds, so that the parser is not sure."""
    for share in np.linspace(0.2, 0.8, 25):
        image = drawn_person("upper", "trousers", size=(320, 480))
        color = share * np.array(COLOURS["bag"]) + (1 - share) * np.array(COLOURS["hat"])
        image.paste(tuple(int(value) for value in color), (236, 250, 300, 340))
        file = file_of(image)
        answer = httpx.post(f"{boutique}/api/regions", files={"image": file["buffer"]}, timeout=HUNG_AFTER_S).json()
        probabilities = [one["probability"] for one in answer["garments"]]
        if sum(one < 0.5 for one in probabilities) == 1 and len(probabilities) == 3:
            return file
    raise AssertionError("the parser is sure of every colour")


def seen(visited: Visit, person: FilePayload) -> Page:
    """The page with the results of the first garment."""
    page = searched(visited, person)
    page.locator("[data-dot]").first.wait_for()
    if "region" not in state(page):  # on a busy machine the dots come after the results of the whole picture
        page.locator("[data-dot]").first.click()
        page.wait_for_url("**region=1**")
    return visited.settle()


def dot(page: Page, title: str) -> Locator:
    return page.get_by_role("link", name=re.compile(rf"^{title}, \d+"))


def chip(page: Page, title: str) -> Locator:
    return page.get_by_role("group", name="Search with").get_by_role("link", name=title, exact=True)


def categories(page: Page, shop: Shop) -> set[str]:
    """The categories of the products that are shown."""
    ids = page.locator("[data-result]").evaluate_all("(all) => all.map((one) => one.dataset.id)")
    return {shop.rows[one]["subCategory"] for one in ids}


@both_looks
def test_a_garment_is_chosen_by_its_dot_or_chip_and_the_address_keeps_it(
    visit: OpenVisit, look: Look, shop: Shop, boutique: str, person: FilePayload
) -> None:
    visited = visit(boutique, look)
    page = seen(visited, person)
    assert state(page)["region"] == ["1"], "the search starts with the most prominent garment"
    expect(page.locator("[data-dot]")).to_have_count(2)
    expect(dot(page, "Top")).to_have_attribute("aria-current", "true")
    expect(page.locator(".chip", has_text="Kind: Topwear")).to_be_visible()
    assert categories(page, shop) == {"Topwear"}
    expect(page.get_by_text("Kept for an hour, faces blurred.")).to_be_visible()
    visited.check_accessible()
    visited.check_no_overflow()

    dot(page, "Trousers").click()
    page.wait_for_url("**region=2**")
    expect(dot(page, "Trousers")).to_have_attribute("aria-current", "true")
    expect(page.locator("[data-dot].chosen")).to_have_count(1)
    expect(page.locator(".chip", has_text="Kind: Bottomwear")).to_be_visible()
    assert categories(page, shop) == {"Bottomwear"}
    page.reload()
    expect(dot(page, "Trousers")).to_have_attribute("aria-current", "true")
    page.go_back()
    expect(dot(page, "Top")).to_have_attribute("aria-current", "true")

    chip(page, "Trousers").click()
    expect(dot(page, "Trousers")).to_have_attribute("aria-current", "true")
    kind = page.locator(".chip", has_text="Kind: Bottomwear")
    kind.click()
    expect(kind).to_have_count(0)
    assert state(page)["kindFilters"] == ["false"]
    chip(page, "Whole picture").click()
    expect(page.locator("[data-dot].chosen")).to_have_count(0)
    assert not state(page).keys() & {"region", "kindFilters"}
    visited.settle()
    visited.check_accessible()


@both_looks
def test_the_look_has_a_row_for_each_garment_that_leads_to_all_of_its_results(
    visit: OpenVisit, look: Look, boutique: str, person: FilePayload
) -> None:
    visited = visit(boutique, look)
    page = seen(visited, person)
    chip(page, "Shop the look").click()
    rows = page.locator(".look-row")
    expect(rows).to_have_count(2)
    assert state(page)["look"] == ["true"]
    expect(page.locator(".results-title")).to_contain_text("2 garments")
    for row in rows.all():
        assert 0 < row.locator("[data-result]").count() <= 5
    visited.settle()
    visited.check_accessible()
    visited.check_no_overflow()
    rows.nth(1).get_by_role("link", name="All like this").click()
    page.wait_for_url("**region=2**")
    assert "look" not in state(page)
    expect(rows).to_have_count(0)
    page.go_back()
    expect(rows).to_have_count(2)


def test_the_dots_are_reached_and_chosen_by_the_keyboard(visit: OpenVisit, boutique: str, person: FilePayload) -> None:
    page = seen(visit(boutique, DESK), person)
    dots = page.locator("[data-dot]")
    dots.first.focus()
    page.keyboard.press("ArrowRight")
    expect(dots.nth(1)).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(dots.first).to_be_focused()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press(" ")
    page.wait_for_url("**region=2**")
    expect(dots.nth(1)).to_have_attribute("aria-current", "true")
    expect(dots.nth(1)).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**region=1**")
    expect(chip(page, "Top")).to_be_focused()


def test_a_garment_that_the_parser_is_not_sure_of_is_shown_on_request(
    visit: OpenVisit, boutique: str, unsure: FilePayload
) -> None:
    visited = visit(boutique, DESK)
    page = seen(visited, unsure)
    expect(page.locator("[data-dot]")).to_have_count(2)
    control = page.get_by_role("switch", name=re.compile("uncertain$"))
    expect(control).to_have_text("Show 1 uncertain")
    chip(page, "Whole picture").focus()
    page.keyboard.press("Tab")
    expect(control).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**uncertain=true**")
    expect(page.locator("[data-dot]")).to_have_count(3)
    expect(control).to_have_text("Hide 1 uncertain")
    expect(control).to_be_focused()
    visited.settle()
    visited.check_accessible()
    chip(page, "Shop the look").click()
    expect(page.locator(".look-row")).to_have_count(3)
    control.click()
    expect(page.locator(".look-row")).to_have_count(2)
    expect(page.locator("[data-dot]")).to_have_count(2)


def test_why_shows_the_garment_as_it_was_searched(visit: OpenVisit, boutique: str, person: FilePayload) -> None:
    page = seen(visit(boutique, DESK), person)
    result = page.locator("[data-result]").first
    result.hover()
    result.locator("[data-why]").click()
    picture = page.locator("[data-why-query] img")
    expect(picture).to_have_attribute("src", re.compile("^data:image/png"))
    expect(page.locator("[data-why-fault]")).to_be_hidden()
    expect(page.locator("[data-why-pair]")).not_to_have_attribute("aria-busy", "true")


def test_a_drawn_box_takes_the_place_of_the_garments_and_goes_again(
    visit: OpenVisit, boutique: str, person: FilePayload
) -> None:
    page = seen(visit(boutique, DESK), person)
    page.get_by_role("button", name="Draw a box yourself").click()
    page.wait_for_url("**region=0.**")
    expect(page.locator(".cropper-crop-box")).to_be_visible()
    expect(page.locator("[data-dot]").first).to_be_hidden()
    expect(page.locator(".chip", has_text="Kind:")).to_have_count(0)
    chip(page, "Top").click()
    expect(page.locator(".cropper-crop-box")).to_have_count(0)
    expect(dot(page, "Top")).to_have_attribute("aria-current", "true")


def test_a_picture_without_garments_is_searched_as_a_whole(visit: OpenVisit, boutique: str) -> None:
    ground = np.random.default_rng(1).normal((90, 130, 110), 6, (300, 400, 3))
    page = searched(visit(boutique, DESK), file_of(Image.fromarray(np.clip(ground, 0, 255).astype(np.uint8))))
    assert "region" not in state(page)
    expect(page.locator("[data-dot]")).to_have_count(0)
    expect(page.get_by_role("group", name="Search with")).to_have_count(0)
    expect(page.locator("[data-result]").first).to_be_visible()
