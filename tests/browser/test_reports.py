"""The reports as a reader sees them: opened from disk in a real browser, with their pictures, and without an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from harness.browser import OpenVisit
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


def opened(visit: OpenVisit, page: Path) -> Page:
    """The page as it opens from disk; the visit fails the test if anything in it fails."""
    return visit("file://").open(str(page))


def test_an_evaluation_opens_with_its_figures_and_its_pictures(
    visit: OpenVisit, plan: EvaluationPlan, contest: Contest, store: FeatureStore, folder: Path
) -> None:
    lines = Evaluation(plan, contest, store, Listener()).lines()
    document = document_of(plan, contest, lines, store.releases, title="Drawn garments")
    write_report(folder / "evaluation", document, lines, contest)
    page = opened(visit, folder / "evaluation" / "index.html")
    assert page.title() == "Drawn garments"
    rows = page.locator("#measures tbody tr").all_inner_texts()
    assert len(rows) == len(lines)
    assert f"{lines[0].measured.mean('average_precision'):.3f}" in rows[0]
    assert "unknown" in rows[0]
    assert "unknown: fitted on 0" in page.locator("#strictness").inner_text()
    widths = page.locator(".case img").evaluate_all("(pictures) => pictures.map((picture) => picture.naturalWidth)")
    assert len(widths) > 40
    assert all(width > 0 for width in widths), "a picture that could not be decoded has no width"


def test_a_map_shows_a_products_picture_where_the_pointer_is_and_hides_a_value(
    visit: OpenVisit, contest: Contest, store: FeatureStore, release: str, folder: Path
) -> None:
    pictures = Pictures(contest.gallery.catalog, contest.gallery.products)
    features, rows = store.features(release, pictures)
    write_maps(
        folder / "map", pictures, rows.tolist(), features, methods=("tsne",), colour="subCategory", seed=0,
        title="A map", step=lambda _: None,
    )  # fmt: skip
    content = json.loads((folder / "map" / "map.json").read_text())
    assert content["dataset"] == contest.gallery.catalog.dataset
    assert len(content["names"]) == len(content["attributes"]["subCategory"]) == len(content["ids"])
    assert "articleType" in content["attributes"], "points can be colored by other attributes too"
    page = opened(visit, folder / "map" / "index.html")
    x, y = page.evaluate("[spots[0][0], spots[0][1]]")
    page.locator("#map").hover(position={"x": int(x), "y": int(y)})
    card = page.locator("#card")
    assert card.is_visible()
    assert card.locator("img").evaluate("(picture) => picture.naturalWidth") > 0
    shown = card.inner_text().split()[0]
    assert shown in {product.id for product in pictures.products}
    before: str = page.evaluate("map.toDataURL()")
    page.locator("#legend input").first.click()
    assert page.evaluate("map.toDataURL()") != before


def test_an_experiment_opens_with_ours_beside_the_published_and_leads_to_its_evaluations(
    visit: OpenVisit, folder: Path
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
    page = opened(visit, folder / "experiment" / "index.html")
    assert "0.500 [0.400, 0.600]" in page.locator("#results").inner_text()
    assert "no: fitted on 3" in page.locator("#evaluations").inner_text()
    assert "0.250\t0.750" in page.locator("#results").inner_text()
    assert "no <pictures> of it" in page.locator("#missing").inner_text()
    link = page.locator("#evaluations a").first.evaluate("(link) => link.href")
    assert link == (folder / "experiment" / "asked" / "index.html").as_uri()
