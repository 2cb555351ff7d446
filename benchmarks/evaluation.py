"""How long does an evaluation take, beside the same measures as a plain program computes them?

600 queries against every product, with mAP and P@15, and all sizes of a PCA with both. The features are a release's, of
a real catalogue, or drawn ones of the same shape where no catalogue is named. Each part runs in a process of its own,
whose peak memory is told, and the plain program's values are held against ours.

    python -m benchmarks.evaluation [--root PATH --store URL --release ID] [--subset fashion-22] [--queries 600]
        [--naive-queries 600] [--sizes 1280]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

if not __package__:
    # Run by its path, its folder comes first, where this file would stand for the library's package of the same name.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np
import numpy.typing as npt

from benchmarks.evaluation_parts import naive
from vitrine.evaluation import Pairs, equal_labels, measure
from vitrine.evaluation.pca_sizes import measure_sizes
from vitrine.evaluation.ranking import unit_rows

NAMES = ("average_precision", "precision@15")
COMPONENTS = 128
DRAWN = (25_108, 1280, 22)
GOALS = {"one": "≤ 2", "sizes": "≤ 600"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="a catalogue's folder; drawn features, if absent")
    parser.add_argument("--dataset", default="fashion-product")
    parser.add_argument("--subset", help="a named selection, e.g. fashion-22")
    parser.add_argument("--store", default="file:.vitrine/releases", help="where the release lies")
    parser.add_argument("--release", help="whose features are evaluated")
    parser.add_argument("--queries", type=int, default=600)
    parser.add_argument("--naive-queries", type=int, default=600, help="of the plain program; its time is scaled up")
    parser.add_argument("--sizes", type=int, default=1280, help="most sizes of the PCA")
    parser.add_argument("--part", choices=["one", "sizes", "naive"], help=argparse.SUPPRESS)
    parser.add_argument("--features", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        sys.stdout.write(json.dumps(PARTS[arguments.part](arguments)))
        return 0
    with tempfile.TemporaryDirectory(prefix="vitrine-benchmark-") as folder:
        features = Path(folder) / "features.npz"
        what = gather(arguments, features)
        print(f"{what}; {arguments.queries} queries\n")
        print("| what | seconds | goal | peak memory, MB | mAP | P@15 |\n|---|---:|---|---:|---:|---:|")
        found = {part: in_own_process(part, features) for part in PARTS}
    told = {
        "one": f"ours, {COMPONENTS} components",
        "sizes": f"ours, all {found['sizes']['sizes']:.0f} sizes",
        "naive": f"the plain program, {COMPONENTS} components",
    }
    for part, name in told.items():
        row = found[part]
        figures = f"{row['mAP']:.4f} | {row['P@15']:.4f}" if "mAP" in row else " | "
        print(f"| {name} | {row['seconds']:.2f} | {GOALS.get(part, '-')} | {row['peak_mb']:.0f} | {figures} |")
    print(f"\nours ÷ plain: {found['naive']['seconds'] / found['one']['seconds']:.0f} times as fast")
    print(f"largest difference of a query's values: {found['naive']['difference']:.1e}")
    return 0


def in_own_process(part: str, features: Path) -> dict[str, float]:
    command = [
        sys.executable,
        "-m",
        "benchmarks.evaluation",
        *sys.argv[1:],
        "--part",
        part,
        "--features",
        str(features),
    ]
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def gather(arguments: argparse.Namespace, into: Path) -> str:
    """Write `features` (N, D) float32 on all components of a PCA, and `labels` (N,), and say what they are."""
    if arguments.root is None:
        count, dim, classes = DRAWN
        chance = np.random.default_rng(0)
        labels = chance.integers(0, classes, count)
        middles = 0.1 * chance.normal(size=(classes, dim)).astype(np.float32)
        raw = middles[labels] + chance.standard_normal(size=(count, dim), dtype=np.float32)
        what = f"drawn features {count:,} x {dim}"
    else:
        raw, labels = real(arguments)
        what = f"features of {arguments.release}, {len(raw):,} x {raw.shape[1]}"
    unit = unit_rows(np.asarray(raw, dtype=np.float32)).astype(np.float64)
    centred = unit - unit.mean(axis=0)
    _, components = np.linalg.eigh(centred.T @ centred)
    np.savez(into, features=(centred @ components[:, ::-1]).astype(np.float32), labels=labels)
    return what


def real(arguments: argparse.Namespace) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    from benchmarks.retrieval import Look  # torch comes with these, and drawn features do without
    from benchmarks.retrieval import gather as gather_material
    from trainer.data.extraction import extraction_batch
    from trainer.settings import Settings
    from vitrine.releases import ReleaseStore
    from vitrine.settings import load_settings
    from vitrine.vision.network import choose_device, load_release

    arguments.limit, arguments.seed, arguments.photographs = None, 0, None
    arguments.releases = [arguments.release]
    material = gather_material(arguments, ("articleType",))
    store = ReleaseStore(arguments.store, cache_dir=Path(".vitrine/cache/releases"))
    settings = load_settings(Settings)
    choice = choose_device(settings.trainer_device, settings.trainer_precision)
    manifest = store.manifest(arguments.release)
    network = load_release(store.local_folder(arguments.release), manifest, choice)
    look = Look(network, manifest.preprocessing, extraction_batch(settings, choice))
    features, rows = look.features(material.catalog, material.examples.products)
    return features, material.relevance[rows, 0]


@dataclass(frozen=True, slots=True)
class Task:
    """The features, and which of them are the queries."""

    features: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    chosen: npt.NDArray[np.int64]

    @classmethod
    def of(cls, arguments: argparse.Namespace, queries: int) -> Task:
        stored = np.load(arguments.features)
        labels = stored["labels"]
        return cls(stored["features"], labels, np.random.default_rng(1).permutation(len(labels))[:queries])

    @property
    def vectors(self) -> npt.NDArray[np.float32]:
        return naive.on_grid(unit_rows(self.features[:, :COMPONENTS]))

    @property
    def relevant(self) -> Pairs:
        return equal_labels(self.labels[self.chosen, None], self.labels[:, None])


def one(arguments: argparse.Namespace) -> dict[str, float]:
    task = Task.of(arguments, arguments.queries)
    vectors = task.vectors
    began_s = time.perf_counter()
    found = measure(vectors[task.chosen], vectors, task.relevant, NAMES, own=task.chosen)
    return told(began_s, mean=found.means())


def sizes(arguments: argparse.Namespace) -> dict[str, float]:
    task = Task.of(arguments, arguments.queries)
    wanted = range(1, min(arguments.sizes, task.features.shape[1]) + 1)
    began_s = time.perf_counter()
    measure_sizes(task.features[task.chosen], task.features, wanted, task.relevant, NAMES, own=task.chosen)
    return {**told(began_s), "sizes": len(wanted)}


def plain(arguments: argparse.Namespace) -> dict[str, float]:
    task = Task.of(arguments, min(arguments.queries, arguments.naive_queries))
    vectors, chosen = task.vectors, task.chosen
    began_s = time.perf_counter()
    found = naive.evaluate(vectors[chosen], vectors, task.labels[chosen], task.labels, chosen)
    result = told(began_s, mean={NAMES[0]: found.average_precision.mean(), NAMES[1]: found.precision_at_k.mean()})
    result["seconds"] *= arguments.queries / len(chosen)
    ours = measure(vectors[chosen], vectors, task.relevant, NAMES, own=chosen, ties="together")
    differences = [ours.values[NAMES[0]] - found.average_precision, ours.values[NAMES[1]] - found.precision_at_k]
    return {**result, "difference": max(float(np.abs(one).max()) for one in differences)}


def told(began_s: float, mean: dict[str, float] | None = None) -> dict[str, float]:
    seconds = time.perf_counter() - began_s
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = {} if mean is None else {"mAP": float(mean[NAMES[0]]), "P@15": float(mean[NAMES[1]])}
    return {"seconds": seconds, "peak_mb": peak_mb, **figures}


PARTS = {"one": one, "sizes": sizes, "naive": plain}


if __name__ == "__main__":
    sys.exit(main())
