"""Street garments as queries against a whole catalogue, for releases and a parser.

The queries are the garments of the held-out outlined photographs that cover 1 % of their photograph or more. A match
is right if its article type is one that the garment's label may be (`vitrine.garments`). Each garment is searched cut
out by its true outline, cut out as the parser finds it in the whole photograph (a garment that is not found counts as
0), and as a box with its background; against all products, and against those that the search API's filter for its kind
keeps.

    python -m benchmarks.people --root PATH --street PATH --store URL [--parser ID] [--sharp PATH] [--work PATH] \\
        [NAME=]RELEASE [...]

`--sharp` is a folder of larger pictures, `images/<id>.jpg`, of some of the products: the gallery is searched with and
without them. `--work` keeps decoded pictures and vectors of the gallery for another run.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from benchmarks.retrieval import FeatureExtractor
from benchmarks.tables import head, row
from trainer.augmentation.street import MARGIN
from trainer.data.extraction import embed_pixels, extraction_batch
from trainer.data.street import StreetGarment, street_garments, values_of_label
from trainer.settings import Settings
from vitrine.catalogs import Catalog, read_catalog
from vitrine.catalogs.registry import reader_for
from vitrine.catalogs.street_photographs import StreetPhotographs, read_street_photographs
from vitrine.evaluation import top_k
from vitrine.evaluation.statistics import bootstrap_interval
from vitrine.garments import kind_of_label
from vitrine.images.cutout import cut_out_garment
from vitrine.images.garment_masks import Garment
from vitrine.products import Product
from vitrine.releases import ReleaseStore
from vitrine.settings import load_settings
from vitrine.telemetry import configure_logging
from vitrine.types import Flags, Pixels, Rows, Values, Vectors
from vitrine.vision.cut_out import GarmentCutter
from vitrine.vision.network import DeviceChoice, ReleaseNetwork, choose_device, load_release
from vitrine.vision.preprocess import Preprocessor

LEAST_SHARE: Final = 0.01
MATCHES: Final = 15
# A garment counts as found if the parser's mask of its kind overlaps its outline by this share of their union.
_LEAST_OVERLAP: Final = 0.25


@dataclass(frozen=True, slots=True)
class Query:
    """A garment of a held-out photograph, and how it is shown: a picture per way, None if it was not found."""

    label: str
    shown: Mapping[str, Image.Image | None]


@dataclass(frozen=True, slots=True)
class Gallery:
    """The products with a readable picture and their vectors (N, D) of length 1."""

    products: tuple[Product, ...]
    vectors: Vectors

    def of_kind(self, label: str) -> Rows:
        """The rows that the filter of the label's kind keeps."""
        fields = kind_of_label(label).fields
        kept = [all(one.attributes.get(name) in values for name, values in fields.items()) for one in self.products]
        return np.flatnonzero(kept)

    def right(self, label: str) -> Flags:
        """(N,) whether each product is of an article type that the label may be."""
        types = values_of_label(label, "articleType")
        return np.array([one.attributes.get("articleType") in types for one in self.products], dtype=np.bool_)


