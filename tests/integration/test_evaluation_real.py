"""The measures on real features (600 queries, 25,108 products) equal those of a simple implementation."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from benchmarks.evaluation import evaluate_naively, on_grid
from harness.training import Listener
from trainer.evaluation.features import FeatureCache
from trainer.evaluation.protocol import EvaluationSet, build_evaluation_set
from trainer.settings import Settings
from vitrine.catalogs import read_catalog
from vitrine.evaluation import equal_labels, measure
from vitrine.evaluation.plan import parse_plan
from vitrine.vision.network import choose_device
from vitrine.vision.pca import ProjectionArrays, project
from vitrine_local.bundled import BUNDLED, MODEL, bundled_store

pytestmark = [pytest.mark.slow, pytest.mark.real_data]

PRODUCTS = 25_108
QUERIES = 600


@pytest.fixture(scope="module")
def evaluation_set(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> EvaluationSet:
    root = tmp_path_factory.mktemp("fashion-product")
    with zipfile.ZipFile(real_data / "fashion-product-60x80.zip") as archive:
        archive.extractall(root)
    plan = parse_plan({"releases": ["x-0123456789"], "data": {"subset": "fashion-22"}, "queries": QUERIES})
    return build_evaluation_set(plan, read_catalog("fashion-product", root))


@pytest.fixture(scope="module")
def vectors(evaluation_set: EvaluationSet, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Those of the bundled release, on a grid, so that no rounding decides which of two products comes first."""
    folder = tmp_path_factory.mktemp("features")
    releases = bundled_store()
    release_id = next(one for one in releases.ids() if one.startswith(f"{MODEL}-"))
    settings = Settings(work_dir=folder / "work", trainer_device="cpu")
    store = FeatureCache(releases, settings, choose_device("cpu"), Listener())
    features, rows = store.features(release_id, evaluation_set.gallery)
    assert len(rows) == PRODUCTS
    arrays = ProjectionArrays.load(BUNDLED / release_id / "projection.safetensors")
    return on_grid(project(arrays, np.asarray(features)))


def test_the_measures_equal_those_of_a_simple_implementation(
    evaluation_set: EvaluationSet, vectors: np.ndarray
) -> None:
    kinds, asked = evaluation_set.labels.relevance[:, 0], evaluation_set.query_rows
    assert len(asked) == QUERIES
    plain = evaluate_naively(vectors[asked], vectors, kinds[asked], kinds, asked)
    relevant = equal_labels(kinds[asked, None], kinds[:, None])
    found = measure(vectors[asked], vectors, relevant, own=asked, ties="together")
    np.testing.assert_allclose(found.values["average_precision"], plain.average_precision, atol=1e-9)
    np.testing.assert_allclose(found.values["precision@15"], plain.precision_at_k, atol=1e-9)
    assert found.mean("precision@15") > 0.5, "a trained release finds what it was trained for"
