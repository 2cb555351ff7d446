"""The pages of models: releases and the switch between them, reports, and the map of a catalogue."""

from __future__ import annotations

import json
import math
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from harness.browser import PATIENCE_MS, OpenVisit
from harness.shop import DATASET, Shop
from harness.system import System
from tools.chromium import Look

pytestmark = pytest.mark.slow

LOOKS = (Look("light", 360), Look("dark", 1280))
both_looks = pytest.mark.parametrize("look", LOOKS, ids=str)
SHELF = "shelf"
MEASURES = ("average_precision", "precision@15")
CANVAS = "canvas.map"


@pytest.fixture(autouse=True)
def _patient() -> None:
    expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="module")
def releases(shop: Shop) -> Iterator[tuple[str, str]]:
    """Two releases of a model, both indexed for a dataset of their own; the second serves."""
    made = shop.system.release(), shop.system.release(weights="seed:1")
    for release in made:
        model = release.rpartition("-")[0]
        job = shop.start_index(dataset=SHELF, reader="synthetic", model=model, release_id=release)
        shop.system.succeeded(job["id"])
    yield made
    assert shop.api.delete(f"/api/datasets/{SHELF}").is_success


@pytest.fixture(scope="module")
def reports(shop: Shop, releases: tuple[str, str]) -> Iterator[Path]:
    """The folder of reports with an evaluation and a map, as the trainer writes them."""
    folder = Path(shop.system.env["VITRINE_REPORTS_DIR"])
    figure = {"mean": 0.812, "low": 0.801, "high": 0.823}
    line = {
        "release": releases[0], "gallery": "all", "gallery_products": 120, "way": "plain", "milliseconds_a_query": 1.2,
        "measures": dict.fromkeys(MEASURES, figure), "kinds": {"Shirts": {"queries": 3, "average_precision": 0.5}},
    }  # fmt: skip
    document = {
        "version": 2, "title": "Two <b>kinds</b>", "protocol": "strict", "plan": {"measures": list(MEASURES)},
        "lines": [line], "comparisons": [],
        "confusion": {"kinds": ["Shirts", "Ties"], "shares": [[0.75, 0.25], [0, 1]]},
    }  # fmt: skip
    written(folder / "evaluation" / "report.json", document)
    (folder / "evaluation" / "index.html").write_text("<title>Alone</title><script>document.title = 'ran'</script>")
    rows = list(shop.rows.values())
    chance = random.Random(0)
    kinds = sorted({row["articleType"] for row in rows})
    places = {kind: (chance.random(), chance.random()) for kind in kinds}
    plane = [[chance.gauss(place, 0.01) for place in places[row["articleType"]]] for row in rows]
    content = {
        "title": "Products by articleType", "dataset": DATASET, "attribute": "articleType",
        "ids": [row["id"] for row in rows], "names": [row["productDisplayName"] for row in rows],
        "attributes": {name: [row[name] for row in rows] for name in ("articleType", "gender")},
        "values": [row["articleType"] for row in rows], "colours": {}, "planes": {"tsne": plane, "umap": plane[::-1]},
    }  # fmt: skip
    written(folder / "map" / "map.json", content)
    yield folder
    for name in ("evaluation", "map"):
        shutil.rmtree(folder / name)


def written(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def serving(shop: Shop) -> str:
    """The release that serves the shelf."""
    details = shop.get("/api/models", dataset=SHELF)["details"]
    found: str = details[0]["release"]
    return found


@both_looks
def test_a_release_is_activated_after_a_question_and_taken_back(
    visit: OpenVisit, look: Look, shop: Shop, releases: tuple[str, str], reports: Path
) -> None:
    first, second = releases
    visited = visit(shop.system.url("search_api"), look)
    page = visited.open("/models")
    card = page.locator(".release", has=page.get_by_text(first, exact=True))
    expect(card).to_contain_text("0.812")
    expect(card).to_contain_text("0.801 to 0.823")
    visited.check_accessible()
    visited.check_no_overflow()
    card.get_by_role("button", name=f"Activate for {SHELF}").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"To go back, activate {second}")
    visited.check_accessible()
    dialog.get_by_role("button", name="Cancel").click()
    assert serving(shop) == second
    card.get_by_role("button", name=f"Activate for {SHELF}").click()
    dialog.get_by_role("button", name="Activate").click()
    expect(card).to_contain_text(f"Serves {SHELF}")
    assert serving(shop) == first
    page.get_by_role("button", name="Go back").click()
    expect(card.get_by_role("button", name=f"Activate for {SHELF}")).to_be_visible()
    assert serving(shop) == second


