"""Pictures are changed alike where a whole batch is changed by torch and where one after the other is by OpenCV."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from harness.releases import TINY_MODEL
from harness.training import drawn_catalog
from trainer.augmentation.background import Backgrounds
from trainer.augmentation.cpu import augment_pictures
from trainer.augmentation.device import augment_batch
from trainer.augmentation.plan import draw_plan
from trainer.data.mask_cache import compute_masks
from trainer.seeds import generator
from vitrine.images.decode import decode_image
from vitrine.recipes import AugmentRecipe
from vitrine.types import Pixels
from vitrine.vision.models import model_entry, resolve_options
from vitrine.vision.preprocess import Preprocessor

HEIGHT, WIDTH = 64, 48
EVERY: dict[str, Any] = {
    "crop": (0.5, 1.0), "flip": 0.5, "shrink": 0.7, "shift": 0.1, "rotate_degrees": 25, "perspective": 0.2,
    "brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.1, "tint": 0.1, "grey": 0.2, "blur": 0.3,
    "noise": 0.05, "erase": 0.3, "background": 0.5, "undress": 0.5, "alone": 0.3,
}  # fmt: skip


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Pixels:
    catalog = drawn_catalog(tmp_path_factory.mktemp("catalog") / "shop", count=40)
    size = {"input_px": HEIGHT, "input_width_px": WIDTH, "resize_px": HEIGHT}
    fit = Preprocessor(resolve_options(model_entry(TINY_MODEL), size).preprocessing).fit
    return np.stack([fit(decode_image(catalog.picture_path(one).read_bytes())) for one in catalog.products])


def both_ways(pictures: Pixels, recipe: AugmentRecipe) -> tuple[Pixels, Pixels]:
    masks = compute_masks(pictures, 2).found
    backgrounds = Backgrounds(HEIGHT, WIDTH, seed=0) if recipe.background else None
    changes = draw_plan(recipe, HEIGHT, WIDTH, len(pictures), generator(4), backgrounds)
    planes = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    on_device = augment_batch(planes, torch.from_numpy(masks), changes, backgrounds).permute(0, 2, 3, 1).numpy()
    return augment_pictures(pictures, masks, changes, backgrounds), on_device


def apart(one: Pixels, other: Pixels) -> npt.NDArray[np.int64]:
    return np.abs(one.astype(np.int64) - other.astype(np.int64))


@pytest.mark.parametrize(
    "names",
    [
        ["crop"], ["flip"], ["rotate_degrees", "shrink", "shift"], ["perspective"], ["brightness"], ["contrast"],
        ["saturation", "hue", "tint", "grey"], ["blur"], ["noise"], ["erase"], ["background"],
        ["background", "undress"], ["alone"], list(EVERY),
    ],
    ids="+".join,
)  # fmt: skip
def test_a_picture_is_changed_alike_on_the_host_and_on_a_device(pictures: Pixels, names: list[str]) -> None:
    recipe = AugmentRecipe.model_validate({name: EVERY[name] for name in names})
    host, device = both_ways(pictures, recipe)
    assert (host != pictures).any(), "something is changed"
    assert apart(host, device).mean() < 0.5
    # Along the edges of cuts and frames a pixel may fall to either side.
    assert (apart(host, device) > 12).mean() < 0.01


def test_nothing_that_is_put_behind_a_garment_leaves_a_speck(pictures: Pixels) -> None:
    """What a picture lacks of white and what is put behind it come to no more than all, however they are rounded."""
    host, device = both_ways(pictures, AugmentRecipe(background=1.0))
    assert apart(host, device).max() <= 2
