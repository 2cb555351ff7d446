"""The pictures of the documentation: small, the same at every run, and of the page after its steps."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, Route

from harness.pictures import colour_at
from harness.system import System
from harness.waiting import HUNG_AFTER_S
from tools.chromium import Look, new_context
from tools.screenshots import MAX_BYTES, PAGE_SHOTS, PageShot, Scene, name_of, small_webp, take

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def scene(bare: System, tmp_path: Path) -> Scene:
    return Scene(bare.url("search_api"), tmp_path)


def test_a_picture_is_the_same_every_time_and_another_one_in_the_dark(browser: Browser, scene: Scene) -> None:
    docs = PageShot("docs", "/docs")
    first, second = (take(browser, scene, docs, Look("light", 360)) for _ in range(2))
    assert first == second
    dark = take(browser, scene, docs, Look("dark", 360))
    with Image.open(io.BytesIO(first)) as bright_image, Image.open(io.BytesIO(dark)) as dark_image:
        assert bright_image.size == dark_image.size == (720, 1480), "a phone has two pixels to one"
        assert min(colour_at(bright_image.convert("RGB"), 1, 1)) > 200
        assert max(colour_at(dark_image.convert("RGB"), 1, 1)) < 60


def test_a_picture_waits_for_what_the_page_loads_late(
    browser: Browser, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs, look = PageShot("docs", "/docs"), Look("light", 360)

    def late(route: Route) -> None:
        time.sleep(1)
        route.continue_()

    def slow_context(browser: Browser, look: Look) -> BrowserContext:
        context = new_context(browser, look)
        context.route("**/openapi.json", late)
        return context

    on_time = take(browser, scene, docs, look)
    monkeypatch.setattr("tools.screenshots.new_context", slow_context)
    assert take(browser, scene, docs, look) == on_time


def test_a_picture_of_a_page_that_cannot_load_its_content_is_taken(
    browser: Browser, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_context(browser: Browser, look: Look) -> BrowserContext:
        context = new_context(browser, look)
        context.route("**/openapi.json", lambda route: route.abort())
        return context

    monkeypatch.setattr("tools.screenshots.new_context", broken_context)
    assert take(browser, scene, PageShot("docs", "/docs"), Look("light", 360))


def test_the_steps_are_done_before_the_picture_is_taken(browser: Browser, scene: Scene) -> None:
    def empty(page: Page, _: Scene) -> None:
        page.evaluate("document.body.replaceChildren()")

    look = Look("light", 1280)
    untouched = take(browser, scene, PageShot("docs", "/docs"), look)
    assert take(browser, scene, PageShot("docs", "/docs", steps=empty), look) != untouched
    with Image.open(io.BytesIO(take(browser, scene, PageShot("docs", "/docs", full=True), look))) as whole:
        assert whole.height > look.height_px


def test_the_command_takes_the_paths_it_is_given_into_the_folder_it_is_given(bare: System, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tools.screenshots", "--url", bare.url("search_api"), "--out", str(tmp_path)]
    done = subprocess.run(
        [*command, "--width", "360", "/docs", "/docs?a=1"], cwd=REPOSITORY, env=dict(os.environ), capture_output=True,
        text=True, timeout=HUNG_AFTER_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    names = {f"{name}-{theme}-360.webp" for name in ("docs", "docs-a-1") for theme in ("dark", "light")}
    assert {file.name for file in tmp_path.iterdir()} == names
    assert all(file.stat().st_size <= MAX_BYTES for file in tmp_path.iterdir())


def test_a_picture_with_much_detail_loses_some_until_it_is_small() -> None:
    noisy = Image.fromarray(np.random.default_rng(1).integers(0, 256, (500, 500), dtype=np.uint8)).convert("RGB")
    buffer = io.BytesIO()
    noisy.save(buffer, "PNG")
    small = small_webp(buffer.getvalue())
    with Image.open(io.BytesIO(small)) as image:
        assert image.format == "WEBP"
        assert image.size == noisy.size
    assert len(small) <= MAX_BYTES


def test_every_pictured_page_has_a_name_of_its_own() -> None:
    names = [page.name for page in PAGE_SHOTS]
    assert len(set(names)) == len(names)
    assert [name_of(path) for path in ("/", "/products/7?model=a&k=3")] == ["home", "products-7-model-a-k-3"]
