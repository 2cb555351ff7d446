"""Retrieval quality of releases on the same split of one catalogue, and on photos if there are any.

The features of each release are projected in several ways. For each way of whitening, the number of components with the
best result on validation queries (gallery: validation and train part) is reported on the test part: 600 queries against
every product except the query; every test product against the test part alone, as in a shop with only new products; and
photos, on which nothing was selected or trained, against every product.

    python -m benchmarks.retrieval --root PATH --store URL [--subset fashion-22] [--photographs PATH] \\
        [--relevance articleType,gender,baseColour] RELEASE [...]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.tables import head
from trainer.data.dataset import UNKNOWN, Dataset, build_dataset, classes_of, combination
from trainer.data.extraction import embed_pixels, extraction_batch
from trainer.data.pixel_cache import cached_pixels
from trainer.evaluation.projection_choice import choose_projection, identity_fit
from trainer.evaluation.strictness import split_lineage
from trainer.settings import Settings
from trainer.training.validation import evaluate
from vitrine.catalogs import Catalog, read_catalog
from vitrine.catalogs.registry import reader_for
from vitrine.evaluation import equal_labels, measure
from vitrine.products import Product
from vitrine.recipes import DataRecipe, ProjectionRecipe
from vitrine.releases import Preprocessing, ReleaseStore
from vitrine.settings import load_settings
from vitrine.telemetry import configure_logging
from vitrine.types import Codes, Rows, Vectors
from vitrine.vision.network import ReleaseNetwork, choose_device, load_release
from vitrine.vision.pca import project

QUERIES = 600
COMPONENTS = (20, 32, 64, 128, 256)
FIGURES = ("mean_average_precision", "precision_at_15")
# Name of the projection, and whether it whitens; None: no projection.
PROJECTIONS = {"not whitened": False, "whitened": True, "the feature itself": None}


@dataclass(frozen=True, slots=True)
class TestData:
    """The data for all releases. `photographs` whose class is not in the catalogue are left out."""

    catalog: Catalog
    examples: Dataset
    relevance: Codes
    photographs: Catalog | None
    shown: tuple[Product, ...]
    shown_relevance: Codes | None


def main() -> int:
    configure_logging(service="benchmark")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("releases", nargs="+", metavar="RELEASE", help="a release's id, or NAME=ID to call it NAME")
    parser.add_argument("--root", type=Path, required=True, help="the catalogue's folder")
    parser.add_argument("--dataset", default="fashion-product")
    parser.add_argument("--store", default="file:.vitrine/releases", help="URL of the release store")
    parser.add_argument("--subset", help="a named selection, e.g. fashion-22")
    parser.add_argument("--relevance", default="articleType", help="attributes that relevant products share, by commas")
    parser.add_argument("--photographs", type=Path, help="a folder catalogue of photos with the same attributes")
    parser.add_argument("--seed", type=int, default=0, help="seed of the split, if no release defines one (default: 0)")
    parser.add_argument("--limit", type=int, help="only so many products")
    arguments = parser.parse_args()
    attributes = tuple(arguments.relevance.split(","))
    data = gather(arguments, attributes)
    counted = f"{len(data.examples):,} products, {len(data.shown):,} photographs"
    print(f"{counted}; relevant: {' + '.join(attributes)}\n")
    heads = ["release", "projection", "n", "mAP", "P@15", "mAP, unseen", "P@15, unseen"]
    if data.shown:
        heads += ["mAP, photographs", "P@15, photographs"]
    print(head(*heads, text_columns=2))
    store = ReleaseStore(arguments.store, cache_dir=Path(".vitrine/cache/releases"))
    for named in arguments.releases:
        name, _, release_id = named.rpartition("=")
        for row in rows_of(release_id, store, data, seed=arguments.seed):
            print(f"| {name or release_id} | {row} |", flush=True)
    return 0


def gather(arguments: argparse.Namespace, attributes: Sequence[str]) -> TestData:
    reader = reader_for(arguments.dataset)
    catalog = read_catalog(reader, arguments.root, dataset=arguments.dataset, limit=arguments.limit)
    store = ReleaseStore(arguments.store, cache_dir=Path(".vitrine/cache/releases"))
    lineage = split_lineage([named.rpartition("=")[2] for named in arguments.releases], catalog.dataset, store)
    examples = build_dataset(
        catalog.products, DataRecipe(subset=arguments.subset), seed=arguments.seed, lineage=lineage
    )
    classes = classes_of(examples, attributes)
    relevance = classes.codes[:, None]
    if arguments.photographs is None:
        return TestData(catalog, examples, relevance, None, (), None)
    photographs = read_catalog("folder", arguments.photographs, dataset="photographs")
    code_of = {name: code for code, name in enumerate(classes.names)}
    codes = [code_of.get(combination(one, attributes) or "", UNKNOWN) for one in photographs.products]
    shown = [(one, code) for one, code in zip(photographs.products, codes, strict=True) if code != UNKNOWN]
    return TestData(
        catalog,
        examples,
        relevance,
        photographs,
        tuple(one for one, _ in shown),
        np.array([code for _, code in shown], dtype=np.int64)[:, None],
    )


def rows_of(release_id: str, store: ReleaseStore, data: TestData, *, seed: int) -> list[str]:
    """One row per projection."""
    manifest = store.manifest(release_id)
    settings = load_settings(Settings)
    choice = choose_device(settings.trainer_device, settings.trainer_precision)
    network = load_release(store.local_folder(release_id), manifest, choice)
    extractor = FeatureExtractor(network, manifest.preprocessing, extraction_batch(settings, choice))
    features, rows = extractor.features(data.catalog, data.examples.products)
    kept, labels = data.examples.keep(rows), data.relevance[rows]
    shown, shown_labels = None, None
    if data.photographs is not None and data.shown_relevance is not None:
        shown, seen = extractor.features(data.photographs, data.shown)
        shown_labels = data.shown_relevance[seen]
    rows_found = []
    for way, whiten in PROJECTIONS.items():
        if whiten is None:
            fit = identity_fit(features.shape[1])
        else:
            fit = choose_projection(
                features,
                labels,
                train=kept.rows("train"),
                validation=kept.rows("validation"),
                recipe=ProjectionRecipe(components=COMPONENTS, whiten=(whiten,), raw=False),
                queries=QUERIES,
                by="precision_at_15",
                seed=seed,
                step=lambda: None,
            ).fit
        vectors = project(fit.arrays, features)
        found = evaluate(vectors, labels, kept.rows("test"), queries=QUERIES).metrics
        cells = [found[f"{gallery}_{figure}"] for gallery in ("test", "unseen") for figure in FIGURES]
        if shown is not None and shown_labels is not None:
            street = measure(project(fit.arrays, shown), vectors, equal_labels(shown_labels, labels))
            cells += list(street.means().values())
        rows_found.append(f"{way} | {len(fit.arrays.components)} | " + " | ".join(f"{cell:.3f}" for cell in cells))
    return rows_found


@dataclass(frozen=True, slots=True)
class FeatureExtractor:
    """A release's network with its preprocessing."""

    network: ReleaseNetwork
    rules: Preprocessing
    batch: int

    def features(self, catalog: Catalog, products: Sequence[Product]) -> tuple[Vectors, Rows]:
        """(N, raw_dim) float32 of the products whose picture could be read, and their row numbers."""
        with tempfile.TemporaryDirectory(prefix="vitrine-pixels-") as folder:
            return self._embedded(catalog, products, Path(folder), raw=True)

    def vectors(self, catalog: Catalog, products: Sequence[Product], folder: Path) -> tuple[Vectors, Rows]:
        """(N, dim) float32 likewise. The decoded pictures are kept in `folder`."""
        return self._embedded(catalog, products, folder, raw=False)

    def _embedded(
        self, catalog: Catalog, products: Sequence[Product], folder: Path, *, raw: bool
    ) -> tuple[Vectors, Rows]:
        cache = cached_pixels(products, catalog.root, self.rules, folder=folder, step=lambda _: None)
        every = np.arange(len(cache.rows), dtype=np.int64)
        return embed_pixels(self.network, cache.pixels, every, raw=raw, batch=self.batch), cache.rows


if __name__ == "__main__":
    sys.exit(main())
