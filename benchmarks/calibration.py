"""Calibration of a release's confidence, and rejection of pictures that show no garment.

For each release: the expected calibration error of the first fifteen matches of test queries, with a reliability
diagram (written to --out); how many of 200 pictures without a garment (patterns and drawn shapes) get no match at a
minimum confidence of 0.5; and how many test queries, and photos of garments, lose all matches at that confidence. The
gallery is the whole catalogue without the query.

    python -m benchmarks.calibration --root PATH --store URL [--subset fashion-22] [--photographs PATH] [--out FOLDER] \
        RELEASE [...]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from benchmarks.retrieval import FeatureExtractor
from benchmarks.tables import head
from trainer.data.dataset import Dataset, build_dataset, classes_of
from trainer.data.extraction import embed_pixels, extraction_batch
from trainer.evaluation.calibration import collect_matches, confidence_of
from trainer.evaluation.ood_samples import Kind, color, draw_samples, noise
from trainer.evaluation.strictness import split_lineage
from trainer.reports.reliability import write_reliability
from trainer.settings import Settings
from vitrine.catalogs import Catalog, read_catalog
from vitrine.catalogs.registry import reader_for
from vitrine.evaluation import top_k
from vitrine.evaluation.calibration import Curve, calibration_error
from vitrine.recipes import DataRecipe
from vitrine.releases import PROJECTION_FILE, Calibration, ReleaseStore
from vitrine.settings import load_settings
from vitrine.telemetry import configure_logging
from vitrine.types import Rows, Vectors
from vitrine.vision.network import choose_device, load_release
from vitrine.vision.pca import ProjectionArrays, project
from vitrine.vision.preprocess import Preprocessor

QUERIES = 2000
UNRELATED = 200
MIN_CONFIDENCE = 0.5
HEADS = (
    "release", "calibration error", f"{UNRELATED} pictures without a garment: rejected", "queries lost",
    "photos lost",
)  # fmt: skip


def main() -> int:
    configure_logging(service="benchmark")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("releases", nargs="+", metavar="RELEASE", help="a release's id, or NAME=ID to call it NAME")
    parser.add_argument("--root", type=Path, required=True, help="the catalogue's folder")
    parser.add_argument("--dataset", default="fashion-product")
    parser.add_argument("--store", default="file:.vitrine/releases", help="URL of the release store")
    parser.add_argument("--subset", help="a named selection, e.g. fashion-22")
    parser.add_argument("--seed", type=int, default=0, help="seed of the split, if no release defines one (default: 0)")
    parser.add_argument("--limit", type=int, help="only so many products")
    parser.add_argument("--photographs", type=Path, help="a folder catalogue of photos that people took of garments")
    parser.add_argument("--out", type=Path, help="folder for the reliability diagrams")
    arguments = parser.parse_args()
    reader = reader_for(arguments.dataset)
    catalog = read_catalog(reader, arguments.root, dataset=arguments.dataset, limit=arguments.limit)
    store = ReleaseStore(arguments.store, cache_dir=Path(".vitrine/cache/releases"))
    lineage = split_lineage([named.rpartition("=")[2] for named in arguments.releases], catalog.dataset, store)
    examples = build_dataset(
        catalog.products, DataRecipe(subset=arguments.subset), seed=arguments.seed, lineage=lineage
    )
    print(head(*HEADS))
    for named in arguments.releases:
        name, _, release_id = named.rpartition("=")
        print(f"| {name or release_id} | {row_of(release_id, catalog, examples, arguments)} |", flush=True)
    return 0


def row_of(release_id: str, catalog: Catalog, examples: Dataset, arguments: argparse.Namespace) -> str:
    store = ReleaseStore(arguments.store, cache_dir=Path(".vitrine/cache/releases"))
    manifest = store.manifest(release_id)
    if manifest.calibration is None:
        return "none | - | - | -"
    settings = load_settings(Settings)
    choice = choose_device(settings.trainer_device, settings.trainer_precision)
    folder = store.local_folder(release_id)
    network = load_release(folder, manifest, choice)
    arrays = ProjectionArrays.load(folder / PROJECTION_FILE)
    batch = extraction_batch(settings, choice)
    features, rows = FeatureExtractor(network, manifest.preprocessing, batch).features(catalog, examples.products)
    vectors, kept = project(arrays, features), examples.keep(rows)
    kinds = classes_of(kept, (manifest.calibration.attribute,)).codes
    every, test = np.arange(len(kept), dtype=np.int64), kept.rows("test")
    pairs = collect_matches(vectors, kinds, test, every, most=QUERIES, seed=arguments.seed)
    confidence = confidence_of(manifest.calibration, pairs, features)
    if arguments.out is not None:
        write_reliability(arguments.out / release_id, confidence, pairs.right)
    fit = Preprocessor(manifest.preprocessing).fit
    pixels = np.stack([fit(picture) for picture in unrelated_pictures(UNRELATED)])
    drawn = embed_pixels(network, pixels, np.arange(len(pixels), dtype=np.int64), raw=True, batch=batch)
    found = [
        rejected_share(manifest.calibration, drawn, project(arrays, drawn), vectors, None),
        rejected_share(manifest.calibration, features[test], vectors[test], vectors, test),
    ]
    if arguments.photographs is not None:
        photographs = read_catalog(reader_for("folder"), arguments.photographs, dataset="photographs")
        seen, _ = FeatureExtractor(network, manifest.preprocessing, batch).features(photographs, photographs.products)
        found.append(rejected_share(manifest.calibration, seen, project(arrays, seen), vectors, None))
    shares = [f"{share:.1%}" for share in found] + ["-"] * (3 - len(found))
    return " | ".join([f"{calibration_error(confidence, pairs.right):.3f}", *shares])


def rejected_share(
    calibration: Calibration, features: Vectors, queries: Vectors, gallery: Vectors, own: Rows | None
) -> float:
    """The fraction of queries that are out of distribution or whose best match is below MIN_CONFIDENCE."""
    _, scores = top_k(queries, gallery, 1, own)
    rejected = Curve.of(calibration.scores, calibration.probabilities).confidence(scores[:, 0]) < MIN_CONFIDENCE
    if calibration.boundary is not None:
        rejected |= ~calibration.boundary.familiar(features)
    return float(rejected.mean())


def unrelated_pictures(count: int, *, seed: int = 0) -> list[Image.Image]:
    """`count` RGB pictures without a garment, 96 to 320 pixels per side, of other kinds than the trainer's."""
    return draw_samples(_KINDS, count, seed=seed)


