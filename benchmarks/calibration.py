"""Can a release's confidence be believed, and does it say "nothing like this here"?

For each release: the expected calibration error of the first fifteen matches of test queries, with a reliability
diagram (drawn to --out); how many of 200 pictures that show no garment, patterns and drawn shapes, are answered with
nothing at a least confidence of 0.5; and how many test queries, and photographs of garments, lose all of their matches
to it. Galleries are the whole catalogue, from which a query is left out.

    python -m benchmarks.calibration --root PATH --store URL [--subset fashion-22] [--photographs PATH] [--out FOLDER] \
        RELEASE [...]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from benchmarks.calibration_parts.nonsense import nonsense
from benchmarks.retrieval import Look
from trainer.data.dataset import Dataset, Rows, build_dataset, classes_of
from trainer.data.extraction import embed_pixels, extraction_batch
from trainer.evaluation.calibrating import confidence_of, matched_pairs
from trainer.evaluation.strictness import split_of
from trainer.reports.reliability import write_reliability
from trainer.settings import Settings
from vitrine.catalogs import Catalog, read_catalog
from vitrine.catalogs.registry import reader_for
from vitrine.evaluation import top_k
from vitrine.evaluation.calibration import Curve, calibration_error
from vitrine.recipes import DataRecipe
from vitrine.releases import PROJECTION_FILE, Calibration, ReleaseStore
from vitrine.settings import load_settings
from vitrine.types import Vectors
from vitrine.vision.network import choose_device, load_release
from vitrine.vision.pca import ProjectionArrays, project
from vitrine.vision.preprocess import Preprocessor

QUERIES = 2000
NONSENSE = 200
LEAST = 0.5
HEADS = (
    "release", "calibration error", f"{NONSENSE} pictures of nothing: answered with nothing", "queries lost",
    "photographs lost",
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("releases", nargs="+", metavar="RELEASE", help="a release's id, or NAME=ID to call it NAME")
    parser.add_argument("--root", type=Path, required=True, help="the catalogue's folder")
    parser.add_argument("--dataset", default="fashion-product")
    parser.add_argument("--store", default="file:.vitrine/releases", help="where the releases lie")
    parser.add_argument("--subset", help="a named selection, e.g. fashion-22")
    parser.add_argument("--seed", type=int, default=0, help="of the split, where no release has one (default: 0)")
    parser.add_argument("--limit", type=int, help="only so many products")
    parser.add_argument("--photographs", type=Path, help="a folder catalogue of people's own photographs of garments")
    parser.add_argument("--out", type=Path, help="a folder for the reliability diagrams")
    arguments = parser.parse_args()
    reader = reader_for(arguments.dataset)
    catalog = read_catalog(reader, arguments.root, dataset=arguments.dataset, limit=arguments.limit)
    store = ReleaseStore(arguments.store, cache_dir=Path(".vitrine/cache/releases"))
    lineage = split_of([named.rpartition("=")[2] for named in arguments.releases], catalog.dataset, store)
    examples = build_dataset(
        catalog.products, DataRecipe(subset=arguments.subset), seed=arguments.seed, lineage=lineage
    )
    print(f"| {' | '.join(HEADS)} |\n|---|{'---:|' * (len(HEADS) - 1)}")
    for named in arguments.releases:
        name, _, release_id = named.rpartition("=")
        print(f"| {name or release_id} | {row_of(release_id, catalog, examples, arguments)} |", flush=True)
    return 0


def row_of(release_id: str, catalog: Catalog, examples: Dataset, arguments: argparse.Namespace) -> str:
    store = ReleaseStore(arguments.store, cache_dir=Path(".vitrine/cache/releases"))
    manifest = store.manifest(release_id)
    if manifest.calibration is None:
        return "has none | - | - | -"
    settings = load_settings(Settings)
    choice = choose_device(settings.trainer_device, settings.trainer_precision)
    folder = store.local_folder(release_id)
    network = load_release(folder, manifest, choice)
    arrays = ProjectionArrays.load(folder / PROJECTION_FILE)
    batch = extraction_batch(settings, choice)
    features, rows = Look(network, manifest.preprocessing, batch).features(catalog, examples.products)
    vectors, kept = project(arrays, features), examples.keep(rows)
    kinds = classes_of(kept, (manifest.calibration.attribute,)).codes
    every, test = np.arange(len(kept), dtype=np.int64), kept.rows("test")
    pairs = matched_pairs(vectors, kinds, test, every, most=QUERIES, seed=arguments.seed)
    confidence = confidence_of(manifest.calibration, pairs, features)
    if arguments.out is not None:
        write_reliability(arguments.out / release_id, confidence, pairs.right)
    fit = Preprocessor(manifest.preprocessing).fit
    pixels = np.stack([fit(picture) for picture in nonsense(NONSENSE)])
    drawn = embed_pixels(network, pixels, np.arange(len(pixels), dtype=np.int64), raw=True, batch=batch)
    found = [
        share_unanswered(manifest.calibration, drawn, project(arrays, drawn), vectors, None),
        share_unanswered(manifest.calibration, features[test], vectors[test], vectors, test),
    ]
    if arguments.photographs is not None:
        photographs = read_catalog(reader_for("folder"), arguments.photographs, dataset="photographs")
        seen, _ = Look(network, manifest.preprocessing, batch).features(photographs, photographs.products)
        found.append(share_unanswered(manifest.calibration, seen, project(arrays, seen), vectors, None))
    shares = [f"{share:.1%}" for share in found] + ["-"] * (3 - len(found))
    return " | ".join([f"{calibration_error(confidence, pairs.right):.3f}", *shares])


def share_unanswered(
    calibration: Calibration, features: Vectors, queries: Vectors, gallery: Vectors, own: Rows | None
) -> float:
    """The share of queries that are strange or whose best match is less likely right than LEAST."""
    _, scores = top_k(queries, gallery, 1, own)
    silent = Curve.of(calibration.scores, calibration.probabilities).confidence(scores[:, 0]) < LEAST
    if calibration.boundary is not None:
        silent |= ~calibration.boundary.familiar(features)
    return float(silent.mean())


if __name__ == "__main__":
    sys.exit(main())
