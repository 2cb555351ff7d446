"""How likely a match is right: what a calibrated release says, and what it leaves out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.releases import build_tiny_release
from harness.shop import DATASET, Shop, queries
from vitrine.embedding import EmbedderClient
from vitrine.releases import Calibration, Familiarity
from vitrine_local.cli import main

SURE = "sure"
CURVE = Calibration(attribute="articleType", scores=(0.0, 0.5, 1.0), probabilities=(0.0, 0.2, 0.9), pairs=1000)


@pytest.fixture(scope="module")
def sure_shop(shop: Shop) -> Shop:
    """The shop, with a second dataset that a calibrated release serves."""
    release = build_tiny_release(shop.system.releases, name="calibrated", calibration=CURVE)
    shop.system.succeeded(shop.start_index(dataset=SURE, model="calibrated", release_id=release)["id"])
    return shop


def test_a_calibrated_release_says_how_likely_its_matches_are_and_leaves_out_the_unlikely(sure_shop: Shop) -> None:
    shop = sure_shop
    query = queries(shop)[0]
    answer = shop.search(query, topK=100, dataset=SURE)
    assert answer["calibratedFor"] == "catalogue pictures"
    results = answer["results"]
    for result in results:
        expected = np.interp(result["score"], CURVE.scores, CURVE.probabilities)
        assert result["confidence"] == pytest.approx(expected, abs=1e-4)
    middle = results[40]["confidence"]
    kept = shop.search(query, topK=100, dataset=SURE, minConfidence=middle)["results"]
    assert 35 <= len(kept) <= 45
    assert all(result["confidence"] >= middle - 1e-4 for result in kept)
    assert shop.search(query, topK=100, dataset=SURE, minConfidence=0)["results"] == results
    nothing = shop.search(query, dataset=SURE, minConfidence=0.95)
    assert nothing["ranking"] == [], "that nothing here is like it is an answer"
    assert nothing["calibratedFor"] == "catalogue pictures", "it says for what its likeness was measured"
    similar = shop.get(f"/api/products/{query}/similar", dataset=SURE, minConfidence=middle)
    assert similar["results"]
    assert similar["calibratedFor"] == "catalogue pictures"
    assert all(result["confidence"] >= middle - 1e-4 for result in similar["results"])


def test_the_command_says_what_its_confidences_are_calibrated_for(
    sure_shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "query.jpg"
    picture.write_bytes(sure_shop.picture(queries(sure_shop)[0]))
    url = ["--url", sure_shop.system.url("search_api")]
    assert main(["search", str(picture), "--model", "calibrated", "--dataset", SURE, *url]) == 0
    assert "confidence is calibrated for catalogue pictures" in capsys.readouterr().err
    assert main(["search", str(picture), "--model", "test_efficientnet", "--dataset", DATASET, *url]) == 0
    assert "calibrated" not in capsys.readouterr().err


def test_a_confidence_that_nothing_is_known_of_is_refused(sure_shop: Shop) -> None:
    shop = sure_shop
    query = queries(shop)[0]
    plain = shop.search(query)
    assert "confidence" not in plain["results"][0]
    assert "calibratedFor" not in plain
    for fields in ({"dataset": DATASET}, {"dataset": SURE, "expand": "3"}):
        form = {"minConfidence": "0.5", **fields}
        answer = shop.api.post("/api/search", files={"image": shop.picture(query)}, data=form)
        assert answer.status_code == 400, answer.text
        assert "calibrated" in answer.json()["detail"] or "plain" in answer.json()["detail"]


def test_a_picture_of_nothing_has_no_right_match_whatever_its_scores(shop: Shop) -> None:
    known, strange = queries(shop)[:2]
    with EmbedderClient(shop.system.url("embedder")) as embedder:
        seen = [embedder.embed(shop.picture(one), release_id=shop.release, space="raw") for one in (known, strange)]
        assert {one.familiar for one in seen} == {None}, "this release cannot tell"
        ours, others = (one.vector / np.linalg.norm(one.vector) for one in seen)
        # A plane between the features of the two.
        plane = Familiarity(weights=tuple(ours.tolist()), bias=-(1 + float(ours @ others)) / 2, pictures=100)
        curve = CURVE.model_copy(update={"familiarity": plane, "calibrated_for": "photographs of people"})
        release = build_tiny_release(shop.system.releases, name="familiar", calibration=curve)
        told = [embedder.embed(shop.picture(one), release_id=release).familiar for one in (known, strange)]
        assert told == [True, False]
    shop.system.succeeded(shop.start_index(dataset="familiar", model="familiar", release_id=release)["id"])
    answer = shop.search(strange, dataset="familiar")
    assert answer["calibratedFor"] == "photographs of people", "as the release's calibration says"
    results = answer["results"]
    assert results[0]["score"] > 0.99
    assert {result["confidence"] for result in results} == {0.0}
    assert shop.search(strange, dataset="familiar", minConfidence=0.01)["ranking"] == []
    assert shop.search(strange, dataset="familiar", minConfidence=0)["results"] == results
    assert shop.search(known, dataset="familiar", minConfidence=0.5)["results"][0]["confidence"] > 0.8
