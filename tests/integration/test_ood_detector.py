"""The OOD detector of a release, on drawn samples and garments."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.releases import store_of
from harness.training import drawn_catalog, tiny_recipe, training_run
from trainer.data.dataset import Dataset
from trainer.data.extraction import raw_features
from trainer.evaluation.ood import (
    OodFeatures,
    augmented_features,
    build_ood_detector,
    fit_ood_detector,
    sample_features,
)
from trainer.evaluation.ood_samples import ood_samples
from trainer.settings import Settings
from vitrine.evaluation.calibration import Boundary
from vitrine.images.decode import decode_image
from vitrine.releases import WEIGHTS_FILE
from vitrine.types import Rows, Vectors
from vitrine.vision.backbones import restore_backbone
from vitrine.vision.network import choose_device, load_release
from vitrine.vision.preprocess import Preprocessor
from vitrine_local.bundled import MODEL, bundled_store


def test_the_detector_separates_ood_samples_from_the_catalogues_garments(tmp_path: Path) -> None:
    catalog = drawn_catalog(tmp_path / "shop", count=160)
    recipe = tiny_recipe(optim={"epochs": 2}, projection={"components": [4], "whiten": [False]})
    release_id = training_run(recipe, catalog, tmp_path).run()["release_id"]
    store = store_of(tmp_path / "releases")
    manifest = store.manifest(release_id)
    assert manifest.calibration is not None
    boundary = manifest.calibration.boundary
    assert boundary is not None
    network = load_release(store.local_folder(release_id), manifest, choose_device("cpu", "float32"))
    fit = Preprocessor(manifest.preprocessing).fit
    garments = [decode_image(catalog.picture_path(product).read_bytes()) for product in catalog.products]
    shares = [
        boundary.familiar(network.features(np.stack([fit(one) for one in pictures]))).mean()
        for pictures in (garments, ood_samples(64, seed=1))
    ]
    assert shares[0] > 0.9
    assert shares[1] < 0.8, "even a network of a few thousand weights tells some"


def test_garments_on_other_backgrounds_are_in_distribution_and_noise_is_not(tmp_path: Path) -> None:
    """By the network that comes with Vitrine, which knows garments."""
    catalog = drawn_catalog(tmp_path / "shop", count=240)
    store = bundled_store()
    release_id = next(one for one in store.ids() if one.startswith(f"{MODEL}-"))
    manifest = store.manifest(release_id)
    rules, choice = manifest.preprocessing, choose_device("cpu", "float32")
    settings = Settings(work_dir=tmp_path / "work", trainer_device="cpu", trainer_precision="float32")
    network = restore_backbone(manifest.architecture, store.local_folder(release_id) / WEIGHTS_FILE)
    prepare = Preprocessor(rules)
    pixels = np.stack([prepare(catalog.picture_path(product).read_bytes()) for product in catalog.products])
    features = raw_features(network, rules, pixels, choice, settings)
    train, validation, rest = np.arange(0, 120), np.arange(120, 180), np.arange(180, 240)

    def changed(rows: Rows, seed: int) -> Vectors:
        return augmented_features(network, rules, pixels, rows, choice, settings, seed=seed)

    ood = OodFeatures(sample_features(network, rules, choice, settings), changed(train, 0))
    plane = fit_ood_detector(features, train, validation, ood, seed=0)
    boundary = Boundary(np.array(plane.weights), plane.bias)
    other_noise = np.stack([prepare.fit(one) for one in ood_samples(80, seed=1)])
    assert boundary.familiar(features[rest]).mean() > 0.9
    assert boundary.familiar(changed(rest, 1)).mean() > 0.7
    assert boundary.familiar(raw_features(network, rules, other_noise, choice, settings)).mean() < 0.2
    few = Dataset(tuple(catalog.products[:25]), ("train",) * 20 + ("validation",) * 5)
    assert build_ood_detector(network, rules, pixels, features, few, choice, settings, seed=0) is None
