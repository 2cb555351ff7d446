"""Recall of the search path against an exact search.

Reads every vector of a collection, computes the exact nearest products with NumPy, and asks the search path (the code
of the search API, with the planner's choice of plan and filters as users write them). Prints recall@k without a filter
and for every value and pair of values with more than 50 products. A found product counts if its exact score reaches the
exact k-th score, so duplicates are no misses.

    python -m benchmarks.recall --dataset fashion-product --model mobilenetv2_100 [--queries 50] [--k 15] [--brief]

It reads the Qdrant of the system that runs on `--data`, or the one at `--url`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from qdrant_client import AsyncQdrantClient

from benchmarks.tables import head, row
from search_api.search.options import Pairs
from search_api.search.retrieval import Prepared, Retrieval, Wanted
from search_api.vector_store import VectorStore
from vitrine.qdrant.client import open_async_qdrant
from vitrine.qdrant.planner import Planner
from vitrine_local.data_folder import DataFolder

MIN_PRODUCTS = 50
SCORE_TOLERANCE = 1e-5
PAGE = 1_000
SEED = 7
SINGLE_FIELDS = ("gender", "masterCategory", "subCategory", "articleType")
PAIRS_OF_FIELDS = (("gender", "masterCategory"), ("gender", "subCategory"), ("gender", "articleType"))


@dataclass(frozen=True, slots=True)
class FilterCase:
    """One filter, and the rows of the collection's points that match it."""

    kind: str
    name: str
    filters: Pairs
    rows: np.ndarray


