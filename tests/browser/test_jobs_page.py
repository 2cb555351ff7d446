"""The pages of jobs: started by a form, followed live, cancelled, removed; and what they say when something is away."""

from __future__ import annotations

import math
import re

import pytest
from playwright.sync_api import Page, expect

from harness.browser import PATIENCE_MS, OpenVisit
from harness.shop import DATASET, Shop
from harness.system import System
from tools.chromium import Look
from vitrine.jobs import JobFault, JobKind

pytestmark = pytest.mark.slow

LOOKS = (Look("light", 1280), Look("dark", 360))
both_looks = pytest.mark.parametrize("look", LOOKS, ids=str)
NOWHERE = "redis://127.0.0.1:9/0"


@pytest.fixture(autouse=True)
def _patient() -> None:
    expect.set_options(timeout=PATIENCE_MS)


def state_of(page: Page) -> str:
    return page.locator("#job-live .state").inner_text()


def running_training(shop: Shop) -> str:
    """The record of a training that a trainer would have taken; none runs here."""
    jobs = shop.system.jobs
    record, _ = jobs.create(JobKind.TRAIN, {"dataset": DATASET, "model": "tiny", "recipe": {}})
    jobs.update(record.id, lambda one: one.started(phase="training"))
    return record.id


@both_looks
def test_an_indexing_is_started_by_a_form_and_followed_to_its_end(visit: OpenVisit, look: Look, shop: Shop) -> None:
    visited = visit(shop.system.url("search_api"), look)
    visited.watch.max_shift = 0.15  # the end of a job brings its result, above the log
    page = visited.open("/jobs")
    visited.check_accessible()
    visited.check_no_overflow()
    page.get_by_role("link", name="Index a catalogue").click()
    expect(page.get_by_role("heading", name="Index a catalogue")).to_be_visible()
    page.get_by_label("Dataset").fill(DATASET)
    page.get_by_label("Catalogue folder").fill("/nowhere/at/all")
    page.get_by_label("Reader").select_option("synthetic")
    page.get_by_label("Release", exact=True).select_option(shop.release)
    visited.check_accessible()
    visited.expect_failure("/jobs/new/index", 422)
    page.get_by_role("button", name="Start indexing").click()
    root = page.get_by_label("Catalogue folder")
    expect(root).to_have_attribute("aria-invalid", "true")
    expect(root).to_be_focused()
    expect(page.locator("#hint-root")).to_contain_text("outside the allowed catalogue roots")
    assert (root.input_value(), page.get_by_label("Dataset").input_value()) == ("/nowhere/at/all", DATASET)
    visited.check_accessible()
    visited.check_no_overflow()
    root.fill(str(shop.root))
    page.get_by_role("button", name="Start indexing").click()
    expect(page.locator("#job-live .state")).to_have_text("succeeded")
    expect(page.get_by_role("link", name=f"Release {shop.release}")).to_be_visible()
    visited.check_accessible()
    visited.check_no_overflow()
    job_id = page.url.rpartition("/")[2]
    visited.open("/jobs?kind=index&state=succeeded")
    expect(page.locator(f"#job-{job_id}")).to_be_visible()


