"""How well do releases find? Each is measured on the same parts of one catalogue, and by photographs if there are any.

For every release its features are projected in several ways; for each way of whitening the number of components that
does best on validation queries (validation and train part as gallery) is taken, and reported on the test part: 600
queries against every product, the query left out; every test product against the test part alone, as a shop would see
it whose products are all new; and photographs, which nothing was chosen or trained on, against every product.

    python benchmarks/retrieval.py --root PATH --store URL [--subset fashion-22] [--photographs PATH] \\
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

from trainer.data.dataset import UNKNOWN, Codes, Dataset, Rows, build_dataset, classes_of, combination
from trainer.data.extraction import embed_pixels, extraction_batch
from trainer.data.pixel_cache import cached_pixels
from trainer.evaluation.pca_search import choose_projection, identity_fit
from trainer.evaluation.strictness import split_of
from trainer.settings import Settings
from trainer.training.validation import evaluate
from vitrine.catalogs import Catalog, read_catalog
from vitrine.catalogs.registry import reader_for
from vitrine.evaluation import equal_labels, measure
from vitrine.products import Product
from vitrine.recipes import DataRecipe, ProjectionRecipe
from vitrine.releases import Preprocessing, ReleaseStore
from vitrine.settings import load_settings
from vitrine.types import Vectors
from vitrine.vision.network import ReleaseNetwork, choose_device, load_release
from vitrine.vision.pca import project

QUERIES = 600
COMPONENTS = (20, 32, 64, 128, 256)
FIGURES = ("mean_average_precision", "precision_at_15")
# How the features are projected, and whether that whitens; None: not at all.
WAYS = {"not whitened": False, "whitened": True, "the feature itself": None}


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What every release is measured on. `photographs` have a class of the catalogue's each, or are left out."""

    catalog: Catalog
    examples: Dataset
    relevance: Codes
    photographs: Catalog | None
    shown: tuple[Product, ...]
    shown_relevance: Codes | None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("releases", nargs="+", metavar="RELEASE", help="a release's id, or NAME=ID to call it NAME")
    parser.add_argument("--root", type=Path, required=True, help="the catalogue's folder")
    parser.add_argument("--dataset", default="fashion-product")
    parser.add_argument("--store", default="file:.vitrine/releases", help="where the releases lie")
    parser.add_argument("--subset", help="a named selection, e.g. fashion-22")
    parser.add_argument("--relevance", default="articleType", help="attributes that relevant products share, by commas")
    parser.add_argument("--photographs", type=Path, help="a folder catalogue of photographs with the same attributes")
    parser.add_argument("--seed", type=int, default=0, help="of the split, where no release has one (default: 0)")
    parser.add_argument("--limit", type=int, help="only so many products")
    arguments = parser.parse_args()
    attributes = tuple(arguments.relevance.split(","))
    material = gather(arguments, attributes)
    counted = f"{len(material.examples):,} products, {len(material.shown):,} photographs"
    print(f"{counted}; relevant: {' + '.join(attributes)}\n")
    heads = ["release", "projection", "n", "mAP", "P@15", "mAP, unseen", "P@15, unseen"]
    if material.shown:
        heads += ["mAP, photographs", "P@15, photographs"]
    print(f"| {' | '.join(heads)} |\n|---|---|{'---:|' * (len(heads) - 2)}")
    store = ReleaseStore(arguments.store, cache_dir=Path(".vitrine/cache/releases"))
    for named in arguments.releases:
        name, _, release_id = named.rpartition("=")
        for row in rows_of(release_id, store, material, seed=arguments.seed):
            print(f"| {name or release_id} | {row} |", flush=True)
    return 0


def gather(arguments: argparse.Namespace, attributes: Sequence[str]) -> TrainingData:
    reader = reader_for(arguments.dataset)
    catalog = read_catalog(reader, arguments.root, dataset=arguments.dataset, limit=arguments.limit)
    store = ReleaseStore(arguments.store, cache_dir=Path(".vitrine/cache/releases"))
    lineage = split_of([named.rpartition("=")[2] for named in arguments.releases], catalog.dataset, store)
    examples = build_dataset(
        catalog.products, DataRecipe(subset=arguments.subset), seed=arguments.seed, lineage=lineage
    )
    classes = classes_of(examples, attributes)
    relevance = classes.codes[:, None]
    if arguments.photographs is None:
        return TrainingData(catalog, examples, relevance, None, (), None)
    photographs = read_catalog("folder", arguments.photographs, dataset="photographs")
    code_of = {name: code for code, name in enumerate(classes.names)}
    codes = [code_of.get(combination(one, attributes) or "", UNKNOWN) for one in photographs.products]
    shown = [(one, code) for one, code in zip(photographs.products, codes, strict=True) if code != UNKNOWN]
    return TrainingData(
        catalog,
        examples,
        relevance,
        photographs,
        tuple(one for one, _ in shown),
        np.array([code for _, code in shown], dtype=np.int64)[:, None],
    )


def rows_of(release_id: str, store: ReleaseStore, material: TrainingData, *, seed: int) -> list[str]:
    """One row for each way of projecting."""
    manifest = store.manifest(release_id)
    settings = load_settings(Settings)
    choice = choose_device(settings.trainer_device, settings.trainer_precision)
    network = load_release(store.local_folder(release_id), manifest, choice)
    look = Look(network, manifest.preprocessing, extraction_batch(settings, choice))
    features, rows = look.features(material.catalog, material.examples.products)
    kept, labels = material.examples.keep(rows), material.relevance[rows]
    shown, shown_labels = None, None
    if material.photographs is not None and material.shown_relevance is not None:
        shown, seen = look.features(material.photographs, material.shown)
        shown_labels = material.shown_relevance[seen]
    told = []
    for way, whiten in WAYS.items():
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
        told.append(f"{way} | {len(fit.arrays.components)} | " + " | ".join(f"{cell:.3f}" for cell in cells))
    return told


@dataclass(frozen=True, slots=True)
class Look:
    """A release's network, and how pictures are brought before it."""

    network: ReleaseNetwork
    rules: Preprocessing
    batch: int

    def features(self, catalog: Catalog, products: Sequence[Product]) -> tuple[Vectors, Rows]:
        """(N, raw_dim) float32 of the products that could be read, and which those are."""
        with tempfile.TemporaryDirectory(prefix="vitrine-pixels-") as folder:
            cache = cached_pixels(products, catalog.root, self.rules, folder=Path(folder), step=lambda _: None)
            every = np.arange(len(cache.rows), dtype=np.int64)
            return embed_pixels(self.network, cache.pixels, every, raw=True, batch=self.batch), cache.rows


if __name__ == "__main__":
    sys.exit(main())
