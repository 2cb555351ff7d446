"""The reports as a reader sees them: opened from disk in a real browser, with their pictures, and without an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By

from harness.releases import build_tiny_release, store_of
from harness.training import Listener, drawn_catalog
from trainer.evaluation.contest import Contest, make_contest
from trainer.evaluation.document import document_of
from trainer.evaluation.features import FeatureStore, Pictures
from trainer.evaluation.map_page import write_maps
from trainer.evaluation.measuring import Evaluation
from trainer.evaluation.pages import write_report
from trainer.experiments.report import write_experiment
from trainer.settings import Settings
from vitrine.evaluation.plan import EvaluationPlan, parse_plan
from vitrine.vision.network import choose_device

pytestmark = pytest.mark.slow

DATA = {"label": "subCategory", "relevance": ["subCategory"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reports")


@pytest.fixture(scope="module")
def release(folder: Path) -> str:
    return build_tiny_release(folder / "releases")


@pytest.fixture(scope="module")
def plan(release: str) -> EvaluationPlan:
    return parse_plan({"releases": [release], "data": DATA, "graded": ["subCategory"]})


@pytest.fixture(scope="module")
def contest(plan: EvaluationPlan, folder: Path) -> Contest:
    return make_contest(plan, drawn_catalog(folder / "shop", count=120))


@pytest.fixture(scope="module")
def store(folder: Path) -> FeatureStore:
    settings = Settings(work_dir=folder / "work", trainer_device="cpu", trainer_precision="float32")
    return FeatureStore(store_of(folder / "releases"), settings, choose_device("cpu", "float32"), Listener())


def opened(browser: Chrome, page: Path) -> None:
    """Open the page, and see that nothing in it failed."""
    browser.get_log("browser")  # type: ignore[no-untyped-call]
    browser.get(page.as_uri())
    errors = [
        entry
        for entry in browser.get_log("browser")  # type: ignore[no-untyped-call]
        if entry["level"] == "SEVERE"
    ]
    assert not errors, errors


def test_an_evaluation_opens_with_its_figures_and_its_pictures(
    browser: Chrome, plan: EvaluationPlan, contest: Contest, store: FeatureStore, folder: Path
) -> None:
    lines = Evaluation(plan, contest, store, Listener()).lines()
    document = document_of(plan, contest, lines, store.releases, title="Drawn garments")
    write_report(folder / "evaluation", document, lines, contest)
    opened(browser, folder / "evaluation" / "index.html")
    assert browser.title == "Drawn garments"
    rows = browser.find_elements(By.CSS_SELECTOR, "#measures tbody tr")
    assert len(rows) == len(lines)
    assert f"{lines[0].measured.mean('average_precision'):.3f}" in rows[0].text
    assert "unknown" in rows[0].text
    assert "unknown: fitted on 0" in browser.find_element(By.ID, "strictness").text
    pictures = browser.find_elements(By.CSS_SELECTOR, ".case img")
    widths = [browser.execute_script("return arguments[0].naturalWidth", picture) for picture in pictures]
    assert len(pictures) > 40
    assert all(width > 0 for width in widths), "a picture that could not be decoded has no width"


def test_a_map_shows_a_products_picture_where_the_pointer_is_and_hides_a_value(
    browser: Chrome, contest: Contest, store: FeatureStore, release: str, folder: Path
) -> None:
    pictures = Pictures(contest.gallery.catalog, contest.gallery.products)
    features, rows = store.features(release, pictures)
    write_maps(
        folder / "map", pictures, rows.tolist(), features, methods=("tsne",), colour="subCategory", seed=0,
        title="A map", step=lambda _: None,
    )  # fmt: skip
    opened(browser, folder / "map" / "index.html")
    canvas = browser.find_element(By.ID, "map")
    script = "return [spots[0][0], spots[0][1]]"
    x, y = browser.execute_script(script)
    size = canvas.size
    ActionChains(browser).move_to_element_with_offset(
        canvas, int(x - size["width"] / 2), int(y - size["height"] / 2)
    ).perform()
    card = browser.find_element(By.ID, "card")
    assert card.is_displayed()
    assert browser.execute_script("return document.querySelector('#card img').naturalWidth") > 0
    shown = card.text.split()[0]
    assert shown in {product.id for product in pictures.products}
    before: Any = browser.execute_script("return map.toDataURL()")
    browser.find_element(By.CSS_SELECTOR, "#legend input").click()
    assert browser.execute_script("return map.toDataURL()") != before


def test_an_experiment_opens_with_ours_beside_the_published_and_leads_to_its_evaluations(
    browser: Chrome, folder: Path
) -> None:
    figure = {"mean": 0.5, "low": 0.4, "high": 0.6}
    row = {
        "evaluation": "asked", "release": "one", "release_id": "one-0123456789", "way": "plain", "gallery": "all",
        "strict": "no", "ours": {"average_precision": figure, "precision@15": figure}, "missing": None,
        "published": {"components": 20, "average_precision": 0.25, "precision@15": 0.75},
    }  # fmt: skip
    lacking: dict[str, Any] = {
        "name": "lacking",
        "report": None,
        "lines": [],
        "strictness": {},
        "missing": "no <pictures> of it",
    }
    told = {"one-0123456789": "no: fitted on 3 and chosen on 0 of 5 tested products"}
    asked: dict[str, Any] = {
        "name": "asked", "report": "asked/index.html", "lines": [], "strictness": told, "missing": None,
    }  # fmt: skip
    document = {
        "version": 1, "number": 4, "title": "T", "question": "Q?", "releases": {"one": "one-0123456789"},
        "missing": {"two": "no weights"}, "evaluations": [asked, lacking], "rows": [row],
    }  # fmt: skip
    write_experiment(folder / "experiment", document)
    opened(browser, folder / "experiment" / "index.html")
    assert "0.500 [0.400, 0.600]" in browser.find_element(By.ID, "results").text
    assert "no: fitted on 3" in browser.find_element(By.ID, "evaluations").text
    assert "0.250 0.750" in browser.find_element(By.ID, "results").text
    assert "no <pictures> of it" in browser.find_element(By.ID, "missing").text
    link = browser.find_element(By.CSS_SELECTOR, "#evaluations a")
    assert link.get_attribute("href") == (folder / "experiment" / "asked" / "index.html").as_uri()
