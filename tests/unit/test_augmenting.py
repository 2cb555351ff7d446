"""Pictures warp, apply_color and put on backgrounds, beside what torchvision and plain programs make of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from trainer.augmentation.color import apply_color, draw_color_matrices
from trainer.augmentation.corruption import apply_corruption, blurred, draw_corruption
from trainer.augmentation.geometry import Warps, draw_warps, garment_frames, warp
from trainer.augmentation.pipeline import Augmenter
from trainer.augmentation.segmentation import foreground_mask
from trainer.seeds import generator
from vitrine.recipes import AugmentRecipe

HEIGHT, WIDTH = 48, 32


def blobs(count: int = 3) -> torch.Tensor:
    """(count, 3, HEIGHT, WIDTH) float32 of 0..255: smooth spots on 0, so that no two ways of sampling part much."""
    chance = np.random.default_rng(7)
    down, across = np.mgrid[0:HEIGHT, 0:WIDTH]
    planes = np.zeros((count, 3, HEIGHT, WIDTH), dtype=np.float32)
    for number in range(count):
        for plane in range(3):
            y, x = chance.uniform(16, 32), chance.uniform(12, 20)
            planes[number, plane] = 255 * np.exp(-((down - y) ** 2 + (across - x) ** 2) / 30)
    return torch.from_numpy(planes)


def test_moves_that_move_nothing_leave_the_picture() -> None:
    pictures = blobs()
    seen = warp(pictures, draw_warps(AugmentRecipe(), HEIGHT, WIDTH, 3, generator(1)))
    assert torch.allclose(seen, pictures, atol=1e-2)


def test_a_mirrored_picture_is_the_picture_mirrored() -> None:
    pictures = blobs()
    seen = warp(pictures, draw_warps(AugmentRecipe(flip=1.0), HEIGHT, WIDTH, 3, generator(1)))
    assert torch.allclose(seen, pictures.flip(3), atol=1e-2)


def test_a_turned_shrunk_and_moved_picture_is_torchvisions() -> None:
    """The amounts are read off the map, and torchvision is asked for the same."""
    recipe = AugmentRecipe(rotate_degrees=30, shrink=0.7, shift=0.1)
    moves = draw_warps(recipe, HEIGHT, WIDTH, 3, generator(4))
    half = np.diag([WIDTH / 2, HEIGHT / 2, 1.0])
    for picture, one, map_ in zip(blobs(), warp(blobs(), moves), moves.maps, strict=True):
        forward = np.linalg.inv(half @ map_ @ np.linalg.inv(half))
        angle = np.degrees(np.arctan2(forward[1, 0], forward[0, 0]))
        size = float(np.hypot(forward[0, 0], forward[1, 0]))
        assert abs(angle) <= 30
        assert 0.7 <= size <= 1.0
        assert abs(forward[0, 2]) <= 0.1 * WIDTH
        assert abs(forward[1, 2]) <= 0.1 * HEIGHT
        expected = functional.affine(
            picture, angle=float(angle), translate=[float(forward[0, 2]), float(forward[1, 2])], scale=size,
            shear=[0.0, 0.0], interpolation=InterpolationMode.BILINEAR,
        )  # fmt: skip
        assert torch.allclose(one, expected, atol=1.0)


def test_a_cut_is_torchvisions_cut_enlarged() -> None:
    reach = np.array([[16 / WIDTH, 24 / HEIGHT]])
    centre = np.array([[2 * (4 + 8) / WIDTH - 1, 2 * (6 + 12) / HEIGHT - 1]])
    seen = warp(blobs(1), Warps(np.eye(3)[None], centre, reach))
    expected = functional.resized_crop(blobs(1), 6, 4, 24, 16, [HEIGHT, WIDTH], antialias=True)
    inner = (..., slice(2, -2), slice(2, -2))  # at its rim torchvision does not see what lies beside the cut
    assert torch.allclose(seen[inner], expected[inner], atol=1.0)


def test_cuts_keep_the_share_that_was_asked_for() -> None:
    recipe = AugmentRecipe(crop=(0.3, 0.6))
    moves = draw_warps(recipe, HEIGHT, WIDTH, 500, generator(2))
    area = moves.reaches.prod(axis=1)
    assert area.min() > 0.27
    assert area.max() < 0.6 + 1e-9
    assert area.max() - area.min() > 0.25
    assert (np.abs(moves.centres) + moves.reaches <= 1 + 1e-9).all(), "no cut leaves the picture"


def test_tilts_take_the_corners_where_they_were_drawn() -> None:
    moves = draw_warps(AugmentRecipe(perspective=0.4), HEIGHT, WIDTH, 400, generator(3))
    same = np.isclose(moves.maps, np.eye(3)).all(axis=(1, 2))
    assert 150 < same.sum() < 250, "half of them are tilted"
    corners = np.array([[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]], dtype=float).T
    seen = np.linalg.inv(moves.maps[~same]) @ corners
    seen = seen[:, :2] / seen[:, 2:]
    assert (np.abs(seen - corners[:2]) <= 0.4 + 1e-6).all()


def test_what_lies_beyond_a_picture_is_white_and_no_garment() -> None:
    pictures = torch.full((8, 3, HEIGHT, WIDTH), 40, dtype=torch.uint8)
    seen = Augmenter(AugmentRecipe(shrink=0.5), HEIGHT, WIDTH, seed=0)(pictures, None, generator(1))
    assert set(seen[:, :, HEIGHT // 2, WIDTH // 2].flatten().tolist()) == {40}
    assert (seen[:, :, 0, 0] == 255).any()


def test_pictures_of_a_batch_are_each_changed_by_their_own_draw() -> None:
    pictures = blobs(1).repeat(6, 1, 1, 1).to(torch.uint8)
    recipe = AugmentRecipe(rotate_degrees=40, brightness=0.4, tint=0.3)
    seen = Augmenter(recipe, HEIGHT, WIDTH, seed=0)(pictures, None, generator(1))
    assert len({one.numpy().tobytes() for one in seen}) == 6


def colours() -> torch.Tensor:
    """(4, 3, 6, 5) float32 of 60..180, so that nothing asked of them below leaves 0..255."""
    return torch.from_numpy(np.random.default_rng(3).uniform(60, 180, (4, 3, 6, 5)).astype(np.float32))


@pytest.mark.parametrize("field", ["brightness", "contrast", "saturation"])
def test_brightness_contrast_and_saturation_are_torchvisions(field: str) -> None:
    pictures = colours()
    recipe = AugmentRecipe.model_validate({field: 0.3})
    seen = apply_color(pictures, *draw_color_matrices(recipe, 4, generator(5)))
    # The same draw once more, which ends with the factor of what was asked for.
    order = ["brightness", "contrast", "saturation"]
    chance = generator(5)
    factors = [chance.uniform(1 - reach, 1 + reach, (4, 1, 1)) for reach in (0.3 * (field == name) for name in order)]
    ask = getattr(functional, f"adjust_{field}")
    for one, picture, factor in zip(seen, pictures, factors[order.index(field)].reshape(-1), strict=True):
        expected = ask(picture / 255, float(factor)) * 255
        assert torch.allclose(one, expected, atol=0.2)


def test_hue_keeps_greys_and_luma_and_goes_around_the_circle() -> None:
    recipe = AugmentRecipe(hue=0.5)
    matrices, of_mean = draw_color_matrices(recipe, 200, generator(6))
    assert np.allclose(of_mean, 0)
    assert np.allclose(matrices @ np.ones(3), 1, atol=1e-3), "a grey stays"
    luma = np.array([0.299, 0.587, 0.114])
    assert np.allclose(luma @ matrices, luma, atol=1e-3)
    reds = matrices @ np.array([1.0, 0.0, 0.0])
    assert (reds.argmax(axis=1) == 1).any()
    assert (reds.argmax(axis=1) == 2).any()


def test_a_picture_that_loses_its_colour_is_its_luma() -> None:
    pictures = colours()
    seen = apply_color(pictures, *draw_color_matrices(AugmentRecipe(grey=1.0), 4, generator(1)))
    expected = functional.rgb_to_grayscale(pictures, num_output_channels=3)
    assert torch.allclose(seen, expected, atol=0.1)


def test_tint_scales_each_channel_alone() -> None:
    pictures = colours()
    shares = apply_color(pictures, *draw_color_matrices(AugmentRecipe(tint=0.2), 4, generator(1))) / pictures
    assert torch.allclose(shares, shares.mean(dim=(2, 3), keepdim=True).expand_as(shares), atol=1e-4)
    assert float(shares.std(dim=1).min()) > 0.005


def softly_cut() -> tuple[torch.Tensor, torch.Tensor]:
    """A dark garment of (30, 40, 50) whose rim is half white, as sampling leaves it, and its mask."""
    picture = np.full((HEIGHT, WIDTH, 3), 255, dtype=np.uint8)
    picture[11:37, 7:25] = (142, 147, 152)
    picture[12:36, 8:24] = (30, 40, 50)
    mask = foreground_mask(picture)
    return torch.from_numpy(picture).permute(2, 0, 1)[None], torch.from_numpy(mask)[None, None]


def test_no_white_rim_gives_a_cut_out_away() -> None:
    picture, mask = softly_cut()
    assert mask[0, 0, 24, 7] == pytest.approx(128, abs=3), "the rim is half garment"
    black = np.zeros((1, HEIGHT, WIDTH, 3), dtype=np.uint8)
    augmenter = Augmenter(AugmentRecipe(background=1.0), HEIGHT, WIDTH, seed=0, backgrounds=black, background_share=1.0)
    seen = augmenter(picture, mask, generator(1))[0]
    assert seen[:, 24, 16].tolist() == [30, 40, 50]
    assert seen[:, 24, 2].tolist() == [0, 0, 0]
    assert all(abs(value - half) <= 3 for value, half in zip(seen[:, 24, 7].tolist(), (15, 20, 25), strict=True))


def test_a_blurred_picture_is_torchvisions() -> None:
    pictures, sigmas = colours(), np.array([0.4, 0.8, 1.2, 1.6])
    for one, picture, sigma in zip(blurred(pictures, sigmas), pictures, sigmas, strict=True):
        assert torch.allclose(one, functional.gaussian_blur(picture, [5, 5], [float(sigma)]), atol=1e-3)


def test_a_rectangle_of_one_colour_hides_the_share_that_was_asked_for() -> None:
    pictures = torch.full((300, 3, HEIGHT, WIDTH), 128.5)
    recipe = AugmentRecipe(erase=0.5, erase_area=(0.1, 0.2))
    apply_corruption(pictures, draw_corruption(recipe, HEIGHT, WIDTH, 300, generator(8)))
    hidden = (pictures != 128.5).all(dim=1)
    shares = hidden.float().mean(dim=(1, 2))
    some = shares > 0
    assert 110 < int(some.sum()) < 190
    # Sides are whole pixels, and none is longer than the picture's.
    assert 0.05 < float(shares[some].min()) < float(shares[some].max()) < 0.23
    for picture, box in zip(pictures[some], hidden[some], strict=True):
        rows, columns = box.any(dim=1).nonzero(), box.any(dim=0).nonzero()
        inside = picture[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].flatten(1)
        assert (inside == inside[:, :1]).all()
        assert inside.shape[1] == int(box.sum()), "it is a rectangle"


def test_grain_leaves_the_mean_and_half_of_the_pictures() -> None:
    pictures = torch.full((200, 3, 8, 8), 128.0)
    apply_corruption(pictures, draw_corruption(AugmentRecipe(noise=0.1), 8, 8, 200, generator(9)))
    spread = pictures.std(dim=(1, 2, 3))
    assert 70 < int((spread > 0).sum()) < 130
    assert float(spread.max()) < 1.3 * 0.1 * 255
    assert abs(float(pictures.mean()) - 128) < 1


def test_a_garment_alone_fills_a_frame_of_the_pictures_form() -> None:
    masks = torch.zeros(3, HEIGHT, WIDTH)
    masks[:2, 6:18, 4:10] = 1  # a quarter as high, a fifth as wide as the picture
    frames = garment_frames(masks, torch.tensor([True, False, True]))
    assert frames[0].tolist() == pytest.approx([2 * 7 / WIDTH - 1, 2 * 12 / HEIGHT - 1, 1.2 * 12 / HEIGHT])
    assert frames[1:].tolist() == [[0, 0, 1], [0, 0, 1]], "what is not asked for, and what is empty"
    seen = warp(masks[:, None], draw_warps(AugmentRecipe(), HEIGHT, WIDTH, 3, generator(1)), frames)[0, 0] > 0.5
    rows, columns = seen.any(dim=1).nonzero().flatten(), seen.any(dim=0).nonzero().flatten()
    assert len(rows) == pytest.approx(HEIGHT / 1.2, abs=2)
    assert int(rows[0]) == pytest.approx(HEIGHT - 1 - int(rows[-1]), abs=1), "in the middle"
    assert int(columns[0]) == pytest.approx(WIDTH - 1 - int(columns[-1]), abs=1)
