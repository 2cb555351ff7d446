"""A large collection: how fast it is filled, when its graph is whole, what it takes in memory, and what searches find.

Takes the vectors and attributes of an indexed catalogue and multiplies them: each copy of a product keeps its
attributes, and its vector is moved a little in a random direction. So the clusters stay as they are in the catalogue,
and so does how filters depend on vectors. The collection is made and measured as an indexing does it, with a storage
profile; searches go through the search API's code. Recall@10 and times are printed for no filter, every gender, every
gender with a category, and two values of middling size, beside exact search.

    python -m benchmarks.scale --points 1000000 --profile memory [--dataset NAME] [--model NAME]

The catalogue is that of the system that runs on `--data`, or of a file (`--catalogue FILE.npz`, written by `--save`).
The collection is built by a local Qdrant in a temporary folder, or by the server at `--url`, and removed at the end.
`--pid` is that server's process, for its memory.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.processes import memory_mb
from benchmarks.recall import local_qdrant, read_points
from benchmarks.scale_catalogue import DATASET, Catalogue
from benchmarks.tables import head, row
from indexer.measure import QUERIES, measure_plans
from indexer.vectors import Vectors
from search_api.search.options import Pairs
from search_api.search.retrieval import Retrieval, Wanted
from search_api.vector_store import VectorStore
from vitrine.errors import Unavailable
from vitrine.products import point_id
from vitrine.qdrant.client import open_async_qdrant, open_qdrant
from vitrine.qdrant.naming import Serving, collection_name
from vitrine.qdrant.planner import Planner
from vitrine.qdrant.plans import Plan
from vitrine.qdrant.profiles import Layout, Profile
from vitrine.qdrant.schema import CollectionInfo, CollectionMetadata

TOP: Final = 10
_BATCH: Final = 512
_RELEASE: Final = "scale-0000000000"
_POLL_S: Final = 0.5
_TIMEOUT_S: Final = 300
_TIE: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Server:
    """A Qdrant to fill. `pid` is its process, if it runs on this machine."""

    url: str
    api_key: str | None
    grpc_port: int
    pid: int | None


@dataclass(frozen=True, slots=True)
class Times:
    """Median and 99th percentile of a search, in milliseconds."""

    p50_ms: float
    p99_ms: float

    @classmethod
    def of(cls, took_s: Sequence[float]) -> Times:
        return cls(*(float(np.quantile(took_s, at)) * 1e3 for at in (0.5, 0.99)))


@dataclass(frozen=True, slots=True)
class Searched:
    """What searches with one filter found, and how long they took."""

    name: str
    matches: int
    plan: Plan
    recall: float
    times: Times
    exact: Times


def fill(vectors: Vectors, catalogue: Catalogue, arguments: argparse.Namespace) -> CollectionInfo:
    """Make the collection and print how fast it is filled and whole. Returns its description, with measurements."""
    layout = Layout(Profile(arguments.profile), arguments.shards, arguments.replicas)
    metadata = CollectionMetadata(DATASET, "scale", _RELEASE, "synthetic", "/", "building", **layout.as_dict())
    name = collection_name(DATASET, _RELEASE)
    if vectors.exists(name):
        vectors.drop(name)
    vectors.create(metadata, collection=name, dim=catalogue.dim, kinds=catalogue.kinds, layout=layout)
    started_s = time.perf_counter()
    for points in catalogue.batches(arguments.points, size=_BATCH, noise=arguments.noise):
        _patiently(partial(vectors.upsert, name, points, several_pictures=False))
    filled_s = time.perf_counter() - started_s
    while not vectors.is_green(name):
        time.sleep(_POLL_S)
    whole_s = time.perf_counter() - started_s
    info = vectors.describe(name)
    assert info is not None
    queries = [point_id(DATASET, f"{one['product_id']}-0") for one in catalogue.payloads[:QUERIES]]
    measuring_s = time.perf_counter()
    plans = measure_plans(vectors, info, queries)
    measuring_s = time.perf_counter() - measuring_s
    stored = {} if plans is None else plans.as_dict()
    vectors.mark_ready(replace(metadata, plans=stored), collection=name, expected=arguments.points)
    print(head("filled", "products/s", "whole after", "searches measured in"))
    rate = f"{arguments.points / filled_s:,.0f}"
    print(row(f"{filled_s:.0f} s", rate, f"{whole_s:.0f} s", f"{measuring_s:.1f} s") + "\n")
    if plans is not None:
        print(head("shape of filter", "plan", "beam", "recall", "ms", text_columns=2))
        for shape, way in plans.graph.items():
            print(row(shape, way.plan, way.ef, f"{way.recall:.4f}", f"{way.ms:.2f}"))
        print(f"\nA scan: {plans.exact_ms:.2f} ms and {plans.exact_ms_per_1000:.4f} ms for 1,000 products.\n")
    return replace(info, measured=plans)


async def search_all(
    server: Server, name: str, queries: list[list[float]], filters: list[tuple[str, Pairs]]
) -> list[Searched]:
    """Search with every filter, as the search API does and exactly."""
    client = open_async_qdrant(server.url, api_key=server.api_key, timeout_s=_TIMEOUT_S, grpc_port=server.grpc_port)
    store = VectorStore(client, alias_ttl_s=1e9, collection_ttl_s=1e9, match_count_ttl_s=1e9)
    retrieval = Retrieval(store, planner=Planner(), default_dataset=DATASET)
    serving = Serving(DATASET, "scale", _RELEASE, name)
    results = []
    for label, pairs in filters:
        prepared = await retrieval.prepare(serving, pairs)
        matches = await retrieval.matches(prepared)
        plan = await retrieval.plan(prepared)
        took_s: dict[bool, list[float]] = {False: [], True: []}
        hits = wanted = 0
        for query in queries:
            answers = {}
            for exact in (False, True):
                started_s = time.perf_counter()
                way = Plan.EXACT if exact else plan
                answers[exact] = await retrieval.nearest(prepared, query, Wanted(TOP), plan=way)
                took_s[exact].append(time.perf_counter() - started_s)
            truth = answers[True]
            wanted += len(truth)
            hits += sum(point.score >= truth[-1].score - _TIE for point in answers[False]) if truth else 0
        recall = hits / wanted if wanted else 1.0
        results.append(Searched(label, matches, plan, recall, Times.of(took_s[False]), Times.of(took_s[True])))
    await store.close()
    return results


def print_searches(results: Sequence[Searched]) -> None:
    print(head("filter", "products", "plan", "recall@10", "p50 ms", "p99 ms", "exact p50 ms", "exact p99 ms"))
    for one in results:
        times = (one.times.p50_ms, one.times.p99_ms, one.exact.p50_ms, one.exact.p99_ms)
        print(row(one.name, f"{one.matches:,}", one.plan, f"{one.recall:.4f}", *(f"{ms:.2f}" for ms in times)))


def print_memory(pid: int | None, points: int) -> None:
    """Resident memory of the server. Mapped files are in the page cache, which the system takes back when needed."""
    if pid is None:
        return
    print("\n" + head("memory", "MB", "bytes a product"))
    for name, kind in (("resident", "VmRSS"), ("of it, not mapped files", "RssAnon")):
        resident_mb = memory_mb(pid, kind)
        print(row(name, f"{resident_mb:,.0f}", f"{resident_mb * 2**20 / points:,.0f}"))


async def read_catalogue(arguments: argparse.Namespace) -> Catalogue:
    """The catalogue of a running system."""
    url, key = local_qdrant(arguments.data)
    client = open_async_qdrant(url, api_key=key, timeout_s=_TIMEOUT_S)
    store = VectorStore(client, alias_ttl_s=1e9, collection_ttl_s=1e9, match_count_ttl_s=1e9)
    retrieval = Retrieval(store, planner=Planner(), default_dataset=arguments.dataset)
    serving = await store.resolve(await retrieval.dataset(arguments.dataset), arguments.model)
    info = await store.collection(serving.collection)
    if info.several_pictures:
        raise SystemExit(f"{serving.collection!r} has products with several pictures: take a dataset with one each")
    points = await read_points(client, serving.collection)
    await store.close()
    return Catalogue(points.vectors, points.payloads, info.kinds)


@contextlib.contextmanager
def server_of(arguments: argparse.Namespace) -> Iterator[Server]:
    """The server at `--url`, or a local Qdrant in a temporary folder, which is stopped and removed."""
    if arguments.url:
        yield Server(arguments.url, arguments.api_key, arguments.grpc_port, arguments.pid)
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        options = ["--storage", folder, "--host", "127.0.0.1", "--port", str(port)]
        process = subprocess.Popen([sys.executable, "-m", "vitrine_local.qdrant", *options], stderr=subprocess.DEVNULL)
        try:
            yield Server(f"http://127.0.0.1:{port}", None, 0, process.pid)
        finally:
            process.terminate()
            process.wait()


def _patiently(call: Callable[[], object]) -> None:
    """Repeat a call while the server is away, as an indexing does."""
    end_s = time.monotonic() + _TIMEOUT_S
    while True:
        try:
            call()
            return
        except Unavailable:
            if time.monotonic() > end_s:
                raise
            time.sleep(_POLL_S)


def run(arguments: argparse.Namespace) -> int:
    catalogue = Catalogue.load(arguments.catalogue) if arguments.catalogue else asyncio.run(read_catalogue(arguments))
    if arguments.save:
        catalogue.save(arguments.save)
    with server_of(arguments) as server:
        client = open_qdrant(server.url, api_key=server.api_key, timeout_s=_TIMEOUT_S, grpc_port=server.grpc_port)
        vectors = Vectors(client)
        _patiently(vectors.servings)
        print(f"{arguments.points:,} products, {catalogue.dim} components, profile {arguments.profile}\n")
        info = fill(vectors, catalogue, arguments)
        filters = catalogue.filters(arguments.by, arguments.with_field, arguments.two_of)
        results = asyncio.run(search_all(server, info.name, catalogue.queries(arguments.queries), filters))
        print_searches(results)
        print_memory(server.pid, arguments.points)
        vectors.drop(info.name)
        vectors.close()
    return 0 if min(one.recall for one in results) >= arguments.least else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--points", type=int, required=True, help="products of the collection")
    parser.add_argument("--profile", choices=[str(one) for one in Profile], default=str(Profile.EXACT))
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--data", type=Path, default=Path(".vitrine"), help="data folder of a running local system")
    parser.add_argument("--dataset", help="dataset whose products are multiplied")
    parser.add_argument("--model")
    parser.add_argument("--catalogue", type=Path, help="file with the products, instead of a running system")
    parser.add_argument("--save", type=Path, help="write the products to this file")
    parser.add_argument("--noise", type=float, default=0.3, help="distance of a copy from its product")
    parser.add_argument("--by", default="gender", help="field whose every value is a filter")
    parser.add_argument("--with", dest="with_field", default="masterCategory", help="field for pairs with --by")
    parser.add_argument("--two-of", default="articleType", help="field of which two values are a filter")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--url", help="Qdrant to fill (default: a local one, started for this)")
    parser.add_argument("--api-key", default=os.environ.get("QDRANT_API_KEY"))
    parser.add_argument("--grpc-port", type=int, default=0)
    parser.add_argument("--pid", type=int, help="process of the server at --url")
    parser.add_argument("--folder", type=Path, help="where the local Qdrant's temporary folder is made")
    parser.add_argument("--least", type=float, default=0.0, help="exit with 1 if a recall is below this")
    return run(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