def main() -> int:
    configure_logging(service="benchmark")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("releases", nargs="+", metavar="RELEASE", help="a release's id, or NAME=ID to call it NAME")
    parser.add_argument("--root", type=Path, required=True, help="the catalogue's folder")
    parser.add_argument("--dataset", default="fashion-product")
    parser.add_argument("--street", type=Path, required=True, help="the folder of outlined photographs")
    parser.add_argument("--store", default="file:.vitrine/releases", help="URL of the release store")
    parser.add_argument("--parser", help="a parser's release id: garments are searched as it finds them too")
    parser.add_argument("--sharp", type=Path, help="a folder with larger pictures of some products")
    parser.add_argument("--work", type=Path, default=Path(".vitrine/people"), help="folder for decoded pictures")
    parser.add_argument("--limit", type=int, help="only so many products")
    parser.add_argument("--labels", action="store_true", help="one row for each street label too")
    arguments = parser.parse_args()
    catalog = read_catalog(
        reader_for(arguments.dataset), arguments.root, dataset=arguments.dataset, limit=arguments.limit
    )
    store = ReleaseStore(arguments.store, cache_dir=arguments.work / "releases")
    settings = load_settings(Settings)
    choice = choose_device(settings.trainer_device, settings.trainer_precision)
    cutter = None if arguments.parser is None else GarmentCutter.load(store, arguments.parser, choice)
    queries = queries_of(read_street_photographs(arguments.street), cutter)
    print(f"{len(queries)} street garments, {len(catalog.products):,} products; P@{MATCHES}\n")
    print(head("release", "gallery", "shown", "of all", "95 %", "of its kind", "95 %", text_columns=3))
    for named in arguments.releases:
        name, _, release_id = named.rpartition("=")
        embedder = Embedder(store, release_id, settings, choice)
        for which, gallery in galleries(catalog, arguments.sharp, embedder, arguments.work):
            for way in queries[0].shown:
                values = precisions(queries, way, gallery, embedder)
                print(row(name or release_id, which, way, *_cells(values)), flush=True)
                if arguments.labels:
                    _print_labels(name or release_id, which, way, queries, values)
    return 0


class Embedder:
    """A release's network with its preprocessing."""

    def __init__(self, store: ReleaseStore, release_id: str, settings: Settings, choice: DeviceChoice) -> None:
        manifest = store.manifest(release_id)
        self.release_id = release_id
        self._network: ReleaseNetwork = load_release(store.local_folder(release_id), manifest, choice)
        self._preprocessor = Preprocessor(manifest.preprocessing)
        self._batch = extraction_batch(settings, choice)
        self._extractor = FeatureExtractor(self._network, manifest.preprocessing, self._batch)

    def products(self, catalog: Catalog, folder: Path) -> Gallery:
        """The vectors of the products whose picture could be read."""
        vectors, rows = self._extractor.vectors(catalog, catalog.products, folder)
        return Gallery(tuple(catalog.products[at] for at in rows), vectors)

    def pictures(self, images: Sequence[Image.Image]) -> Vectors:
        """(len(images), D)."""
        pixels: Pixels = np.stack([self._preprocessor.fit(image) for image in images])
        return embed_pixels(self._network, pixels, np.arange(len(pixels)), raw=False, batch=self._batch)


def queries_of(photographs: StreetPhotographs, cutter: GarmentCutter | None) -> list[Query]:
    """The garments of the held-out photographs, shown in each way."""
    queries = []
    for name in sorted(photographs.held_out):
        photograph = Image.fromarray(photographs.photograph(name))
        found = () if cutter is None else cutter.garments(photograph)
        for garment in street_garments(photographs, (name,), least_share=LEAST_SHARE):
            shown: dict[str, Image.Image | None] = {
                "true outline": _framed(garment, cut=True),
                "box": _framed(garment, cut=False),
            }
            if cutter is not None:
                match = _found(garment, photographs, found)
                shown["as the parser finds it"] = None if match is None else cut_out_garment(photograph, match)
            queries.append(Query(garment.label, shown))
    return queries


