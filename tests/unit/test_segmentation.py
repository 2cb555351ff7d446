"""Segmentation masks, their cache, and the changes that use them: new backgrounds, skin removal, isolated garments."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from trainer.augmentation.background import Backgrounds
from trainer.augmentation.pipeline import Augmenter
from trainer.augmentation.segmentation import foreground_mask, skinless_mask
from trainer.data.loader import BatchLoader
from trainer.data.mask_cache import cached_masks, compute_masks
from trainer.data.pixel_cache import PixelCache, trim_cache
from trainer.seeds import generator
from vitrine.recipes import AugmentRecipe


def test_the_foreground_mask_excludes_white_connected_to_the_border() -> None:
    image = np.full((40, 30, 3), 255, dtype=np.uint8)
    image[10:30, 8:22] = (200, 30, 30)
    image[15:20, 12:17] = 255  # white inside the garment
    mask = foreground_mask(image)
    assert mask[20, 15] == 255
    assert mask[17, 14] == 255, "white inside is foreground"
    assert mask[2, 2] == 0
    assert mask[38, 28] == 0


def test_a_background_replaces_the_white() -> None:
    image = np.full((1, 64, 48, 3), 255, dtype=np.uint8)
    image[:, 20:44, 16:32] = (10, 20, 30)
    planes = torch.from_numpy(image).permute(0, 3, 1, 2)
    mask = torch.from_numpy(foreground_mask(image[0]))[None, None]
    changed = [
        Augmenter(AugmentRecipe(background=1.0), 64, 48, seed=0)(planes, mask, generator(number)) for number in range(8)
    ]
    assert all(one[0, :, 32, 24].tolist() == [10, 20, 30] for one in changed)
    assert sum(one[0, :, 4, 4].tolist() == [255, 255, 255] for one in changed) <= 1
    assert len({tuple(one[0, :, 4, 4].tolist()) for one in changed}) > 4


def test_a_share_of_the_backgrounds_are_corners_of_other_images() -> None:
    green = np.zeros((3, 32, 24, 3), dtype=np.uint8)
    green[..., 1] = 201
    bank = Backgrounds(32, 24, seed=3, images=green, share=0.5)
    random = generator(4)
    crops = [bank.crop(bank.draw(random)) for _ in range(200)]
    assert {crop.shape for crop in crops} == {(32, 24, 3)}
    taken = sum(bool((crop == (0, 201, 0)).all()) for crop in crops)
    assert 70 < taken < 130
    textures_only = Backgrounds(32, 24, seed=3, images=green[:0], share=1.0)
    assert not (textures_only.crop(textures_only.draw(generator(5))) == (0, 201, 0)).all()


def worn(garment: tuple[int, int, int]) -> np.ndarray:
    """A garment worn by a person with black hair, bare arms and dark shoes, on white."""
    image = np.full((96, 72, 3), 255, dtype=np.uint8)
    skin = (205, 150, 125)
    image[6:18, 28:44] = (20, 18, 18)
    image[10:26, 31:41] = skin
    image[24:64, 24:48] = garment
    image[26:60, 16:24] = skin
    image[26:60, 48:56] = skin
    image[64:86, 26:46] = skin
    image[86:92, 26:46] = (30, 25, 25)
    return image


def test_the_skinless_mask_excludes_skin_hair_and_shoes() -> None:
    image = worn((30, 60, 160))
    mask = skinless_mask(image, foreground_mask(image))
    assert mask[44, 36] == 255
    for y, x, what in ((18, 36, "face"), (40, 19, "arm"), (75, 36, "leg"), (8, 30, "hair"), (89, 36, "shoes")):
        assert mask[y, x] == 0, what


@pytest.mark.parametrize("garment", [(205, 150, 125), (215, 165, 140)])
def test_a_garment_with_the_color_of_skin_keeps_the_foreground_mask(garment: tuple[int, int, int]) -> None:
    image = worn(garment)
    foreground = foreground_mask(image)
    assert np.array_equal(skinless_mask(image, foreground), foreground)


def test_without_a_wearer_both_masks_are_equal() -> None:
    image = np.full((64, 48, 3), 255, dtype=np.uint8)
    image[20:44, 16:32] = (10, 20, 30)
    mask = foreground_mask(image)
    assert np.array_equal(skinless_mask(image, mask), mask)
    empty = np.full((64, 48, 3), 255, dtype=np.uint8)
    assert not skinless_mask(empty, foreground_mask(empty)).any()


def test_skin_is_removed_as_often_as_the_recipe_says() -> None:
    pixels = worn((30, 60, 160))[None]
    rules = AugmentRecipe(background=1.0, undress=0.5)
    loader = BatchLoader(np.repeat(pixels, 64, axis=0), Augmenter(rules, 96, 72, seed=0), torch.device("cpu"), seed=1)
    (batch,) = loader.epoch([np.arange(64)], 0)
    with_skin = (batch.pixels[:, 40, 19] == torch.tensor(worn((30, 60, 160))[40, 19])).all(dim=1)
    assert 16 < int(with_skin.sum()) < 48
    assert (batch.pixels[:, 44, 36] == torch.tensor([30, 60, 160], dtype=torch.uint8)).all(), "the garment is kept"


def test_an_isolated_garment_is_on_white_without_its_wearer() -> None:
    image = worn((30, 60, 160))
    planes = torch.from_numpy(image).permute(2, 0, 1)[None]
    masks = torch.from_numpy(compute_masks(image[None], 2).found)
    (result,) = Augmenter(AugmentRecipe(alone=1.0), 96, 72, seed=0)(planes, masks, generator(1))
    blue = (result[2].int() - result[0].int()) > 60
    rows, columns = blue.any(dim=1).nonzero().flatten(), blue.any(dim=0).nonzero().flatten()
    assert len(rows) > 72, "it fills the frame"
    assert abs(int(rows[0] + rows[-1]) - 95) <= 4
    assert abs(int(columns[0] + columns[-1]) - 71) <= 4
    corners = result[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == 255).all()
    skin = (result[0].int() - result[2].int()) > 40
    assert not skin.any()


def test_an_isolated_garment_keeps_the_white_background() -> None:
    pixels = np.repeat(worn((30, 60, 160))[None], 64, axis=0)
    rules = AugmentRecipe(background=1.0, alone=0.5)
    loader = BatchLoader(pixels, Augmenter(rules, 96, 72, seed=0), torch.device("cpu"), seed=1)
    (batch,) = loader.epoch([np.arange(64)], 0)
    on_white = (batch.pixels[:, 0, 0] == 255).all(dim=1)
    assert 18 < int(on_white.sum()) < 46


def test_backgrounds_are_the_same_for_the_same_seed() -> None:
    banks = Backgrounds(32, 24, seed=3), Backgrounds(32, 24, seed=3)
    one, two = (bank.crop(bank.draw(generator(1))) for bank in banks)
    assert np.array_equal(one, two)


def cache_of(folder: Path, count: int, key: str = "shop") -> PixelCache:
    """Colored boxes of different sizes on white."""
    pixels = np.full((count, 32, 24, 3), 255, dtype=np.uint8)
    for number, picture in enumerate(pixels):
        picture[8 : 12 + number % 12, 6:18] = (20, 30 + number % 100, 160)
    return PixelCache(key, folder, pixels, np.arange(count), ())


def test_masks_are_computed_once_for_the_requested_rows(tmp_path: Path) -> None:
    cache, rows = cache_of(tmp_path, 200), np.arange(0, 200, 2)
    steps: list[tuple[int, int]] = []
    first = cached_masks(cache, rows, 2, step=lambda *done: steps.append(done))
    assert np.array_equal(first.of(rows), compute_masks(cache.pixels[rows], 2).found)
    assert first.of(rows).any(axis=(1, 2, 3)).all()
    assert np.array_equal(first.of(rows[[7, 3]]), first.of(rows)[[7, 3]])
    assert (first.places[1::2] == -1).all()
    assert steps[-1] == (100, 100)
    steps.clear()
    again = cached_masks(cache, rows[::-1], 2, step=lambda *done: steps.append(done))
    assert not steps, "read from the cache"
    assert np.array_equal(first.of(rows), again.of(rows))


def test_other_images_rows_and_counts_have_separate_caches(tmp_path: Path) -> None:
    for cache, rows, count in (
        (cache_of(tmp_path, 8), np.arange(8), 1),
        (cache_of(tmp_path, 8), np.arange(8), 2),
        (cache_of(tmp_path, 8), np.arange(4), 1),
        (cache_of(tmp_path, 8, key="other"), np.arange(8), 1),
    ):
        found = cached_masks(cache, rows, count, step=lambda *_: None)
        assert np.array_equal(found.of(rows), compute_masks(cache.pixels[rows], count).found)
    assert len(list(tmp_path.glob("*.masks"))) == 4


def test_a_stopped_computation_leaves_no_file(tmp_path: Path) -> None:
    def stop(_done: int, _total: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        cached_masks(cache_of(tmp_path, 8), np.arange(8), 1, step=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_file(small_disk: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        cached_masks(cache_of(small_disk, 2000), np.arange(2000), 1, step=lambda *_: None)
    assert list(small_disk.iterdir()) == []


def test_old_masks_are_trimmed_like_old_pixels(tmp_path: Path) -> None:
    cached_masks(cache_of(tmp_path, 8), np.arange(8), 1, step=lambda *_: None)
    (masks,) = tmp_path.iterdir()
    os.utime(masks, (0, 0))
    (tmp_path / "newer.pixels").write_bytes(bytes(10))
    trim_cache(tmp_path, keep_bytes=10)
    assert [path.name for path in tmp_path.iterdir()] == ["newer.pixels"]
