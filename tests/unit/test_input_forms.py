"""Inputs that are not square: which part of a picture the network uses, and stable ids of older releases."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from vitrine.errors import ParameterInvalid
from vitrine.releases import Manifest, Preprocessing
from vitrine.vision.models import model_entry, resolve_options
from vitrine.vision.preprocess import Preprocessor

GREY = (0.5, 0.5, 0.5)


def rules(**fields: object) -> Preprocessing:
    whole = {
        "input_px": 64, "resize_px": 64, "interpolation": "bilinear", "mean": GREY, "std": GREY,
        "decode_rules_version": 1,
    }  # fmt: skip
    return Preprocessing.model_validate({**whole, **fields})


def marked(width: int, height: int) -> Image.Image:
    """A grey picture with borders of a tenth on each side: red left, green above, blue right, white below."""
    picture = np.full((height, width, 3), 128, dtype=np.uint8)
    across, down = width // 10, height // 10
    picture[:, :across] = (255, 0, 0)
    picture[:down, across:-across] = (0, 255, 0)
    picture[:, -across:] = (0, 0, 255)
    picture[-down:, across:-across] = (255, 255, 255)
    return Image.fromarray(picture)


def test_a_picture_with_the_aspect_ratio_of_the_input_is_used_whole() -> None:
    seen = Preprocessor(rules(input_px=128, input_width_px=96, resize_px=128)).fit(marked(60, 80))
    assert seen.shape == (128, 96, 3)
    assert seen[64, 0, 0] > 200
    assert seen[64, -1, 2] > 200
    assert seen[0, 48, 1] > 200
    assert seen[-1, 48].min() > 200


def test_a_wider_picture_loses_its_sides_in_a_center_crop() -> None:
    seen = Preprocessor(rules(input_px=128, input_width_px=96, resize_px=128)).fit(marked(160, 80))
    assert seen[64, 0].tolist() == [128, 128, 128]
    assert seen[0, 48, 1] > 200


def test_a_padded_picture_is_whole_on_a_white_background() -> None:
    seen = Preprocessor(rules(input_px=128, input_width_px=96, resize_px=128, fit="pad")).fit(marked(160, 80))
    assert seen[0, 48].tolist() == [255, 255, 255]
    assert seen[64, 1, 0] > 200
    assert seen[64, -2, 2] > 200


def test_a_stretched_picture_is_whole_but_distorted() -> None:
    seen = Preprocessor(rules(input_px=64, input_width_px=48, fit="stretch")).fit(marked(200, 80))
    assert seen[32, 0, 0] > 200
    assert seen[32, -1, 2] > 200
    assert seen[0, 24, 1] > 200


def test_a_sharp_picture_is_reduced_to_the_detail_of_detail_px() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (256, 192, 3), dtype=np.uint8)
    sharp = Preprocessor(rules(input_px=128, input_width_px=96, resize_px=128)).fit(Image.fromarray(noise))
    coarse = Preprocessor(rules(input_px=128, input_width_px=96, resize_px=128, detail_px=32)).fit(
        Image.fromarray(noise)
    )
    assert coarse.shape == sharp.shape
    assert np.abs(np.diff(coarse.astype(int), axis=1)).mean() < 0.5 * np.abs(np.diff(sharp.astype(int), axis=1)).mean()


def test_a_catalogue_picture_of_that_height_keeps_its_detail() -> None:
    own = marked(60, 80)
    plain = Preprocessor(rules(input_px=80, input_width_px=60, resize_px=80)).fit(own)
    detailed = Preprocessor(rules(input_px=80, input_width_px=60, resize_px=80, detail_px=80)).fit(own)
    assert np.array_equal(plain, detailed)
    assert np.array_equal(plain, np.asarray(own))


def test_a_square_input_is_cropped_as_before() -> None:
    seen = Preprocessor(rules(input_px=64, resize_px=80)).fit(marked(200, 100))
    assert seen.shape == (64, 64, 3)
    assert seen[32, 0].tolist() == [128, 128, 128]


def test_valid_input_options_are_accepted() -> None:
    options = resolve_options(
        model_entry("mobilenetv2_100"), {"input_px": 128, "input_width_px": 96, "resize_px": 128, "fit": "pad"}
    )
    assert (options.preprocessing.height_px, options.preprocessing.width_px) == (128, 96)
    assert options.architecture == {}


@pytest.mark.parametrize("option", [{"fit": "squeeze"}, {"input_width_px": 3}, {"detail_px": "fine"}])
def test_an_impossible_input_shape_is_refused(option: dict[str, str | int]) -> None:
    with pytest.raises(ParameterInvalid, match=next(iter(option))):
        resolve_options(model_entry("mobilenetv2_100"), option)


def test_a_release_without_the_newer_fields_omits_them() -> None:
    digest = "0" * 64
    manifest = Manifest.model_validate(
        {
            "model": "m",
            "architecture": {"timm_name": "t", "raw_dim": 8},
            "weights": {"source": "seed:0", "sha256": digest, "size_bytes": 1},
            "preprocessing": rules().model_dump(),
            "projection": {
                "components": 4, "whiten": False, "solver": "s", "random_state": 0, "explained_variance": 0.5,
                "sha256": digest,
                "fitted_on": {"dataset": "d", "part": "all", "seed": 0, "count": 9, "ids_sha256": digest},
            },
        }
    )  # fmt: skip
    written = json.loads(manifest.canonical_json())
    assert set(written["preprocessing"]) == {
        "input_px", "resize_px", "interpolation", "mean", "std", "decode_rules_version"
    }  # fmt: skip
    assert set(written["architecture"]) == {"timm_name", "options", "cut", "raw_dim"}
    assert "classifier_sha256" not in written
    # The id of this manifest before those fields existed.
    assert manifest.release_id == "m-8db6e6ee84"
    assert Manifest.parse(manifest.canonical_json(), release_id=manifest.release_id) == manifest
