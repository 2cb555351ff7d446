"""Augmentation compared with torchvision, and the CPU kernels compared with those of the GPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from harness.releases import TINY_MODEL
from harness.training import drawn_catalog
from trainer.augmentation.background import Backgrounds
from trainer.augmentation.color import color_batch, draw_color_matrices
from trainer.augmentation.corruption import corrupt_batch, draw_corruption, gaussian_blur
from trainer.augmentation.geometry import Warps, draw_warps, garment_frames, warp_batch
from trainer.augmentation.pipeline import Augmenter, augment_batch, augment_images, draw_plan
from trainer.augmentation.segmentation import foreground_mask
from trainer.data.mask_cache import compute_masks
from trainer.seeds import generator
from vitrine.images.decode import decode_image
from vitrine.recipes import AugmentRecipe
from vitrine.types import Pixels
from vitrine.vision.models import model_entry, resolve_options
from vitrine.vision.preprocess import Preprocessor

HEIGHT, WIDTH = 48, 32
SHOP_HEIGHT, SHOP_WIDTH = 64, 48


def blobs(count: int = 3) -> torch.Tensor:
    """(count, 3, HEIGHT, WIDTH) float32 of 0..255: smooth spots on 0, where interpolation methods differ little."""
    random = np.random.default_rng(7)
    ys, xs = np.mgrid[0:HEIGHT, 0:WIDTH]
    planes = np.zeros((count, 3, HEIGHT, WIDTH), dtype=np.float32)
    for number in range(count):
        for plane in range(3):
            y, x = random.uniform(16, 32), random.uniform(12, 20)
            planes[number, plane] = 255 * np.exp(-((ys - y) ** 2 + (xs - x) ** 2) / 30)
    return torch.from_numpy(planes)


def test_the_identity_warp_leaves_the_image_unchanged() -> None:
    images = blobs()
    result = warp_batch(images, draw_warps(AugmentRecipe(), HEIGHT, WIDTH, 3, generator(1)))
    assert torch.allclose(result, images, atol=1e-2)


def test_flip_mirrors_the_image() -> None:
    images = blobs()
    result = warp_batch(images, draw_warps(AugmentRecipe(flip=1.0), HEIGHT, WIDTH, 3, generator(1)))
    assert torch.allclose(result, images.flip(3), atol=1e-2)


def test_rotation_scale_and_shift_match_torchvision() -> None:
    """The amounts are computed from the map and given to torchvision."""
    recipe = AugmentRecipe(rotate_degrees=30, shrink=0.7, shift=0.1)
    warps = draw_warps(recipe, HEIGHT, WIDTH, 3, generator(4))
    half = np.diag([WIDTH / 2, HEIGHT / 2, 1.0])
    for image, one, map_ in zip(blobs(), warp_batch(blobs(), warps), warps.maps, strict=True):
        forward = np.linalg.inv(half @ map_ @ np.linalg.inv(half))
        angle = np.degrees(np.arctan2(forward[1, 0], forward[0, 0]))
        size = float(np.hypot(forward[0, 0], forward[1, 0]))
        assert abs(angle) <= 30
        assert 0.7 <= size <= 1.0
        assert abs(forward[0, 2]) <= 0.1 * WIDTH
        assert abs(forward[1, 2]) <= 0.1 * HEIGHT
        expected = functional.affine(
            image, angle=float(angle), translate=[float(forward[0, 2]), float(forward[1, 2])], scale=size,
            shear=[0.0, 0.0], interpolation=InterpolationMode.BILINEAR,
        )  # fmt: skip
        assert torch.allclose(one, expected, atol=1.0)


def test_crop_matches_torchvision() -> None:
    reach = np.array([[16 / WIDTH, 24 / HEIGHT]])
    centre = np.array([[2 * (4 + 8) / WIDTH - 1, 2 * (6 + 12) / HEIGHT - 1]])
    result = warp_batch(blobs(1), Warps(np.eye(3)[None], centre, reach))
    expected = functional.resized_crop(blobs(1), 6, 4, 24, 16, [HEIGHT, WIDTH], antialias=True)
    inner = (..., slice(2, -2), slice(2, -2))  # torchvision does not interpolate across the border of the crop
    assert torch.allclose(result[inner], expected[inner], atol=1.0)


def test_crops_cover_the_requested_share_of_the_area() -> None:
    recipe = AugmentRecipe(crop=(0.3, 0.6))
    warps = draw_warps(recipe, HEIGHT, WIDTH, 500, generator(2))
    area = warps.reaches.prod(axis=1)
    assert area.min() > 0.27
    assert area.max() < 0.6 + 1e-9
    assert area.max() - area.min() > 0.25
    assert (np.abs(warps.centers) + warps.reaches <= 1 + 1e-9).all(), "crops stay inside the image"


def test_perspective_moves_the_corners_within_its_limit() -> None:
    warps = draw_warps(AugmentRecipe(perspective=0.4), HEIGHT, WIDTH, 400, generator(3))
    same = np.isclose(warps.maps, np.eye(3)).all(axis=(1, 2))
    assert 150 < same.sum() < 250, "half of them have perspective"
    corners = np.array([[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]], dtype=float).T
    result = np.linalg.inv(warps.maps[~same]) @ corners
    result = result[:, :2] / result[:, 2:]
    assert (np.abs(result - corners[:2]) <= 0.4 + 1e-6).all()


def test_outside_of_the_image_is_white() -> None:
    images = torch.full((8, 3, HEIGHT, WIDTH), 40, dtype=torch.uint8)
    result = Augmenter(AugmentRecipe(shrink=0.5), HEIGHT, WIDTH, seed=0)(images, None, generator(1))
    assert set(result[:, :, HEIGHT // 2, WIDTH // 2].flatten().tolist()) == {40}
    assert (result[:, :, 0, 0] == 255).any()


def test_each_image_of_a_batch_has_its_own_draw() -> None:
    images = blobs(1).repeat(6, 1, 1, 1).to(torch.uint8)
    recipe = AugmentRecipe(rotate_degrees=40, brightness=0.4, tint=0.3)
    result = Augmenter(recipe, HEIGHT, WIDTH, seed=0)(images, None, generator(1))
    assert len({one.numpy().tobytes() for one in result}) == 6


def colors() -> torch.Tensor:
    """(4, 3, 6, 5) float32 in 60..180: the changes below stay in 0..255."""
    return torch.from_numpy(np.random.default_rng(3).uniform(60, 180, (4, 3, 6, 5)).astype(np.float32))


@pytest.mark.parametrize("field", ["brightness", "contrast", "saturation"])
def test_brightness_contrast_and_saturation_match_torchvision(field: str) -> None:
    images = colors()
    recipe = AugmentRecipe.model_validate({field: 0.3})
    result = color_batch(images, draw_color_matrices(recipe, 4, generator(5)))
    # Draw the same factors again.
    order = ["brightness", "contrast", "saturation"]
    random = generator(5)
    factors = [random.uniform(1 - reach, 1 + reach, (4, 1, 1)) for reach in (0.3 * (field == name) for name in order)]
    ask = getattr(functional, f"adjust_{field}")
    for one, image, factor in zip(result, images, factors[order.index(field)].reshape(-1), strict=True):
        expected = ask(image / 255, float(factor)) * 255
        assert torch.allclose(one, expected, atol=0.2)


def test_hue_keeps_gray_and_luma_and_covers_the_full_circle() -> None:
    recipe = AugmentRecipe(hue=0.5)
    drawn = draw_color_matrices(recipe, 200, generator(6))
    matrices, of_mean = drawn.of_pixels, drawn.of_mean
    assert np.allclose(of_mean, 0)
    assert np.allclose(matrices @ np.ones(3), 1, atol=1e-3), "gray is unchanged"
    luma = np.array([0.299, 0.587, 0.114])
    assert np.allclose(luma @ matrices, luma, atol=1e-3)
    reds = matrices @ np.array([1.0, 0.0, 0.0])
    assert (reds.argmax(axis=1) == 1).any()
    assert (reds.argmax(axis=1) == 2).any()


def test_grayscale_matches_torchvision() -> None:
    images = colors()
    result = color_batch(images, draw_color_matrices(AugmentRecipe(grey=1.0), 4, generator(1)))
    expected = functional.rgb_to_grayscale(images, num_output_channels=3)
    assert torch.allclose(result, expected, atol=0.1)


def test_tint_scales_each_channel_separately() -> None:
    images = colors()
    shares = color_batch(images, draw_color_matrices(AugmentRecipe(tint=0.2), 4, generator(1))) / images
    assert torch.allclose(shares, shares.mean(dim=(2, 3), keepdim=True).expand_as(shares), atol=1e-4)
    assert float(shares.std(dim=1).min()) > 0.005


def soft_edged_garment() -> tuple[torch.Tensor, torch.Tensor]:
    """A dark garment of (30, 40, 50) with a rim that is half white, as after resizing, and its mask."""
    image = np.full((HEIGHT, WIDTH, 3), 255, dtype=np.uint8)
    image[11:37, 7:25] = (142, 147, 152)
    image[12:36, 8:24] = (30, 40, 50)
    mask = foreground_mask(image)
    return torch.from_numpy(image).permute(2, 0, 1)[None], torch.from_numpy(mask)[None, None]


def test_a_replaced_background_leaves_no_white_rim() -> None:
    image, mask = soft_edged_garment()
    assert mask[0, 0, 24, 7] == pytest.approx(128, abs=3), "the rim is half garment"
    black = np.zeros((1, HEIGHT, WIDTH, 3), dtype=np.uint8)
    augmenter = Augmenter(AugmentRecipe(background=1.0), HEIGHT, WIDTH, seed=0, backgrounds=black, background_share=1.0)
    result = augmenter(image, mask, generator(1))[0]
    assert result[:, 24, 16].tolist() == [30, 40, 50]
    assert result[:, 24, 2].tolist() == [0, 0, 0]
    assert all(abs(value - half) <= 3 for value, half in zip(result[:, 24, 7].tolist(), (15, 20, 25), strict=True))


def test_blur_matches_torchvision() -> None:
    images, sigmas = colors(), np.array([0.4, 0.8, 1.2, 1.6])
    for one, image, sigma in zip(gaussian_blur(images, sigmas), images, sigmas, strict=True):
        assert torch.allclose(one, functional.gaussian_blur(image, [5, 5], [float(sigma)]), atol=1e-3)


def test_random_erasing_covers_the_requested_share_with_one_color() -> None:
    images = torch.full((300, 3, HEIGHT, WIDTH), 128.5)
    recipe = AugmentRecipe(erase=0.5, erase_area=(0.1, 0.2))
    corrupt_batch(images, draw_corruption(recipe, HEIGHT, WIDTH, 300, generator(8)))
    hidden = (images != 128.5).all(dim=1)
    shares = hidden.float().mean(dim=(1, 2))
    some = shares > 0
    assert 110 < int(some.sum()) < 190
    # Sides are rounded to pixels and limited by the image.
    assert 0.05 < float(shares[some].min()) < float(shares[some].max()) < 0.23
    for image, box in zip(images[some], hidden[some], strict=True):
        rows, columns = box.any(dim=1).nonzero(), box.any(dim=0).nonzero()
        inside = image[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].flatten(1)
        assert (inside == inside[:, :1]).all()
        assert inside.shape[1] == int(box.sum()), "it is a rectangle"


def test_noise_keeps_the_mean_and_affects_half_of_the_images() -> None:
    images = torch.full((200, 3, 8, 8), 128.0)
    corrupt_batch(images, draw_corruption(AugmentRecipe(noise=0.1), 8, 8, 200, generator(9)))
    spread = images.std(dim=(1, 2, 3))
    assert 70 < int((spread > 0).sum()) < 130
    assert float(spread.max()) < 1.3 * 0.1 * 255
    assert abs(float(images.mean()) - 128) < 1


def test_an_isolated_garment_fills_the_frame_up_to_its_margin() -> None:
    masks = torch.zeros(3, HEIGHT, WIDTH)
    masks[:2, 6:18, 4:10] = 1  # a quarter of the height, a fifth of the width
    frames = garment_frames(masks, torch.tensor([True, False, True]))
    assert frames[0].tolist() == pytest.approx([2 * 7 / WIDTH - 1, 2 * 12 / HEIGHT - 1, 1.2 * 12 / HEIGHT])
    assert frames[1:].tolist() == [[0, 0, 1], [0, 0, 1]], "not framed, and empty"
    result = warp_batch(masks[:, None], draw_warps(AugmentRecipe(), HEIGHT, WIDTH, 3, generator(1)), frames)[0, 0] > 0.5
    rows, columns = result.any(dim=1).nonzero().flatten(), result.any(dim=0).nonzero().flatten()
    assert len(rows) == pytest.approx(HEIGHT / 1.2, abs=2)
    assert int(rows[0]) == pytest.approx(HEIGHT - 1 - int(rows[-1]), abs=1), "in the middle"
    assert int(columns[0]) == pytest.approx(WIDTH - 1 - int(columns[-1]), abs=1)


ALL_CHANGES: dict[str, Any] = {
    "crop": (0.5, 1.0), "flip": 0.5, "shrink": 0.7, "shift": 0.1, "rotate_degrees": 25, "perspective": 0.2,
    "brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.1, "tint": 0.1, "grey": 0.2, "blur": 0.3,
    "noise": 0.05, "erase": 0.3, "background": 0.5, "undress": 0.5, "alone": 0.3,
}  # fmt: skip


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory) -> Pixels:
    catalog = drawn_catalog(tmp_path_factory.mktemp("catalog") / "shop", count=40)
    size = {"input_px": SHOP_HEIGHT, "input_width_px": SHOP_WIDTH, "resize_px": SHOP_HEIGHT}
    fit = Preprocessor(resolve_options(model_entry(TINY_MODEL), size).preprocessing).fit
    return np.stack([fit(decode_image(catalog.picture_path(one).read_bytes())) for one in catalog.products])


def on_cpu_and_device(images: Pixels, recipe: AugmentRecipe) -> tuple[Pixels, Pixels]:
    masks = compute_masks(images, 2).found
    backgrounds = Backgrounds(SHOP_HEIGHT, SHOP_WIDTH, seed=0) if recipe.background else None
    plan = draw_plan(recipe, SHOP_HEIGHT, SHOP_WIDTH, len(images), generator(4), backgrounds)
    planes = torch.from_numpy(images).permute(0, 3, 1, 2)
    on_device = augment_batch(planes, torch.from_numpy(masks), plan, backgrounds).permute(0, 2, 3, 1).numpy()
    return augment_images(images, masks, plan, backgrounds), on_device


def difference(one: Pixels, other: Pixels) -> npt.NDArray[np.int64]:
    return np.abs(one.astype(np.int64) - other.astype(np.int64))


@pytest.mark.parametrize(
    "names",
    [
        ["crop"], ["flip"], ["rotate_degrees", "shrink", "shift"], ["perspective"], ["brightness"], ["contrast"],
        ["saturation", "hue", "tint", "grey"], ["blur"], ["noise"], ["erase"], ["background"],
        ["background", "undress"], ["alone"], list(ALL_CHANGES),
    ],
    ids="+".join,
)  # fmt: skip
def test_the_cpu_and_the_gpu_kernels_give_the_same_image(products: Pixels, names: list[str]) -> None:
    recipe = AugmentRecipe.model_validate({name: ALL_CHANGES[name] for name in names})
    cpu, device = on_cpu_and_device(products, recipe)
    assert (cpu != products).any(), "the image changes"
    assert difference(cpu, device).mean() < 0.5
    # A pixel at the edge of a crop or frame may be inside or outside.
    assert (difference(cpu, device) > 12).mean() < 0.01


def test_a_replaced_background_has_no_specks(products: Pixels) -> None:
    """The inverted image and the background add up to at most 255, however they are rounded."""
    cpu, device = on_cpu_and_device(products, AugmentRecipe(background=1.0))
    assert difference(cpu, device).max() <= 2