def _framed(garment: StreetGarment, *, cut: bool) -> Image.Image:
    """The garment in its box with a margin, on white if it is cut out."""
    mask = garment.mask[..., None]
    pixels = np.where(mask, garment.pixels, np.uint8(255)) if cut else garment.pixels
    rows, columns = np.flatnonzero(garment.mask.any(axis=1)), np.flatnonzero(garment.mask.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    margin = round(MARGIN * max(bottom - top, right - left))
    part = np.s_[max(0, top - margin) : bottom + margin, max(0, left - margin) : right + margin]
    image = Image.fromarray(np.ascontiguousarray(pixels[part]))
    # The rest of a 3:4 picture is white, as in the catalogue: a network that stretches its input would distort it.
    height = max(image.height, round(image.width * 4 / 3))
    frame = Image.new("RGB", (max(image.width, round(height * 3 / 4)), height), (255, 255, 255))
    frame.paste(image, ((frame.width - image.width) // 2, (frame.height - image.height) // 2))
    return frame


def _found(garment: StreetGarment, photographs: StreetPhotographs, found: Iterable[Garment]) -> Garment | None:
    """The parser's garment of the same kind that overlaps the outline most, if it overlaps enough."""
    outline = photographs.mask(garment.photograph) == photographs.labels.index(garment.label)
    kind, best, best_overlap = kind_of_label(garment.label), None, _LEAST_OVERLAP
    for one in found:
        size = (one.mask.shape[1], one.mask.shape[0])
        reduced = np.asarray(Image.fromarray(outline).resize(size, Image.Resampling.NEAREST))
        union = (reduced | (one.mask > 0)).sum()
        overlap = (reduced & (one.mask > 0)).sum() / max(1, union)
        if one.kind == kind and overlap >= best_overlap:
            best, best_overlap = one, overlap
    return best


def galleries(catalog: Catalog, sharp: Path | None, embedder: Embedder, work: Path) -> Iterable[tuple[str, Gallery]]:
    """The catalogue's gallery, and the same with larger pictures where there are any."""
    plain = embedder.products(catalog, work)
    yield "as it is", plain
    if sharp is None:
        return
    larger = tuple(one for one in catalog.products if (sharp / "images" / f"{one.id}.jpg").is_file())
    pictures = tuple(replace(one, picture=f"images/{one.id}.jpg") for one in larger)
    detailed = embedder.products(replace(catalog, root=sharp.resolve(), products=pictures), work)
    place = {product.id: at for at, product in enumerate(plain.products)}
    vectors = plain.vectors.copy()
    rows = [(place[product.id], at) for at, product in enumerate(detailed.products) if product.id in place]
    vectors[[at for at, _ in rows]] = detailed.vectors[[at for _, at in rows]]
    yield f"{len(rows):,} sharp", Gallery(plain.products, vectors)


def precisions(queries: Sequence[Query], way: str, gallery: Gallery, embedder: Embedder) -> tuple[Values, Values]:
    """P@15 of each query (Q,), among all products and among those of its kind; 0 if it was not found."""
    shown = [(at, image) for at, query in enumerate(queries) if (image := query.shown[way]) is not None]
    values = np.zeros((2, len(queries)))
    if not shown:
        return values[0], values[1]
    vectors = embedder.pictures([image for _, image in shown])
    by_label: dict[str, list[int]] = defaultdict(list)
    for position, (at, _) in enumerate(shown):
        by_label[queries[at].label].append(position)
    for label, positions in by_label.items():
        right, kept = gallery.right(label), gallery.of_kind(label)
        ats = [shown[position][0] for position in positions]
        for which, rows in enumerate((np.arange(len(right)), kept)):
            if len(rows):
                found, _ = top_k(vectors[positions], gallery.vectors[rows], MATCHES)
                values[which, ats] = (right[rows][found] & (found >= 0)).mean(axis=1)
    return values[0], values[1]


def _cells(values: tuple[Values, Values]) -> list[str]:
    cells = []
    for one in values:
        interval = bootstrap_interval(one)
        cells += [f"{one.mean():.3f}", f"{interval.low:.3f} to {interval.high:.3f}"]
    return cells


def _print_labels(name: str, which: str, way: str, queries: Sequence[Query], values: tuple[Values, Values]) -> None:
    labels = np.array([query.label for query in queries])
    for label in sorted(set(labels.tolist()), key=lambda one: -int((labels == one).sum())):
        mine = labels == label
        means = [f"{one[mine].mean():.2f}" for one in values]
        print(row(name, which, f"{way}: {label} ({mine.sum()})", means[0], "", means[1], ""), flush=True)


if __name__ == "__main__":
    sys.exit(main())
