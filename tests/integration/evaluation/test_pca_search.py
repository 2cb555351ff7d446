"""The search of the best PCA for a release's features, and the values of a map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.evaluating import plan_of, store
from trainer.evaluation.pca_search import search_pca
from trainer.evaluation.protocol import build_evaluation_set
from trainer.jobs.visualize import attribute_values
from vitrine.catalogs import Catalog
from vitrine.errors import ParameterInvalid, ProjectionImpossible
from vitrine.vision.pca import fit_pca, fit_projection, project


def test_the_search_tries_every_size_and_chooses_the_smallest_good_one(
    folder: Path, catalog: Catalog, releases: tuple[str, str]
) -> None:
    evaluation_set = build_evaluation_set(plan_of(releases[0]), catalog)
    features, _ = store(folder).features(releases[0], evaluation_set.gallery)
    parts, labels = evaluation_set.dataset, evaluation_set.labels
    options: dict[str, Any] = {
        "train": parts.rows("train"), "validation": parts.rows("validation"), "queries": 600, "seed": 0,
    }  # fmt: skip
    objective = {"average_precision": 1.0, "ndcg@15": 0.5}
    found = search_pca(np.asarray(features), labels.relevance, labels.graded, objective=objective, **options)
    dim = len(found.pca)
    assert [point.components for point in found.points] == [*range(1, dim + 1)] * 2
    assert found.chosen.components <= found.best.components
    assert found.chosen.whiten == found.best.whiten
    mixed = found.best.means
    assert mixed["objective"] == pytest.approx((mixed["average_precision"] + 0.5 * mixed["ndcg@15"]) / 1.5)
    share = [point.explained_variance for point in found.points if not point.whiten]
    assert share == sorted(share)
    assert share[-1] == pytest.approx(1.0, abs=1e-6)
    few = search_pca(
        np.asarray(features), labels.relevance, labels.graded, objective=objective, sizes=[4, 8, 4096],
        whiten=(False,), **options,
    )  # fmt: skip
    assert [point.components for point in few.points] == [4, 8, dim]
    by_size = {point.components: point.means for point in found.points if not point.whiten}
    assert few.points[0].means["objective"] == pytest.approx(by_size[4]["objective"], abs=1e-3)


def test_a_truncated_pca_equals_scikit_learns(folder: Path, catalog: Catalog, releases: tuple[str, str]) -> None:
    evaluation_set = build_evaluation_set(plan_of(releases[0]), catalog)
    features = np.asarray(store(folder).features(releases[0], evaluation_set.gallery)[0])
    whole = fit_pca(features)
    for whiten in (False, True):
        ours = project(whole.truncate(6).projection(whiten=whiten).arrays, features)
        theirs = project(fit_projection(features, components=6, whiten=whiten, seed=0).arrays, features)
        np.testing.assert_allclose(ours @ ours.T, theirs @ theirs.T, atol=1e-4)
    with pytest.raises(ProjectionImpossible, match="all alike"):
        fit_pca(np.ones((5, 3), dtype=np.float32))
    with pytest.raises(ProjectionImpossible, match="finite"):
        fit_pca(np.full((5, 3), np.nan, dtype=np.float32))


def test_a_map_by_an_attribute_that_no_product_has_is_refused(catalog: Catalog) -> None:
    with pytest.raises(ParameterInvalid, match="mood"):
        attribute_values(catalog.products, "mood")
