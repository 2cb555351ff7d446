"""The report of an evaluation as a JSON document, from which its tables and its page are made."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from trainer.evaluation.protocol import EvaluationSet
from trainer.evaluation.runner import ResultRow, compare_rows
from trainer.evaluation.strictness import strictness_of
from trainer.reports.confusion import confusion_counts
from trainer.reports.evaluation import Document, write_report
from trainer.reports.gallery import ScoredQueries, data_url
from vitrine.evaluation.plan import EvaluationPlan
from vitrine.releases import ReleaseStore
from vitrine.splits import PARTS

FORMAT_VERSION: Final = 2
# The rows of a gallery are compared with its first row in so many of the plan's measures.
_COMPARED_MEASURES: Final = 2


def evaluation_document(
    plan: EvaluationPlan,
    evaluation_set: EvaluationSet,
    rows: Sequence[ResultRow],
    releases: ReleaseStore,
    *,
    title: str,
) -> Document:
    """The report of the rows, of which there is at least one. Its confusion is that of the first row."""
    names = dict.fromkeys([*plan.releases, *(variant.fuse for variant in plan.ways if variant.fuse is not None)])
    photographs = evaluation_set.photographs
    return {
        "version": FORMAT_VERSION,
        "title": title,
        "protocol": plan.protocol,
        "plan": plan.model_dump(mode="json"),
        "catalog": {
            "dataset": evaluation_set.gallery.catalog.dataset,
            "subset": plan.data.subset,
            "products": len(evaluation_set.dataset),
            "parts": {part: len(evaluation_set.dataset.rows(part)) for part in PARTS},
            "split": evaluation_set.split_rule.as_json(),
        },
        "queries": {
            "from": plan.part if photographs is None else photographs.catalog.dataset,
            "count": len(evaluation_set.query_pictures.products),
        },
        "releases": [
            {
                **_release_entry(release_id, releases),
                **strictness_of(release_id, plan, evaluation_set, releases).as_json(),
            }
            for release_id in names
        ],
        "lines": [_row_entry(row, evaluation_set) for row in rows],
        "comparisons": _comparisons(plan, rows),
        "confusion": _confusion(rows[0], evaluation_set),
    }


def write_evaluation(
    folder: Path,
    document: Document,
    row: ResultRow,
    evaluation_set: EvaluationSet,
    *,
    edit_query: Callable[[Image.Image], Image.Image] | None = None,
) -> list[str]:
    """Write the report's files and return their names. The page shows the best and the worst queries of `row`, their
    pictures changed by `edit_query`.
    """
    queries, gallery = evaluation_set.query_pictures, evaluation_set.gallery
    query_products = {product.id: product for product in queries.products}
    gallery_products = {product.id: product for product in gallery.products}
    return write_report(
        folder,
        document,
        _scored_queries(row, evaluation_set, document["plan"]["measures"][0]),
        query_url=lambda product_id: data_url(queries.catalog, query_products[product_id], edit=edit_query),
        match_url=lambda product_id: data_url(gallery.catalog, gallery_products[product_id]),
    )


def _scored_queries(row: ResultRow, evaluation_set: EvaluationSet, measure: str) -> ScoredQueries:
    queries = evaluation_set.query_pictures.products
    labels, query_labels = evaluation_set.labels, evaluation_set.query_labels.at(row.query_rows)
    codes = labels.relevance[row.matches]
    relevant = ((codes == query_labels.relevance[:, None]) & (codes >= 0)).all(axis=2)

    def caption(kind: int) -> str:
        return evaluation_set.kinds[kind] if kind >= 0 else ""

    return ScoredQueries(
        queries=[
            (queries[query].id, caption(int(kind))) for query, kind in zip(row.query_rows, row.kinds, strict=True)
        ],
        scores=row.measured.values[measure],
        matches=row.matches,
        relevant=relevant & (row.matches >= 0),
        gallery=[
            (product.id, caption(int(kind)))
            for product, kind in zip(evaluation_set.gallery.products, labels.kind, strict=True)
        ],
    )


def _release_entry(release_id: str, releases: ReleaseStore) -> Document:
    manifest = releases.manifest(release_id)
    return {
        "id": release_id,
        "model": manifest.model,
        "components": manifest.dim,
        "whiten": manifest.projection.whiten,
        "explained_variance": manifest.projection.explained_variance,
        "kind": (manifest.recipe or {}).get("kind", "projected"),
        "parent": manifest.parent,
        "weights_bytes": manifest.weights.size_bytes,
    }


def _row_entry(row: ResultRow, evaluation_set: EvaluationSet) -> Document:
    measures = {}
    for name in row.measured.values:
        interval = row.measured.interval(name)
        values = {"mean": row.measured.mean(name), "low": interval.low, "high": interval.high}
        measures[name] = {key: _finite_or_none(value) for key, value in values.items()}
    return {
        "release": row.release,
        "gallery": row.gallery,
        "gallery_products": row.gallery_size,
        "way": row.variant,
        "queries": row.measured.scored,
        "left_out": row.measured.left_out,
        "milliseconds_a_query": _finite_or_none(round(row.milliseconds_per_query, 3)),
        "measures": measures,
        "kinds": row.by_kind(evaluation_set.kinds),
    }


def _comparisons(plan: EvaluationPlan, rows: Sequence[ResultRow]) -> list[Document]:
    """Each row compared with the first of its gallery, query by query."""
    comparisons = []
    for gallery in plan.galleries:
        first, *others = [row for row in rows if row.gallery == gallery]
        for other in others:
            for name in plan.measures[:_COMPARED_MEASURES]:
                found = compare_rows(first, other, name)
                comparisons.append(
                    {
                        "gallery": gallery,
                        "measure": name,
                        "first": {"release": first.release, "way": first.variant},
                        "second": {"release": other.release, "way": other.variant},
                        "difference": _finite_or_none(found.difference),
                        "low": _finite_or_none(found.interval.low),
                        "high": _finite_or_none(found.interval.high),
                        "p": _finite_or_none(found.p),
                        "queries": found.queries,
                    }
                )
    return comparisons


def _confusion(row: ResultRow, evaluation_set: EvaluationSet) -> Document:
    """Among the first matches of each class's queries, the share of each class. Only classes that occur."""
    found = row.matches >= 0
    queried = np.broadcast_to(row.kinds[:, None], row.matches.shape)[found]
    matched = evaluation_set.labels.kind[row.matches[found]]
    known = (queried >= 0) & (matched >= 0)
    counts = confusion_counts(queried[known], matched[known], len(evaluation_set.kinds))
    used = np.flatnonzero(counts.any(axis=0) | counts.any(axis=1))
    shares = counts[np.ix_(used, used)] / np.maximum(1, counts[used].sum(axis=1, keepdims=True))
    return {"kinds": [evaluation_set.kinds[code] for code in used], "shares": shares.tolist()}


def _finite_or_none(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None
