"""Garments cut out of a catalogue's white and of who wears them, and what is put behind them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trainer.augmentation.background import Backgrounds
from trainer.augmentation.pipeline import Augmenter
from trainer.augmentation.segmentation import foreground_mask, skinless_mask
from trainer.data.loader import BatchLoader
from trainer.data.mask_cache import compute_masks
from trainer.seeds import generator
from vitrine.recipes import AugmentRecipe


def test_the_mask_keeps_the_garment_and_gives_up_the_white_around_it() -> None:
    picture = np.full((40, 30, 3), 255, dtype=np.uint8)
    picture[10:30, 8:22] = (200, 30, 30)
    picture[15:20, 12:17] = 255  # white inside the garment
    mask = foreground_mask(picture)
    assert mask[20, 15] == 255
    assert mask[17, 14] == 255, "white inside stays"
    assert mask[2, 2] == 0
    assert mask[38, 28] == 0


def test_a_background_takes_the_place_of_the_white() -> None:
    picture = np.full((1, 64, 48, 3), 255, dtype=np.uint8)
    picture[:, 20:44, 16:32] = (10, 20, 30)
    planes = torch.from_numpy(picture).permute(0, 3, 1, 2)
    mask = torch.from_numpy(foreground_mask(picture[0]))[None, None]
    changed = [
        Augmenter(AugmentRecipe(background=1.0), 64, 48, seed=0)(planes, mask, generator(number)) for number in range(8)
    ]
    assert all(one[0, :, 32, 24].tolist() == [10, 20, 30] for one in changed)
    assert sum(one[0, :, 4, 4].tolist() == [255, 255, 255] for one in changed) <= 1
    assert len({tuple(one[0, :, 4, 4].tolist()) for one in changed}) > 4


def test_a_share_of_the_backgrounds_are_corners_of_other_pictures() -> None:
    green = np.zeros((3, 32, 24, 3), dtype=np.uint8)
    green[..., 1] = 201
    bank = Backgrounds(32, 24, seed=3, pictures=green, share=0.5)
    chance = generator(4)
    pieces = [bank.on_host(bank.draw(chance)) for _ in range(200)]
    assert {piece.shape for piece in pieces} == {(32, 24, 3)}
    taken = sum(bool((piece == (0, 201, 0)).all()) for piece in pieces)
    assert 70 < taken < 130
    drawn_only = Backgrounds(32, 24, seed=3, pictures=green[:0], share=1.0)
    assert not (drawn_only.on_host(drawn_only.draw(generator(5))) == (0, 201, 0)).all()


def worn(garment: tuple[int, int, int]) -> np.ndarray:
    """A garment on somebody with black hair, bare arms and dark shoes, before white."""
    picture = np.full((96, 72, 3), 255, dtype=np.uint8)
    skin = (205, 150, 125)
    picture[6:18, 28:44] = (20, 18, 18)
    picture[10:26, 31:41] = skin
    picture[24:64, 24:48] = garment
    picture[26:60, 16:24] = skin
    picture[26:60, 48:56] = skin
    picture[64:86, 26:46] = skin
    picture[86:92, 26:46] = (30, 25, 25)
    return picture


def test_the_bare_mask_keeps_the_garment_and_gives_up_skin_hair_and_shoes() -> None:
    picture = worn((30, 60, 160))
    mask = skinless_mask(picture, foreground_mask(picture))
    assert mask[44, 36] == 255
    for down, across, what in ((18, 36, "face"), (40, 19, "arm"), (75, 36, "leg"), (8, 30, "hair"), (89, 36, "shoes")):
        assert mask[down, across] == 0, what


@pytest.mark.parametrize("garment", [(205, 150, 125), (215, 165, 140)])
def test_a_garment_of_skins_own_colour_is_left_as_it_is_worn(garment: tuple[int, int, int]) -> None:
    picture = worn(garment)
    whole_mask = foreground_mask(picture)
    assert np.array_equal(skinless_mask(picture, whole_mask), whole_mask)


def test_a_garment_that_nobody_wears_has_one_mask() -> None:
    picture = np.full((64, 48, 3), 255, dtype=np.uint8)
    picture[20:44, 16:32] = (10, 20, 30)
    mask = foreground_mask(picture)
    assert np.array_equal(skinless_mask(picture, mask), mask)
    nothing = np.full((64, 48, 3), 255, dtype=np.uint8)
    assert not skinless_mask(nothing, foreground_mask(nothing)).any()


def test_undressed_pictures_come_as_often_as_the_recipe_says() -> None:
    pixels = worn((30, 60, 160))[None]
    rules = AugmentRecipe(background=1.0, undress=0.5)
    loader = BatchLoader(np.repeat(pixels, 64, axis=0), Augmenter(rules, 96, 72, seed=0), torch.device("cpu"), seed=1)
    (batch,) = loader.epoch([np.arange(64)], 0)
    with_skin = (batch.pixels[:, 40, 19] == torch.tensor(worn((30, 60, 160))[40, 19])).all(dim=1)
    assert 16 < int(with_skin.sum()) < 48
    assert (batch.pixels[:, 44, 36] == torch.tensor([30, 60, 160], dtype=torch.uint8)).all(), "the garment is there"


def test_a_garment_alone_stands_on_white_without_its_wearer() -> None:
    picture = worn((30, 60, 160))
    planes = torch.from_numpy(picture).permute(2, 0, 1)[None]
    masks = torch.from_numpy(compute_masks(picture[None], 2).found)
    (seen,) = Augmenter(AugmentRecipe(alone=1.0), 96, 72, seed=0)(planes, masks, generator(1))
    blue = (seen[2].int() - seen[0].int()) > 60
    rows, columns = blue.any(dim=1).nonzero().flatten(), blue.any(dim=0).nonzero().flatten()
    assert len(rows) > 72, "it fills the frame"
    assert abs(int(rows[0] + rows[-1]) - 95) <= 4
    assert abs(int(columns[0] + columns[-1]) - 71) <= 4
    corners = seen[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == 255).all()
    skin = (seen[0].int() - seen[2].int()) > 40
    assert not skin.any()


def test_a_garment_alone_has_no_other_background() -> None:
    pixels = np.repeat(worn((30, 60, 160))[None], 64, axis=0)
    rules = AugmentRecipe(background=1.0, alone=0.5)
    loader = BatchLoader(pixels, Augmenter(rules, 96, 72, seed=0), torch.device("cpu"), seed=1)
    (batch,) = loader.epoch([np.arange(64)], 0)
    on_white = (batch.pixels[:, 0, 0] == 255).all(dim=1)
    assert 18 < int(on_white.sum()) < 46


def test_backgrounds_are_the_same_for_the_same_seed() -> None:
    banks = Backgrounds(32, 24, seed=3), Backgrounds(32, 24, seed=3)
    one, two = (bank.on_host(bank.draw(generator(1))) for bank in banks)
    assert np.array_equal(one, two)
