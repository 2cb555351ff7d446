"""A release that was trained tells pictures that show nothing from those of its catalogue."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.releases import store_of
from harness.training import drawn_catalog, tiny_recipe, training_run
from trainer.evaluation.nothing import pictures_of_nothing
from vitrine.images import decode_image
from vitrine.vision.network import choose_device, load_release
from vitrine.vision.preprocess import Preprocessor


def test_drawn_pictures_of_nothing_are_told_from_the_catalogues_garments(tmp_path: Path) -> None:
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
        for pictures in (garments, pictures_of_nothing(64, seed=1))
    ]
    assert shares[0] > 0.9
    assert shares[1] < 0.5