@both_looks
def test_a_release_shows_what_it_was_made_from_and_its_curves(visit: OpenVisit, look: Look, shop: Shop) -> None:
    visited = visit(shop.system.url("search_api"), look)
    page = visited.open(f"/models/{shop.release}")
    expect(page.get_by_text("Made from")).to_be_visible()
    expect(page.locator('[data-curve="loss"] canvas')).to_be_visible()
    expect(page.locator('[data-axis="components"] canvas').first).to_be_visible()
    visited.check_accessible()
    visited.check_no_overflow()
    visited.expect_failure("/models/nothing-0123456789", 404)
    visited.open("/models/nothing-0123456789")
    expect(page.get_by_role("heading", name="Nothing is here")).to_be_visible()


@both_looks
def test_a_report_is_tables_and_its_page_with_pictures_runs_no_script(
    visit: OpenVisit, look: Look, shop: Shop, reports: Path
) -> None:
    visited = visit(shop.system.url("search_api"), look)
    page = visited.open("/models")
    page.get_by_role("link", name="Two <b>kinds</b>").click()
    expect(page.get_by_role("heading", name="Two <b>kinds</b>")).to_be_visible()
    expect(page.locator("#lines-title")).to_be_visible()
    expect(page.get_by_role("row", name="Shirts 75")).to_be_visible()
    visited.check_accessible()
    visited.check_no_overflow()
    answer = shop.api.get("/models/reports/evaluation/files/index.html")
    assert answer.headers["content-security-policy"].startswith("sandbox allow-popups; default-src 'none'")
    for path in ("evaluation/files/../../redis.html", "evaluation/files/.secret.json", "../files/index.html"):
        assert shop.api.get(f"/models/reports/{path}").status_code == 404


def box_of(page: Page) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the canvas, a little inside, once it is in view."""
    page.locator(CANVAS).scroll_into_view_if_needed()
    box = page.locator(CANVAS).bounding_box()
    assert box is not None
    return box["x"] + 3, box["y"] + 3, box["x"] + box["width"] - 3, box["y"] + box["height"] - 3


@both_looks
def test_the_map_shows_products_under_pointer_and_keyboard_and_circles_them(
    visit: OpenVisit, look: Look, shop: Shop, reports: Path
) -> None:
    visited = visit(shop.system.url("search_api"), look)
    visited.watch.max_shift = math.inf  # the selection opens below the map
    page = visited.open("/models/maps/map")
    expect(page.locator("[data-map-loading]")).to_have_count(0)
    visited.check_accessible()
    visited.check_no_overflow()
    page.locator(CANVAS).focus()
    page.keyboard.press("ArrowRight")
    card = page.locator("[data-map-card]")
    expect(card).to_be_visible()
    expect(card.locator("img")).to_have_js_property("complete", True)
    assert card.locator("[data-map-name]").inner_text() in {row["productDisplayName"] for row in shop.rows.values()}
    page.keyboard.press("Space")
    expect(page.get_by_role("heading", name="1 product selected")).to_be_visible()
    page.keyboard.press("Escape")
    expect(card).to_be_hidden()
    page.get_by_role("button", name="Clear the selection").click()
    before = page.locator(CANVAS).evaluate("(canvas) => canvas.toDataURL()")
    left, top, right, bottom = box_of(page)
    page.mouse.move((left + right) / 2, (top + bottom) / 2)
    page.mouse.wheel(0, -400)
    page.wait_for_function("([old]) => document.querySelector('canvas.map').toDataURL() !== old", arg=[before])
    page.get_by_role("button", name="Whole map").click()
    left, top, right, bottom = box_of(page)
    page.mouse.move(left, top)
    page.keyboard.down("Shift")
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom)):
        page.mouse.move(x, y, steps=3)
    page.mouse.up()
    page.keyboard.up("Shift")
    expect(page.locator("#selection-title")).to_contain_text("products selected")
    expect(page.locator("[data-map-grid] .tile").first).to_be_visible()
    page.get_by_label("Colored by").select_option("gender")
    expect(page.locator("[data-map-legend]")).to_contain_text("Women")
    assert "color=gender" in page.url
    visited.check_accessible()
    visited.check_no_overflow()


def test_without_qdrant_stored_releases_are_still_listed(visit: OpenVisit, bare: System) -> None:
    release = bare.release()
    with bare.another_api(VITRINE_QDRANT_URL="http://127.0.0.1:9") as url:
        visited = visit(url)
        page = visited.open("/models")
        expect(page.get_by_text("Qdrant is down")).to_be_visible()
        expect(page.get_by_text(release, exact=True)).to_be_visible()
        visited.check_accessible()
