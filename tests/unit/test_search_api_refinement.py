"""Refined searches rank like the same variant of the evaluation, on the same vectors."""

from __future__ import annotations

import numpy as np
import pytest
from qdrant_client import models

from search_api.search.rerank import expanded, reranked
from vitrine.evaluation import rerank
from vitrine.evaluation.expansion import expand_queries
from vitrine.evaluation.ranking import unit_rows

COUNT, DIM = 120, 16


@pytest.fixture
def gallery() -> np.ndarray:
    """(120, 16) of length 1, in clusters, so that products share neighbours."""
    generator = np.random.default_rng(3)
    centres = generator.normal(size=(8, DIM))
    rows = centres[np.arange(COUNT) % 8] + 0.6 * generator.normal(size=(COUNT, DIM))
    return unit_rows(rows.astype(np.float32))


def nearest(query: np.ndarray, gallery: np.ndarray, count: int) -> list[models.ScoredPoint]:
    """The answer of Qdrant: the nearest products, best first, with their vectors."""
    scores = gallery @ query
    return [
        models.ScoredPoint(id=int(row), version=0, score=float(scores[row]), vector=gallery[row].tolist())
        for row in np.argsort(-scores, kind="stable")[:count]
    ]


@pytest.mark.parametrize("row", [0, 17, 50])
def test_a_reranked_search_has_the_order_of_the_reranked_evaluation(gallery: np.ndarray, row: int) -> None:
    found = [point.id for point in reranked(gallery[row].tolist(), nearest(gallery[row], gallery, 40))]
    scores = rerank.reranked(gallery[[row]], gallery, candidates=40)(slice(0, 1))[0]
    assert found == np.argsort(-scores, kind="stable")[:40].tolist()
    assert found != [point.id for point in nearest(gallery[row], gallery, 40)]


@pytest.mark.parametrize("alpha", [0.0, 3.0])
def test_an_expanded_search_uses_the_vector_of_the_expanded_evaluation(gallery: np.ndarray, alpha: float) -> None:
    query = gallery[5]
    wanted = expand_queries(query[None], gallery, k=7, alpha=alpha)[0]
    np.testing.assert_allclose(expanded(query.tolist(), nearest(query, gallery, 7), alpha), wanted, atol=1e-6)