def _blotches(random: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    coarse = random.integers(0, 256, size=(*random.integers(3, 12, size=2), 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def _stripes(random: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    picture = Image.new("RGB", size, color(random))
    brush, step, ink = ImageDraw.Draw(picture), int(random.integers(6, 30)), color(random)
    lean = int(random.integers(-size[1], size[1]))
    for left in range(-abs(lean), size[0] + abs(lean), 2 * step):
        brush.line((left, 0, left + lean, size[1]), fill=ink, width=step)
    return picture


def _shapes(random: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    picture = Image.new("RGB", size, color(random))
    brush = ImageDraw.Draw(picture)
    for _ in range(int(random.integers(3, 14))):
        (left, right), (top, bottom) = (sorted(random.integers(0, side, size=2).tolist()) for side in size)
        draw = brush.ellipse if random.random() < 0.5 else brush.rectangle
        draw((left, top, right + 1, bottom + 1), fill=color(random))
    return picture


def _rings(random: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    rows, columns = np.mgrid[: size[1], : size[0]]
    far = np.hypot(rows - random.random() * size[1], columns - random.random() * size[0])
    wave = np.sin(far / random.uniform(2, 15))[..., None] * 0.5 + 0.5
    inks = np.array([color(random), color(random)])
    return Image.fromarray((wave * inks[0] + (1 - wave) * inks[1]).astype(np.uint8))


def _haze(random: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    return noise(random, size).filter(ImageFilter.GaussianBlur(float(random.uniform(1, 6))))


_KINDS: Final[tuple[Kind, ...]] = (_blotches, _stripes, _shapes, _rings, _haze)


if __name__ == "__main__":
    sys.exit(main())
