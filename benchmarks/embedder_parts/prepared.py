"""What the benchmark needs before it measures: pictures, and a release of each network. By default the weights are
random, because the speed of a network does not depend on them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.pictures import SEED, pictures_below, sample
from vitrine.architectures import OptionValue
from vitrine.releases import ReleaseStore
from vitrine.vision.backbones import load_backbone
from vitrine.vision.extract import extract
from vitrine.vision.models import model_entry, resolve_options
from vitrine.vision.network import DeviceChoice, ReleaseNetwork, load_release
from vitrine.vision.pca import fit_projection
from vitrine.vision.preprocess import Preprocessor
from vitrine.vision.release_builder import fitted_on, make_release
from vitrine_local.demo_catalog.generate import generate_catalog

RANDOM_WEIGHTS: Final = "seed:0"
_MOST_COMPONENTS: Final = 128
_FITTED_ON_MOST: Final = 256
_FITTING_BATCH: Final = 16


@dataclass(frozen=True, slots=True)
class Weights:
    """The source of a network's weights, and the options they need."""

    source: str = RANDOM_WEIGHTS
    options: Mapping[str, OptionValue] = field(default_factory=dict)

    @property
    def are_random(self) -> bool:
        return self.source.startswith("seed:")


@dataclass(frozen=True, slots=True)
class StoredRelease:
    """A release in a store, as every measured process loads it."""

    store_url: str
    cache_dir: str
    release_id: str

    def load(self, choice: DeviceChoice) -> tuple[ReleaseNetwork, Preprocessor]:
        store = ReleaseStore(self.store_url, cache_dir=Path(self.cache_dir))
        manifest = store.manifest(self.release_id)
        network = load_release(store.local_folder(self.release_id), manifest, choice)
        return network, Preprocessor(manifest.preprocessing)


def weights_of(texts: Iterable[str]) -> dict[str, Weights]:
    """`MODEL=SOURCE,option=value,...` for each model. The source is a file, `seed:N` or `pretrained`."""
    weights = {}
    for text in texts:
        model, _, rest = text.partition("=")
        source, *pairs = rest.split(",")
        if not model or not source or not all("=" in pair for pair in pairs):
            raise SystemExit(f"--weights must be MODEL=FILE,option=value,..., not {text!r}")
        weights[model] = Weights(source, dict(pair.split("=", 1) for pair in pairs))
    return weights


def choose_pictures(folder: Path | None, *, count: int, aside: Path) -> list[Path]:
    """`count` pictures from below `folder`, the same in every run. If `folder` is None they are drawn, in `aside`."""
    if folder is None:
        folder = aside / "catalogue"
        generate_catalog(folder, count=count, seed=SEED)
    return sample(pictures_below(folder.resolve()), count)


def make_stored(
    folder: Path, model: str, weights: Weights, pictures: list[Path], choice: DeviceChoice
) -> StoredRelease:
    """Make a release of `model` in the store at `folder`, with a PCA fitted on some of the pictures."""
    entry = model_entry(model)
    options = resolve_options(entry, weights.options)
    backbone = load_backbone(entry, weights=weights.source, options=options.architecture)
    network = ReleaseNetwork(backbone.network, options.preprocessing, projection=None, choice=choice)
    chosen = pictures[:_FITTED_ON_MOST]
    features = np.concatenate(
        [
            part.rows
            for part in extract(_readers(chosen), network, Preprocessor(options.preprocessing), batch=_FITTING_BATCH)
        ]
    )
    fit = fit_projection(features, components=min(_MOST_COMPONENTS, *features.shape), whiten=False, seed=0)
    stored = StoredRelease(f"file:{folder}", str(folder.with_name("release-cache")), "")
    store = ReleaseStore(stored.store_url, cache_dir=Path(stored.cache_dir))
    # The backbone above was moved to the device and its precision. The release needs the original weights.
    fresh = load_backbone(entry, weights=weights.source, options=options.architecture)
    release_id = make_release(
        store,
        entry.name,
        fresh,
        fit,
        rules=options.preprocessing,
        trained_on=fitted_on("benchmark", [path.stem for path in chosen], part="all", seed=0),
        whiten=False,
        random_state=0,
    )
    return StoredRelease(stored.store_url, stored.cache_dir, release_id)


def _readers(paths: list[Path]) -> Iterator[tuple[str, partial[bytes]]]:
    for path in paths:
        yield path.stem, partial(path.read_bytes)
