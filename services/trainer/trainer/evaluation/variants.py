"""Search variants: from a release's features to the scores of a block of queries. A variant may use several views of a
query, query expansion, gallery augmentation, re-ranking, or the fusion of two releases.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from trainer.evaluation.features import FeatureCache
from trainer.evaluation.protocol import EvaluationSet
from vitrine.errors import EvaluationImpossible
from vitrine.evaluation import Pairs
from vitrine.evaluation.expansion import augment_gallery, expand_queries
from vitrine.evaluation.plan import Way
from vitrine.evaluation.ranking import unit_rows
from vitrine.evaluation.rerank import Scores, fused, inner_products, reranked
from vitrine.images.views import AS_IT_IS, View
from vitrine.types import Rows, Vectors

# Maps raw features (N, raw_dim) to unit vectors (N, dim).
Projector = Callable[[Vectors], Vectors]

_TIMED_QUERIES: Final = 40
_TIMED_K: Final = 15


@dataclass(frozen=True, slots=True)
class Embeddings:
    """A release's float32 unit vectors of an evaluation set. Pictures that cannot be read are missing."""

    gallery: Vectors
    queries: Vectors
    gallery_rows: Rows  # (G,) rows of the set's gallery
    query_rows: Rows  # (Q,) rows of the set's queries
    own: Rows  # (Q,) the query's row in `gallery`, -1 if it is not part of it


def embed(
    features: FeatureCache,
    evaluation_set: EvaluationSet,
    release_id: str,
    project: Projector,
    *,
    views: Sequence[View],
    searched: Rows,
) -> Embeddings:
    """Embed the `searched` rows of the gallery, and the queries as the mean over their `views`.

    Raises as `FeatureCache.features` does.
    """
    gallery_features, rows = features.features(release_id, evaluation_set.gallery)
    place = np.full(len(evaluation_set.gallery.products), -1, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    kept = searched[place[searched] >= 0]
    gallery = project(np.asarray(gallery_features[place[kept]]))
    within = np.full(len(place), -1, dtype=np.int64)
    within[kept] = np.arange(len(kept))
    pictures = evaluation_set.query_pictures
    if evaluation_set.photographs is None:
        query_rows = np.flatnonzero(place[evaluation_set.query_rows] >= 0)
        readable = evaluation_set.query_rows[query_rows]
        plain, own = project(np.asarray(gallery_features[place[readable]])), within[readable]
    else:
        raw, query_rows = features.features(release_id, pictures)
        plain, own = project(np.asarray(raw)), np.full(len(query_rows), -1, dtype=np.int64)

    def embed_view(view: View) -> Vectors:
        if view == AS_IT_IS:
            return plain
        raw, rows_of_view = features.features(release_id, pictures, view=view)
        if not np.array_equal(rows_of_view, query_rows):
            raise EvaluationImpossible("pictures changed while they were embedded: start the evaluation again")
        return project(np.asarray(raw))

    first, *others = map(embed_view, views)
    return Embeddings(gallery, unit_rows(sum(others, start=first)) if others else first, kept, query_rows, own)


def variant_scores(variant: Way, first: Embeddings, second: Embeddings | None, ignore: Pairs | None) -> Scores:
    """The scores of a search variant. `second` belongs to the release that it fuses with; `ignore` are the pairs that a
    filter excludes.
    """
    if second is not None:
        share = variant.fuse_weight
        parts = [inner_products(one.queries, one.gallery) for one in (first, second)]
        return fused(parts, [1.0 - share, share])
    queries, gallery = first.queries, first.gallery
    if variant.augment:
        gallery = augment_gallery(gallery, k=variant.augment, alpha=variant.augment_alpha)
    if variant.expand:
        queries = expand_queries(
            queries, gallery, k=variant.expand, alpha=variant.expand_alpha, own=first.own, ignore=ignore
        )
    if variant.rerank:
        return reranked(queries, gallery, candidates=variant.rerank, own=first.own, ignore=ignore)
    return inner_products(queries, gallery)


def milliseconds_per_query(variant: Way, first: Embeddings, second: Embeddings | None) -> float:
    """The median time of a single query from its vector to its first matches, by exact search on this machine. Work on
    the gallery that is done beforehand is not counted.
    """
    gallery = first.gallery
    if variant.augment:
        gallery = augment_gallery(gallery, k=variant.augment, alpha=variant.augment_alpha)
    variant = variant.model_copy(update={"augment": 0})
    times_ms = []
    for query in range(min(_TIMED_QUERIES, len(first.queries))):
        one, other = _single(first, query, gallery), None if second is None else _single(second, query, second.gallery)
        started_s = time.perf_counter()
        scores = variant_scores(variant, one, other, None)(slice(0, 1))
        np.argpartition(-scores[0], min(_TIMED_K, scores.shape[1] - 1))
        times_ms.append((time.perf_counter() - started_s) * 1e3)
    return float(np.median(times_ms)) if times_ms else float("nan")


def in_common(first: Embeddings, second: Embeddings) -> tuple[Embeddings, Embeddings]:
    """Both reduced to the pictures that both have."""
    gallery_rows = np.intersect1d(first.gallery_rows, second.gallery_rows)
    query_rows = np.intersect1d(first.query_rows, second.query_rows)

    def reduced(one: Embeddings) -> Embeddings:
        kept, queries = np.searchsorted(one.gallery_rows, gallery_rows), np.searchsorted(one.query_rows, query_rows)
        place = np.full(len(one.gallery_rows), -1, dtype=np.int64)
        place[kept] = np.arange(len(kept))
        own = one.own[queries]
        own = np.where(own >= 0, place[own], -1)
        return Embeddings(one.gallery[kept], one.queries[queries], gallery_rows, query_rows, own)

    return reduced(first), reduced(second)


def _single(embeddings: Embeddings, query: int, gallery: Vectors) -> Embeddings:
    one = slice(query, query + 1)
    return Embeddings(
        gallery, embeddings.queries[one], embeddings.gallery_rows, embeddings.query_rows[one], embeddings.own[one]
    )
