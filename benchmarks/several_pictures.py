"""Products with several pictures: one point with all their vectors, or one point a picture.

Both on the engine of the local Qdrant, with the same made vectors: products around cluster centres, and around each
product its pictures. A query is a picture with noise. Compared are

    plain    one picture a product, one plain vector, as a reference
    multi    one point a product with the vectors of all its pictures; its score is that of the best (MAX_SIM)
    grouped  one point a picture; the best of each product among enough points (3 x 15 always are)

Recall is of products, against an exact search for the product of the best picture. Each kind is built in one process
and searched in a fresh one, so its memory is its own.

    python -m benchmarks.several_pictures [--pictures 1000000] [--kinds plain multi grouped] [--folder DIR]
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as edge

from benchmarks.processes import own_resident_mb, run_module
from benchmarks.tables import head, quantile, row
from vitrine.qdrant.planner import DEFAULT_ACORN_EF, DEFAULT_EF

DIM = 128
PER_PRODUCT = 3
TOP_K = 15
RECALL_AT = 10
QUERIES = 200
CLUSTERS = 3_000
# Shares of the length of a vector: a product from its cluster's centre, a picture from its product, a query from its
# picture.
PRODUCT_NOISE, PICTURE_NOISE, QUERY_NOISE = 0.8, 0.6, 0.3
UPSERT_POINTS = 1_000
SEED = 7
TIE = 1e-5
# Standard deviations of the components fall as those of vectors after a PCA.
SPECTRUM = (1.0 + np.arange(DIM, dtype=np.float32)) ** -0.5
SPECTRUM /= np.linalg.norm(SPECTRUM)
# Values of an indexed field by their share of the products, independent of the vectors: the worst case for a graph.
FILTERS = {"none": 1.0, "30 %": 0.3, "5 %": 0.05}
FIELD = "shade"
KINDS = ("plain", "multi", "grouped")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--pictures", type=int, default=1_000_000)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--folder", type=Path, help="folder for the shards (default: a temporary one)")
    parser.add_argument("--m", type=int, default=16, help="links of a node of the graph")
    parser.add_argument("--ef-construct", type=int, default=100)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        order = json.loads(sys.stdin.read())
        print(json.dumps(build(order) if order["step"] == "build" else search(order)))
        return 0
    products = arguments.pictures // PER_PRODUCT
    print(f"{products:,} products x {PER_PRODUCT} pictures, {DIM} components, {QUERIES} queries, top {TOP_K}\n")
    searched: list[str] = []
    print(head("kind", "points", "written s", "graph s", "disk MB", "resident MB"), flush=True)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for kind in arguments.kinds:
            shard = Path(folder) / kind
            graph = {"m": arguments.m, "ef_construct": arguments.ef_construct}
            order = {"kind": kind, "products": products, "folder": str(shard), "graph": graph}
            built = run_module("benchmarks.several_pictures", {**order, "step": "build"}, "--worker")
            found = run_module("benchmarks.several_pictures", {**order, "step": "search"}, "--worker")
            disk_mb = sum(file.stat().st_blocks * 512 for file in shard.rglob("*") if file.is_file()) / 2**20
            print(
                row(
                    kind,
                    f"{built['points']:,}",
                    f"{built['written_s']:.0f}",
                    f"{built['graph_s']:.0f}",
                    f"{disk_mb:.0f}",
                    f"{found['resident_mb']:.0f}",
                ),
                flush=True,
            )
            searched += [row(kind, *cells) for cells in found["rows"]]
            shutil.rmtree(shard)
    print("\n" + head("kind", "filter", "search", "recall@10 of products", "p50 ms", "p99 ms", text_columns=3))
    print("\n".join(searched))
    return 0


class Data:
    """Made vectors. `pictures` is (products, PER_PRODUCT, DIM) float32 of length 1, `shade` a number per product."""

    def __init__(self, products: int) -> None:
        random = np.random.default_rng(SEED)
        centres = _unit(_noise(random, (CLUSTERS, DIM), 1.0))
        self.pictures = np.empty((products, PER_PRODUCT, DIM), np.float32)
        for part in _slices(products, 50_000):
            count = part.stop - part.start
            centre = centres[random.integers(0, CLUSTERS, count)]
            product = _unit(centre + _noise(random, (count, DIM), PRODUCT_NOISE))
            self.pictures[part] = _unit(product[:, None] + _noise(random, (count, PER_PRODUCT, DIM), PICTURE_NOISE))
        self.shade = random.random(products, dtype=np.float32)
        chosen = random.integers(0, products, QUERIES)
        picture = self.pictures[chosen, random.integers(0, PER_PRODUCT, QUERIES)]
        self.queries = _unit(picture + _noise(random, (QUERIES, DIM), QUERY_NOISE))

    def scores(self, per_product: int) -> np.ndarray:
        """(queries, products): the cosine of each product's best picture among its first `per_product`."""
        found = np.empty((QUERIES, len(self.pictures)), np.float32)
        for part in _slices(len(self.pictures), 20_000):
            scores = self.pictures[part, :per_product].reshape(-1, DIM) @ self.queries.T
            found[:, part] = scores.reshape(-1, per_product, QUERIES).max(axis=1).T
        return found