@dataclass(frozen=True, slots=True)
class Points:
    """All points of a collection, in the same order. `vectors`: (n, dim) float32, unit length."""

    ids: list[str]
    vectors: np.ndarray
    payloads: list[dict[str, object]]


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one filter."""

    case: FilterCase
    plan: str
    recall: float
    p50_ms: float
    p99_ms: float


async def run(arguments: argparse.Namespace) -> float:
    client = open_async_qdrant(arguments.url, api_key=arguments.api_key, timeout_s=60)
    store = VectorStore(client, alias_ttl_s=1e9, collection_ttl_s=1e9, match_count_ttl_s=1e9)
    retrieval = Retrieval(store, planner=Planner(), default_dataset=arguments.dataset)
    serving = await store.resolve(await retrieval.dataset(arguments.dataset), arguments.model)
    points = await read_points(client, serving.collection)
    queries = choose_queries(points, arguments.queries)
    count, dim = points.vectors.shape
    print(f"`{serving.collection}`: {count} products, {dim} components, {len(queries)} queries, recall@{arguments.k}\n")
    results = []
    for case in filter_cases(points):
        prepared = await retrieval.prepare(serving, case.filters)
        results.append(await measure(retrieval, prepared, case, points, queries, k=arguments.k))
    await store.close()
    print_summary(results)
    if not arguments.brief:
        print_all(results)
    return min(result.recall for result in results)


def print_summary(results: list[Result]) -> None:
    """One row per kind of filter."""
    print(head("filters on", "filters", "products", "plans", "mean recall", "minimum recall", "p50 ms", "p99 ms"))
    kinds = list(dict.fromkeys(result.case.kind for result in results))
    for name, chosen in (
        *((kind, [one for one in results if one.case.kind == kind]) for kind in kinds),
        ("all", results),
    ):
        counts = [len(one.case.rows) for one in chosen]
        plans = Counter(one.plan for one in chosen)
        recalls = [one.recall for one in chosen]
        cells = (
            f"{min(counts)} to {max(counts)}",
            ", ".join(f"{plan} {count}" for plan, count in plans.most_common()),
            *(f"{value:.4f}" for value in (np.mean(recalls), min(recalls))),
            f"{np.median([one.p50_ms for one in chosen]):.2f}",
            f"{max(one.p99_ms for one in chosen):.2f}",
        )
        print(row(name, len(chosen), *cells))


def print_all(results: list[Result]) -> None:
    """One row per filter."""
    print("\n" + head("filter", "products", "plan", "recall", "p50 ms", "p99 ms"))
    for one in results:
        figures = (f"{one.recall:.4f}", f"{one.p50_ms:.2f}", f"{one.p99_ms:.2f}")
        print(row(one.case.name, len(one.case.rows), one.plan, *figures))


async def read_points(client: AsyncQdrantClient, collection: str) -> Points:
    ids: list[str] = []
    vectors: list[np.ndarray] = []
    payloads: list[dict[str, object]] = []
    offset = None
    while True:
        records, offset = await client.scroll(
            collection, limit=PAGE, offset=offset, with_payload=True, with_vectors=True
        )
        for record in records:
            ids.append(str(record.id))
            vectors.append(np.asarray(record.vector, dtype=np.float32))
            payloads.append(record.payload or {})
        if offset is None:
            return Points(ids, np.stack(vectors), payloads)


def choose_queries(points: Points, count: int) -> np.ndarray:
    """Vectors close to those of products, like vectors of other pictures of the same products."""
    random = np.random.default_rng(SEED)
    rows = random.choice(len(points.ids), size=min(count, len(points.ids)), replace=False)
    noise = random.normal(size=(len(rows), points.vectors.shape[1])).astype(np.float32)
    noise *= 0.1 / np.linalg.norm(noise, axis=1, keepdims=True)
    moved = points.vectors[rows] + noise
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    return moved


def filter_cases(points: Points) -> Iterator[FilterCase]:
    yield FilterCase("no filter", "none", [], np.arange(len(points.ids)))
    for fields in (*((field,) for field in SINGLE_FIELDS), *PAIRS_OF_FIELDS):
        found = [tuple(payload.get(field) for field in fields) for payload in points.payloads]
        counts = Counter(values for values in found if None not in values)
        common = [values for values, count in counts.most_common() if count > MIN_PRODUCTS]
        for values in common:
            rows = np.array([row for row, seen in enumerate(found) if seen == values])
            filters = [(field, str(value)) for field, value in zip(fields, values, strict=True)]
            name = " and ".join(f"{field}={value}" for field, value in filters)
            yield FilterCase(" x ".join(fields), name, filters, rows)


async def measure(
    retrieval: Retrieval, prepared: Prepared, case: FilterCase, points: Points, queries: np.ndarray, *, k: int
) -> Result:
    plan = await retrieval.plan(prepared)
    position = {point_id: row for row, point_id in enumerate(points.ids)}
    inside = set(case.rows.tolist())
    wanted = min(k, len(case.rows))
    found_right, took_ms = 0, []
    for query in queries:
        scores = points.vectors[case.rows] @ query
        least = np.partition(scores, -wanted)[-wanted]
        started_s = time.perf_counter()
        hits = await retrieval.nearest(prepared, query.tolist(), Wanted(k), plan=plan)
        took_ms.append((time.perf_counter() - started_s) * 1e3)
        rows = {position[str(hit.id)] for hit in hits}
        if not rows <= inside:
            raise SystemExit(f"the filter {case.name} returned a product that does not match")
        found_right += sum(float(points.vectors[row] @ query) >= least - SCORE_TOLERANCE for row in rows)
    recall = found_right / (wanted * len(queries))
    return Result(case, str(plan), recall, float(np.quantile(took_ms, 0.5)), float(np.quantile(took_ms, 0.99)))


def local_qdrant(data: Path) -> tuple[str, str | None]:
    """(URL, API key) of the Qdrant that `vitrine up` runs on a data folder."""
    folder = DataFolder.at(data)
    run, secrets = folder.read_run(), folder.read_secrets()
    if run is None:
        raise SystemExit(f"no system runs on {data}: give its folder with --data, or Qdrant's URL with --url")
    return f"http://127.0.0.1:{run.ports['qdrant']}", secrets.qdrant_api_key.get_secret_value() if secrets else None


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--url", default=os.environ.get("QDRANT_URL"), help="Qdrant (default: the one of --data)")
    parser.add_argument("--data", type=Path, default=Path(".vitrine"), help="data folder of a running local system")
    parser.add_argument("--api-key", default=os.environ.get("QDRANT_API_KEY"))
    parser.add_argument("--dataset")
    parser.add_argument("--model")
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--k", type=int, default=15)
    parser.add_argument("--brief", action="store_true", help="only the table by kind of filter")
    parser.add_argument("--least", type=float, default=0.99, help="exit with 1 if a recall is below this")
    arguments = parser.parse_args()
    if arguments.url is None:
        arguments.url, local_key = local_qdrant(arguments.data)
        arguments.api_key = arguments.api_key or local_key
    return 0 if asyncio.run(run(arguments)) >= arguments.least else 1


if __name__ == "__main__":
    sys.exit(main())
