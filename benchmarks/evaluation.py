"""Duration of an evaluation, beside a naive implementation of the same metrics.

600 queries against every product, with mAP and P@15, and both for every size of a PCA. The features come from a release
and a real catalogue; without --root they are random, of the same shape. Each part runs in its own process, so that its
peak memory is its own. The naive values are compared with ours.

    python -m benchmarks.evaluation [--root PATH --store URL --release ID] [--subset fashion-22] [--queries 600]
        [--naive-queries 600] [--sizes 1280]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score

from benchmarks.processes import own_peak_mb, run_module
from benchmarks.tables import head, row
from vitrine.evaluation import Pairs, equal_labels, measure
from vitrine.evaluation.pca_sizes import measure_sizes
from vitrine.evaluation.ranking import unit_rows

Vectors = npt.NDArray[np.floating]
Labels = npt.NDArray[np.int64]

NAMES = ("average_precision", "precision@15")
COMPONENTS = 128
RANDOM = (25_108, 1280, 22)  # products, components, classes
GOALS = {"one": "≤ 2", "sizes": "≤ 600"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="a catalogue's folder (default: random features)")
    parser.add_argument("--dataset", default="fashion-product")
    parser.add_argument("--subset", help="a named selection, e.g. fashion-22")
    parser.add_argument("--store", default="file:.vitrine/releases", help="URL of the release store")
    parser.add_argument("--release", help="id of the release that makes the features")
    parser.add_argument("--queries", type=int, default=600)
    parser.add_argument(
        "--naive-queries", type=int, default=600, help="queries of the naive implementation; its time is scaled up"
    )
    parser.add_argument("--sizes", type=int, default=1280, help="largest size of the PCA")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        order = json.load(sys.stdin)
        json.dump(PARTS[order["part"]](Order(**order)), sys.stdout)
        return 0
    with tempfile.TemporaryDirectory(prefix="vitrine-benchmark-") as folder:
        features = Path(folder) / "features.npz"
        what = gather(arguments, features)
        print(f"{what}; {arguments.queries} queries\n")
        print(head("what", "seconds", "goal", "peak memory, MB", "mAP", "P@15"))
        found = {
            part: run_module(
                "benchmarks.evaluation", asdict(Order(part, str(features), **sizes_of(arguments))), "--worker"
            )
            for part in PARTS
        }
    names = {
        "one": f"ours, {COMPONENTS} components",
        "sizes": f"ours, all {found['sizes']['sizes']:.0f} sizes",
        "naive": f"naive, {COMPONENTS} components",
    }
    for part, name in names.items():
        result = found[part]
        figures = [f"{result[metric]:.4f}" if metric in result else "" for metric in ("mAP", "P@15")]
        print(row(name, f"{result['seconds']:.2f}", GOALS.get(part, "-"), f"{result['peak_mb']:.0f}", *figures))
    print(f"\nours ÷ naive: {found['naive']['seconds'] / found['one']['seconds']:.0f} times as fast")
    print(f"largest difference of a query's values: {found['naive']['difference']:.1e}")
    return 0


@dataclass(frozen=True, slots=True)
class Order:
    """What one part computes, from a file with `features` and `labels`."""

    part: str
    features: str
    queries: int
    naive_queries: int
    sizes: int


def sizes_of(arguments: argparse.Namespace) -> dict[str, int]:
    return {name: getattr(arguments, name) for name in ("queries", "naive_queries", "sizes")}


def gather(arguments: argparse.Namespace, into: Path) -> str:
    """Write `features` (N, D) float32, in principal components, and `labels` (N,). Returns a description."""
    if arguments.root is None:
        count, dim, classes = RANDOM
        rng = np.random.default_rng(0)
        labels = rng.integers(0, classes, count)
        centers = 0.1 * rng.normal(size=(classes, dim)).astype(np.float32)
        raw = centers[labels] + rng.standard_normal(size=(count, dim), dtype=np.float32)
        what = f"random features {count:,} x {dim}"
    else:
        raw, labels = real(arguments)
        what = f"features of {arguments.release}, {len(raw):,} x {raw.shape[1]}"
    unit = unit_rows(np.asarray(raw, dtype=np.float32)).astype(np.float64)
    centred = unit - unit.mean(axis=0)
    _, components = np.linalg.eigh(centred.T @ centred)
    np.savez(into, features=(centred @ components[:, ::-1]).astype(np.float32), labels=labels)
    return what


def real(arguments: argparse.Namespace) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    from benchmarks.retrieval import FeatureExtractor  # imports torch, which random features do not need
    from benchmarks.retrieval import gather as gather_data
    from trainer.data.extraction import extraction_batch
    from trainer.settings import Settings
    from vitrine.releases import ReleaseStore
    from vitrine.settings import load_settings
    from vitrine.vision.network import choose_device, load_release

    arguments.limit, arguments.seed, arguments.photographs = None, 0, None
    arguments.releases = [arguments.release]
    data = gather_data(arguments, ("articleType",))
    store = ReleaseStore(arguments.store, cache_dir=Path(".vitrine/cache/releases"))
    settings = load_settings(Settings)
    choice = choose_device(settings.trainer_device, settings.trainer_precision)
    manifest = store.manifest(arguments.release)
    network = load_release(store.local_folder(arguments.release), manifest, choice)
    extractor = FeatureExtractor(network, manifest.preprocessing, extraction_batch(settings, choice))
    features, rows = extractor.features(data.catalog, data.examples.products)
    return features, data.relevance[rows, 0]


@dataclass(frozen=True, slots=True)
class Task:
    """The features, their labels, and the rows of the queries."""

    features: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    chosen: npt.NDArray[np.int64]

    @classmethod
    def of(cls, order: Order, queries: int) -> Task:
        stored = np.load(order.features)
        labels = stored["labels"]
        return cls(stored["features"], labels, np.random.default_rng(1).permutation(len(labels))[:queries])

    @property
    def vectors(self) -> npt.NDArray[np.float32]:
        return on_grid(unit_rows(self.features[:, :COMPONENTS]))

    @property
    def relevant(self) -> Pairs:
        return equal_labels(self.labels[self.chosen, None], self.labels[:, None])


def one(order: Order) -> dict[str, float]:
    task = Task.of(order, order.queries)
    vectors = task.vectors
    began_s = time.perf_counter()
    found = measure(vectors[task.chosen], vectors, task.relevant, NAMES, own=task.chosen)
    return timing(began_s, mean=found.means())


def sizes(order: Order) -> dict[str, float]:
    task = Task.of(order, order.queries)
    wanted = range(1, min(order.sizes, task.features.shape[1]) + 1)
    began_s = time.perf_counter()
    measure_sizes(task.features[task.chosen], task.features, wanted, task.relevant, NAMES, own=task.chosen)
    return {**timing(began_s), "sizes": len(wanted)}


def naive(order: Order) -> dict[str, float]:
    task = Task.of(order, min(order.queries, order.naive_queries))
    vectors, chosen = task.vectors, task.chosen
    began_s = time.perf_counter()
    found = evaluate_naively(vectors[chosen], vectors, task.labels[chosen], task.labels, chosen)
    result = timing(began_s, mean={NAMES[0]: found.average_precision.mean(), NAMES[1]: found.precision_at_k.mean()})
    result["seconds"] *= order.queries / len(chosen)
    ours = measure(vectors[chosen], vectors, task.relevant, NAMES, own=chosen, ties="together")
    differences = [ours.values[NAMES[0]] - found.average_precision, ours.values[NAMES[1]] - found.precision_at_k]
    return {**result, "difference": max(float(np.abs(one).max()) for one in differences)}


def timing(began_s: float, mean: dict[str, float] | None = None) -> dict[str, float]:
    seconds = time.perf_counter() - began_s
    figures = {} if mean is None else {"mAP": float(mean[NAMES[0]]), "P@15": float(mean[NAMES[1]])}
    return {"seconds": seconds, "peak_mb": own_peak_mb(), **figures}


@dataclass(frozen=True, slots=True)
class NaiveMetrics:
    """(Q,) each."""

    average_precision: npt.NDArray[np.float64]
    precision_at_k: npt.NDArray[np.float64]


def on_grid(vectors: Vectors) -> npt.NDArray[np.float32]:
    """Round to multiples of 1/1024. Their products and sums are exact in float32, so the order of two scores does not
    depend on the order of a sum.
    """
    return (np.round(vectors * 1024) / 1024).astype(np.float32)


def evaluate_naively(
    queries: Vectors, gallery: Vectors, asked: Labels, labels: Labels, own: Labels, *, k: int = 15
) -> NaiveMetrics:
    """Average precision (scikit-learn's) and precision@k by loops, one query after the other, as the definitions say.

    queries: (Q, D). gallery: (G, D). asked: (Q,) labels of the queries. labels: (G,). own: (Q,) the gallery row of the
    query itself, which is left out.
    """
    average, precision = [], []
    for query, label, itself in zip(queries, asked, own, strict=True):
        scores = gallery @ query
        others = [row for row in range(len(gallery)) if row != itself]
        relevant = np.array([labels[row] == label for row in others])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            average.append(average_precision_score(relevant, scores[others]))
        ranking = sorted(range(len(others)), key=lambda at: -scores[others[at]])
        precision.append(sum(bool(relevant[at]) for at in ranking[:k]) / k)
    return NaiveMetrics(np.array(average), np.array(precision))


PARTS = {"one": one, "sizes": sizes, "naive": naive}


if __name__ == "__main__":
    sys.exit(main())