def build(order: dict[str, Any]) -> dict[str, Any]:
    """Write a shard and build its graph. The queries and the exact answers are stored beside the points."""
    kind, folder = order["kind"], Path(order["folder"])
    data = Data(order["products"])
    (folder / "shard").mkdir(parents=True)
    shard = edge.EdgeShard.create(str(folder / "shard"), _config(kind, order["graph"]))
    for field in (FIELD, "product"):
        shard.update(edge.UpdateOperation.create_field_index(field, edge.PayloadSchemaType.Keyword))
    started_s = time.perf_counter()
    batch: list[edge.Point] = []
    for point in _points(kind, data):
        batch.append(point)
        if len(batch) == UPSERT_POINTS:
            shard.update(edge.UpdateOperation.upsert_points(batch))
            batch = []
    if batch:
        shard.update(edge.UpdateOperation.upsert_points(batch))
    shard.flush()
    written_s = time.perf_counter() - started_s
    started_s = time.perf_counter()
    shard.optimize()
    shard.flush()
    graph_s = time.perf_counter() - started_s
    points = shard.info().points_count
    shard.close()
    scores = data.scores(1 if kind == "plain" else PER_PRODUCT)
    least = {}
    for name, share in FILTERS.items():
        inside = scores[:, data.shade < share]
        least[name] = np.partition(inside, -RECALL_AT, axis=1)[:, -RECALL_AT]
    np.save(folder / "queries.npy", data.queries)
    # Of each query, the products that count, by filter.
    wanted = {
        name: [
            np.flatnonzero((row >= bound - TIE) & (data.shade < share)).tolist()
            for row, bound in zip(scores, least[name], strict=True)
        ]
        for name, share in FILTERS.items()
    }
    (folder / "wanted.json").write_text(json.dumps(wanted))
    return {"points": points, "written_s": written_s, "graph_s": graph_s}


def search(order: dict[str, Any]) -> dict[str, Any]:
    """Search a shard that `build` wrote."""
    kind, folder = order["kind"], Path(order["folder"])
    queries = np.load(folder / "queries.npy")
    wanted = json.loads((folder / "wanted.json").read_text())
    shard = edge.EdgeShard.load(str(folder / "shard"), _config(kind, order["graph"]))
    rows = []
    for name in FILTERS:
        for label, params in _searches(name):
            took_ms, hits = [], 0
            for number, query in enumerate(queries.tolist()):
                started_s = time.perf_counter()
                products = _found(shard, kind, query, name, params)
                took_ms.append((time.perf_counter() - started_s) * 1e3)
                hits += len(set(products[:RECALL_AT]) & set(wanted[name][number]))
            recall = hits / (RECALL_AT * len(queries))
            rows.append(
                (name, label, f"{recall:.4f}", f"{quantile(took_ms, 0.5):.2f}", f"{quantile(took_ms, 0.99):.2f}")
            )
    resident_mb = own_resident_mb()
    shard.close()
    return {"rows": rows, "resident_mb": resident_mb}


def _searches(name: str) -> Iterator[tuple[str, edge.SearchParams]]:
    if name == "none":
        for ef in (DEFAULT_EF, 2 * DEFAULT_EF, 4 * DEFAULT_EF, 8 * DEFAULT_EF):
            yield f"graph, ef {ef}", edge.SearchParams(hnsw_ef=ef)
    else:
        for ef in (DEFAULT_ACORN_EF, 2 * DEFAULT_ACORN_EF):
            acorn = edge.AcornSearchParams(True, 1.0)
            yield f"ACORN, ef {ef}", edge.SearchParams(hnsw_ef=ef, acorn=acorn)
    yield "exact", edge.SearchParams(exact=True)


def _found(shard: edge.EdgeShard, kind: str, query: list[float], name: str, params: edge.SearchParams) -> list[int]:
    """The products of one search, best first."""
    condition = None if name == "none" else edge.Filter(must=[edge.FieldCondition(FIELD, match=edge.MatchValue(name))])
    limit = TOP_K * PER_PRODUCT if kind == "grouped" else TOP_K
    request = edge.QueryRequest(
        query=edge.Query.Nearest(query), limit=limit, filter=condition, params=params, with_payload=False
    )
    ids = [int(str(hit.id)) for hit in shard.query(request)]
    return list(dict.fromkeys(one // PER_PRODUCT for one in ids))[:TOP_K] if kind == "grouped" else ids


def _points(kind: str, data: Data) -> Iterator[edge.Point]:
    for number, pictures in enumerate(data.pictures):
        payload = {
            "product": str(number),
            FIELD: [name for name, share in FILTERS.items() if data.shade[number] < share],
        }
        if kind == "multi":
            yield edge.Point(number, pictures.tolist(), payload)
        elif kind == "plain":
            yield edge.Point(number, pictures[0].tolist(), payload)
        else:
            for position, picture in enumerate(pictures):
                yield edge.Point(number * PER_PRODUCT + position, picture.tolist(), payload)


def _config(kind: str, graph: dict[str, int]) -> edge.EdgeConfig:
    several = edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim) if kind == "multi" else None
    return edge.EdgeConfig(
        vectors=edge.EdgeVectorParams(DIM, edge.Distance.Cosine, multivector_config=several),
        on_disk_payload=True,
        hnsw_config=edge.HnswIndexConfig(graph["m"], graph["ef_construct"], 10_000),
    )


def _noise(random: np.random.Generator, shape: tuple[int, ...], length: float) -> np.ndarray:
    found: np.ndarray = random.standard_normal(shape, dtype=np.float32) * SPECTRUM * np.float32(length)
    return found


def _unit(vectors: np.ndarray) -> np.ndarray:
    found: np.ndarray = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return found


def _slices(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(count, start + size))


if __name__ == "__main__":
    sys.exit(main())
