"""A way of searching, from a release's features to the scores of a block of queries."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from trainer.evaluation.contest import Contest
from trainer.evaluation.features import FeatureStore, Pictures
from vitrine.errors import EvaluationImpossible
from vitrine.evaluation import Pairs, Rows, Vectors
from vitrine.evaluation.expansion import augment_gallery, expand_queries
from vitrine.evaluation.plan import Way
from vitrine.evaluation.ranking import unit_rows
from vitrine.evaluation.rerank import Scores, fused, inner_products, reranked
from vitrine.images.views import AS_IT_IS, View

# Brings raw features (N, raw_dim) to vectors (N, dim) of length 1.
Projected = Callable[[Vectors], Vectors]

_TIMED: Final = 40
_TIMED_K: Final = 15


@dataclass(frozen=True, slots=True)
class Sight:
    """A release's vectors of a contest: the gallery's and the queries', float32 of length 1, and what of the contest
    they are of. A picture that could not be read is in neither.
    """

    gallery: Vectors
    queries: Vectors
    rows: Rows  # (N,) of the contest's gallery
    asked: Rows  # (Q,) of the contest's queries
    own: Rows  # (Q,) of `gallery`, -1 for a query that is not in it


def look(
    store: FeatureStore,
    contest: Contest,
    release_id: str,
    projected: Projected,
    *,
    views: Sequence[View],
    searched: Rows,
) -> Sight:
    """The vectors of a release. `searched` are the contest's gallery rows that are searched; a query's vector is the
    mean of those of its views.
    """
    features, rows = store.features(release_id, contest.gallery)
    place = np.full(len(contest.gallery.products), -1, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    kept = searched[place[searched] >= 0]
    gallery = projected(np.asarray(features[place[kept]]))
    within = np.full(len(place), -1, dtype=np.int64)
    within[kept] = np.arange(len(kept))
    if contest.outside is None:
        asked = np.flatnonzero(place[contest.asked] >= 0)
        seen = contest.asked[asked]
        plain, own = projected(np.asarray(features[place[seen]])), within[seen]
        pictures = Pictures(contest.gallery.catalog, tuple(contest.gallery.products[row] for row in contest.asked))
    else:
        pictures = contest.outside
        raw, asked = store.features(release_id, pictures)
        plain, own = projected(np.asarray(raw)), np.full(len(asked), -1, dtype=np.int64)

    def seen_in(view: View) -> Vectors:
        if view == AS_IT_IS:
            return plain
        raw, there = store.features(release_id, pictures, view=view)
        if not np.array_equal(there, asked):
            raise EvaluationImpossible("pictures changed while they were looked at: start the evaluation again")
        return projected(np.asarray(raw))

    first, *others = map(seen_in, views)
    return Sight(gallery, unit_rows(sum(others, start=first)) if others else first, kept, asked, own)


def scores_of(way: Way, sight: Sight, second: Sight | None, ignore: Pairs | None) -> Scores:
    """The scores of a way. `second` is the sight of the release it fuses with; `ignore` what a filter leaves out."""
    if second is not None:
        share = way.fuse_weight
        parts = [inner_products(one.queries, one.gallery) for one in (sight, second)]
        return fused(parts, [1.0 - share, share])
    queries, gallery = sight.queries, sight.gallery
    if way.augment:
        gallery = augment_gallery(gallery, k=way.augment, alpha=way.augment_alpha)
    if way.expand:
        queries = expand_queries(
            queries, gallery, k=way.expand, alpha=way.expand_alpha, own=sight.own, ignore=ignore
        )  # fmt: skip
    if way.rerank:
        return reranked(queries, gallery, candidates=way.rerank, own=sight.own, ignore=ignore)
    return inner_products(queries, gallery)


def milliseconds_a_query(way: Way, sight: Sight, second: Sight | None) -> float:
    """The median time of one query alone, from its vectors to its first matches, by exact search on this machine. What
    is done to the gallery beforehand does not count.
    """
    gallery = sight.gallery
    if way.augment:
        gallery = augment_gallery(gallery, k=way.augment, alpha=way.augment_alpha)
    plain = way.model_copy(update={"augment": 0})
    took_ms = []
    for query in range(min(_TIMED, len(sight.queries))):
        alone, other = _only(sight, query, gallery), None if second is None else _only(second, query, second.gallery)
        began_s = time.perf_counter()
        scores = scores_of(plain, alone, other, None)(slice(0, 1))
        np.argpartition(-scores[0], min(_TIMED_K, scores.shape[1] - 1))
        took_ms.append((time.perf_counter() - began_s) * 1e3)
    return float(np.median(took_ms)) if took_ms else float("nan")


def _only(sight: Sight, query: int, gallery: Vectors) -> Sight:
    one = slice(query, query + 1)
    return Sight(gallery, sight.queries[one], sight.rows, sight.asked[one], sight.own[one])


def in_common(first: Sight, second: Sight) -> tuple[Sight, Sight]:
    """Two sights on the pictures that both could read."""
    rows = np.intersect1d(first.rows, second.rows)
    asked = np.intersect1d(first.asked, second.asked)

    def narrowed(sight: Sight) -> Sight:
        kept, queries = np.searchsorted(sight.rows, rows), np.searchsorted(sight.asked, asked)
        place = np.full(len(sight.rows), -1, dtype=np.int64)
        place[kept] = np.arange(len(kept))
        own = sight.own[queries]
        return Sight(
            sight.gallery[kept], sight.queries[queries], rows, asked, np.where(own >= 0, place[own], -1)
        )  # fmt: skip

    return narrowed(first), narrowed(second)
