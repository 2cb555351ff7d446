"""The report pages, opened from disk in a browser: pictures load and no error is logged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from harness.browser import OpenVisit
from harness.releases import build_tiny_release, store_of
from harness.training import Listener, drawn_catalog
from trainer.evaluation.document import evaluation_document, write_evaluation
from trainer.evaluation.features import FeatureCache, Pictures
from trainer.evaluation.protocol import EvaluationSet, build_evaluation_set
from trainer.evaluation.runner import EvaluationRunner
from trainer.jobs.visualize import attribute_values, lay_out
from trainer.reports.experiment import write_experiment
from trainer.reports.gallery import data_url
from trainer.reports.map import write_maps
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
def evaluation_set(plan: EvaluationPlan, folder: Path) -> EvaluationSet:
    return build_evaluation_set(plan, drawn_catalog(folder / "shop", count=120))


@pytest.fixture(scope="module")
def store(folder: Path) -> FeatureCache:
    settings = Settings(work_dir=folder / "work", trainer_device="cpu", trainer_precision="float32")
    return FeatureCache(store_of(folder / "releases"), settings, choose_device("cpu", "float32"), Listener())


def opened(visit: OpenVisit, page: Path) -> Page:
    """The page as it opens from disk; the visit fails the test if anything in it fails."""
    return visit("file://").open(str(page))


def test_the_evaluation_page_shows_figures_and_pictures(
    visit: OpenVisit, plan: EvaluationPlan, evaluation_set: EvaluationSet, store: FeatureCache, folder: Path
) -> None:
    lines = EvaluationRunner(plan, evaluation_set, store, Listener()).run()
    document = evaluation_document(plan, evaluation_set, lines, store.releases, title="Drawn garments")
    write_evaluation(folder / "evaluation", document, lines[0], evaluation_set)
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


def test_the_map_shows_the_picture_under_the_pointer_and_hides_a_value(
    visit: OpenVisit, evaluation_set: EvaluationSet, store: FeatureCache, release: str, folder: Path
) -> None:
    pictures = Pictures(evaluation_set.gallery.catalog, evaluation_set.gallery.products)
    features, rows = store.features(release, pictures)
    products = [pictures.products[row] for row in rows]
    write_maps(
        folder / "map",
        products,
        {"tsne": lay_out(features, "tsne", seed=0)},
        values=attribute_values(products, "subCategory"),
        color_by="subCategory",
        dataset=pictures.catalog.dataset,
        seed=0,
        title="A map",
        thumbnail=lambda product: data_url(pictures.catalog, product, side_px=72),
    )
    content = json.loads((folder / "map" / "map.json").read_text())
    assert content["dataset"] == evaluation_set.gallery.catalog.dataset
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


def test_the_experiment_page_compares_with_published_figures_and_links_its_evaluations(
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