@both_looks
def test_a_training_shows_curves_log_and_faults_as_they_come(visit: OpenVisit, look: Look, shop: Shop) -> None:
    jobs, job_id = shop.system.jobs, running_training(shop)
    visited = visit(shop.system.url("search_api"), look)
    visited.watch.max_shift = 0.15  # faults and further curves come while the page is looked at
    page = visited.open(f"/jobs/{job_id}")
    expect(page.get_by_text("They begin with the first epoch that ends.")).to_be_visible()
    for epoch in range(1, 31):
        measures = {"loss, training": 1 / epoch, "loss, validation": 1.2 / epoch, "mAP, validation": 1 - 1 / epoch}
        jobs.update(job_id, lambda one, x=epoch, y=measures: one.with_measures(x, y).with_note(f"epoch {x} ended"))  # type: ignore[misc]
    jobs.note_faults(job_id, "rows", [JobFault(product_id="<b>7</b>", kind="image_undecodable", detail="truncated")])
    jobs.update(job_id, lambda one: one.with_course(500, 1000, eta_s=110.0, phase="training"))
    log = page.get_by_role("log")
    expect(log).to_contain_text("epoch 30 ended")
    expect(page.locator(".curve")).to_have_count(2)
    expect(page.locator('[data-curve="loss"] .curve-key')).to_have_text("training 0.033validation 0.04")
    expect(page.locator('[data-curve="mAP"] canvas')).to_be_visible()
    expect(page.get_by_text("about 2 min")).to_be_visible()
    expect(page.get_by_text("image_undecodable", exact=True)).to_be_visible()
    assert log.evaluate("(box) => box.scrollHeight - box.scrollTop - box.clientHeight") < 24
    log.evaluate("(box) => { box.scrollTop = 0; }")
    expect(page.get_by_role("button", name="To the newest line")).to_be_visible()
    jobs.update(job_id, lambda one: one.with_note("a further line"))
    expect(log).to_contain_text("a further line")
    assert log.evaluate("(box) => box.scrollTop") == 0, "who reads an older line is left there"
    visited.check_accessible()
    visited.check_no_overflow()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the job").click()
    expect(page.locator("#job-live .state")).to_have_text("cancelling")
    jobs.update(job_id, lambda one: one.cancelled())
    expect(page.locator("#job-live .state")).to_have_text("cancelled")
    expect(page.get_by_role("link", name="<b>7</b>")).to_be_visible()
    page.get_by_role("button", name="Remove the record").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove the record").click()
    page.wait_for_url("**/jobs")
    expect(page.locator(f"#job-{job_id}")).to_have_count(0)


def test_a_lost_connection_is_said_and_the_page_goes_on_by_itself(visit: OpenVisit, shop: Shop) -> None:
    jobs, job_id = shop.system.jobs, running_training(shop)
    visited = visit(shop.system.url("search_api"))
    visited.watch.max_shift = math.inf  # the notice pushes the page down
    page = visited.open(f"/jobs/{job_id}")
    jobs.update(job_id, lambda one: one.with_note("before"))
    expect(page.get_by_role("log")).to_contain_text("before")
    visited.expect_failure(f"/api/jobs/{job_id}/events", None)
    with shop.system.without("search_api"):
        expect(page.get_by_text("Connection lost.")).to_be_visible()
        visited.check_accessible()
        jobs.update(job_id, lambda one: one.with_note("meanwhile"))
    expect(page.get_by_role("log")).to_contain_text("meanwhile")
    expect(page.get_by_text("Connection lost.")).to_be_hidden()
    jobs.update(job_id, lambda one: one.cancelled())
    expect(page.locator("#job-live .state")).to_have_text("cancelled")


@both_looks
def test_a_recipe_file_fills_the_training_form_and_a_wrong_recipe_stays_as_typed(
    visit: OpenVisit, look: Look, bare: System
) -> None:
    visited = visit(bare.url("search_api"), look)
    page = visited.open("/jobs/new/train?dataset=drawn&root=/nowhere")
    recipe = page.get_by_label("Recipe", exact=True)
    # The form begins with another recipe, so a value of this one shows that the file has arrived.
    page.get_by_label("Fill in a recipe file").select_option("street.toml")
    expect(recipe).to_have_value(re.compile('name = "mobilenetv2_100_street"'))
    recipe.fill('kind = "metric"\nname = 7')
    visited.expect_failure("/jobs/new/train", 422)
    page.get_by_role("button", name="Start training").click()
    expect(page.locator("#hint-recipe")).to_contain_text("name")
    expect(recipe).to_have_value('kind = "metric"\nname = 7')
    visited.check_accessible()
    visited.check_no_overflow()


@both_looks
def test_without_redis_jobs_say_so_and_nothing_typed_is_lost(visit: OpenVisit, look: Look, bare: System) -> None:
    release = bare.release()
    with bare.another_api(VITRINE_REDIS_URL=NOWHERE) as url:
        visited = visit(url, look)
        page = visited.open("/jobs")
        expect(page.get_by_text("Jobs cannot be read now.")).to_be_visible()
        visited.check_accessible()
        visited.open(f"/jobs/new/index?dataset=drawn&release_id={release}")
        page.get_by_label("Catalogue folder").fill(str(bare.catalog()))
        page.get_by_label("Reader").select_option("synthetic")
        visited.expect_failure("/jobs/new/index", 503)
        page.get_by_role("button", name="Start indexing").click()
        expect(page.get_by_role("alert")).to_contain_text("Nothing was started, and what you typed is still here.")
        assert page.get_by_label("Catalogue folder").input_value() == str(bare.catalog())
        visited.check_accessible()
