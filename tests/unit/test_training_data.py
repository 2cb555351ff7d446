"""Training data: the dataset and its classes, the pixel cache, the sampler and the loader."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.training import drawn_catalog
from trainer.augmentation.pipeline import Augmenter
from trainer.augmentation.segmentation import foreground_mask
from trainer.data.dataset import UNKNOWN, build_dataset, check_trainable, classes_of
from trainer.data.loader import BatchLoader
from trainer.data.pixel_cache import cached_pixels, trim_cache
from trainer.data.sampler import epoch_batches
from trainer.reports.gallery import data_url
from trainer.seeds import generator
from vitrine.catalogs import read_catalog
from vitrine.catalogs.downloads import Downloads, Validators
from vitrine.errors import ParameterInvalid, TrainingImpossible
from vitrine.images.checks import DEFAULT_LIMITS
from vitrine.products import Product
from vitrine.recipes import AugmentRecipe, DataRecipe, SamplerRecipe
from vitrine.releases import Preprocessing
from vitrine_local.picture_report import inspect_pictures

RULES = Preprocessing(
    input_px=64, input_width_px=48, resize_px=64, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3,
    decode_rules_version=1,
)  # fmt: skip


def product(number: int, **attributes: str) -> Product:
    return Product("d", str(number), f"images/{number}.jpg", attributes)


def many(**counts: int) -> list[Product]:
    kinds = [kind for kind, count in counts.items() for _ in range(count)]
    return [product(number, articleType=kind, gender="Women") for number, kind in enumerate(kinds)]


def test_products_without_the_label_and_classes_with_too_few_images_are_left_out() -> None:
    products = [*many(Tops=10, Heels=2, Jeans=10), product(99)]
    examples = build_dataset(products, DataRecipe(), seed=0)
    assert {one.attributes["articleType"] for one in examples.products} == {"Tops", "Jeans"}
    assert len(examples) == 20
    assert Counter(examples.parts) == {"train": 12, "validation": 4, "test": 4}


def test_a_label_that_no_product_has_is_refused() -> None:
    with pytest.raises(TrainingImpossible, match="sleeve"):
        build_dataset(many(Tops=10), DataRecipe(label="sleeve"), seed=0)


def test_an_unknown_subset_is_refused() -> None:
    with pytest.raises(ParameterInvalid, match="fashion-22"):
        build_dataset(many(Tops=10), DataRecipe(subset="fashion-2"), seed=0)


def test_a_class_combines_attributes_and_an_unknown_value_has_no_class() -> None:
    products = [
        product(1, articleType="Tops", gender="Women"),
        product(2, articleType="Tops", gender="Men"),
        product(3, articleType="Tops"),
        product(4, articleType="Tops", gender="Men"),
    ]
    examples = build_dataset(products, DataRecipe(least_pictures=1), seed=0)
    classes = classes_of(examples, ("articleType", "gender"))
    assert classes.names == ("Tops|Men", "Tops|Women")
    assert classes.codes.tolist() == [1, 0, UNKNOWN, 0]


def test_a_known_class_keeps_its_code_and_new_ones_are_appended() -> None:
    examples = build_dataset(many(Tops=5, Jeans=5), DataRecipe(), seed=0)
    classes = classes_of(examples, ("articleType",), known=("Tops", "Heels"))
    assert classes.names == ("Tops", "Heels", "Jeans")
    assert set(classes.codes.tolist()) == {0, 2}


def test_training_needs_two_classes() -> None:
    examples = build_dataset(many(Tops=10), DataRecipe(), seed=0)
    classes = classes_of(examples, ("articleType",))
    with pytest.raises(TrainingImpossible, match="one class only"):
        check_trainable(classes, examples.rows("train"), examples.rows("validation"))


def test_a_class_without_training_images_is_named_in_the_error() -> None:
    examples = build_dataset(many(Tops=10, Jeans=10, Heels=10), DataRecipe(), seed=0)
    classes = classes_of(examples, ("articleType",))
    train = examples.rows("train")
    without = train[classes.codes[train] != classes.names.index("Heels")]
    with pytest.raises(TrainingImpossible, match="Heels"):
        check_trainable(classes, without, examples.rows("validation"))


def test_images_are_decoded_once_and_then_read_from_the_cache(tmp_path: Path) -> None:
    catalog = drawn_catalog(tmp_path / "shop", count=30)
    (catalog.root / catalog.products[3].picture).write_bytes(b"no picture")
    (catalog.root / catalog.products[5].picture).unlink()
    steps: list[int] = []
    first = cached_pixels(catalog.products, catalog.root, RULES, folder=tmp_path / "pixels", step=steps.append)
    assert first.pixels.shape == (28, 64, 48, 3)
    assert [one.product_id for one in first.unreadable] == [catalog.products[3].id, catalog.products[5].id]
    assert [one.kind for one in first.unreadable] == ["image_format_unsupported", "missing_picture"]
    assert steps[-1] == 30
    steps.clear()
    again = cached_pixels(catalog.products, catalog.root, RULES, folder=tmp_path / "pixels", step=steps.append)
    assert not steps, "nothing was decoded"
    assert np.array_equal(first.pixels, again.pixels)
    assert again.rows.tolist() == [row for row in range(30) if row not in (3, 5)]
    assert again.unreadable == first.unreadable


def test_a_changed_image_is_decoded_again(tmp_path: Path) -> None:
    catalog = drawn_catalog(tmp_path / "shop", count=12)
    folder = tmp_path / "pixels"
    first = cached_pixels(catalog.products, catalog.root, RULES, folder=folder, step=lambda _: None)
    changed, other = (catalog.root / one.picture for one in catalog.products[:2])
    changed.write_bytes(other.read_bytes())
    again = cached_pixels(catalog.products, catalog.root, RULES, folder=folder, step=lambda _: None)
    assert not np.array_equal(first.pixels[0], again.pixels[0])
    assert np.array_equal(again.pixels[0], again.pixels[1])


def test_images_that_are_links_are_those_that_were_downloaded(tmp_path: Path) -> None:
    drawn = drawn_catalog(tmp_path / "drawn", count=12)
    one, other = (drawn.read_picture(product) for product in drawn.products[:2])
    shop = tmp_path / "shop"
    shop.mkdir()
    link, absent = "https://shop.example/front.jpg?v=1", "https://shop.example/back.jpg"
    (shop / "products.csv").write_text(f"id,image,colour\na,{link},Red\nb,{absent},Blue\nc,local.jpg,Red\n")
    (shop / "local.jpg").write_bytes(other)
    downloads = Downloads(tmp_path / "downloads")
    downloads.store(link, one, Validators())

    catalog = read_catalog("folder", shop, dataset="shop", downloads=downloads)
    assert [product.id for product in catalog.products] == ["a", "c"], "b was not downloaded"
    assert inspect_pictures(catalog).rejected == ()
    assert data_url(catalog, catalog.products[0]).startswith("data:image/jpeg;base64,")

    def pixels() -> np.ndarray:
        folder = tmp_path / "pixels"
        cache = cached_pixels(
            catalog.products, catalog.root, RULES, folder=folder, step=lambda _: None, downloads=catalog.downloads
        )
        assert not cache.unreadable
        return np.asarray(cache.pixels)

    first = pixels()
    assert not np.array_equal(first[0], first[1])
    downloads.store(link, other, Validators())
    again = pixels()
    assert np.array_equal(again[0], again[1]), "a download with other content is decoded again"


def test_images_are_decoded_again_with_lower_limits(tmp_path: Path) -> None:
    catalog = drawn_catalog(tmp_path / "shop", count=12)
    folder = tmp_path / "pixels"
    assert len(cached_pixels(catalog.products, catalog.root, RULES, folder=folder, step=lambda _: None).rows) == 12
    small = replace(DEFAULT_LIMITS, max_pixels=1000)
    none = cached_pixels(catalog.products, catalog.root, RULES, folder=folder, limits=small, step=lambda _: None)
    assert {one.kind for one in none.unreadable} == {"image_too_large"}
    assert len(none.unreadable) == 12


def test_a_stopped_decoding_leaves_no_file(tmp_path: Path) -> None:
    catalog = drawn_catalog(tmp_path / "shop", count=12)

    def stop(_: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        cached_pixels(catalog.products, catalog.root, RULES, folder=tmp_path / "pixels", step=stop)
    assert list((tmp_path / "pixels").iterdir()) == []


def test_the_least_recently_used_pixels_are_trimmed(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.pixels").write_bytes(bytes(1000))
        (tmp_path / f"{number}.json").write_text("{}")
    trim_cache(tmp_path, keep_bytes=2000)
    assert len(list(tmp_path.glob("*.pixels"))) == 2
    assert len(list(tmp_path.glob("*.json"))) == 2
    trim_cache(tmp_path, keep_bytes=1)
    assert len(list(tmp_path.glob("*.pixels"))) == 1, "the newest stays"


TRAIN = np.arange(100, dtype=np.int64)
CODES = np.array([0] * 80 + [1] * 15 + [2] * 5 + [UNKNOWN] * 20, dtype=np.int64)


def test_an_epoch_has_every_image_once_in_its_own_order() -> None:
    batches = epoch_batches(TRAIN, CODES, SamplerRecipe(), batch=10, seed=1, epoch=0)
    assert sorted(np.concatenate(batches).tolist()) == TRAIN.tolist()
    same = epoch_batches(TRAIN, CODES, SamplerRecipe(), batch=10, seed=1, epoch=0)
    other = epoch_batches(TRAIN, CODES, SamplerRecipe(), batch=10, seed=1, epoch=1)
    assert all(np.array_equal(one, two) for one, two in zip(batches, same, strict=True))
    assert not np.array_equal(np.concatenate(batches), np.concatenate(other))


def test_a_balanced_epoch_has_all_classes_equally_often() -> None:
    batches = [
        rows
        for epoch in range(20)
        for rows in epoch_batches(TRAIN, CODES, SamplerRecipe(balance=1.0), batch=10, seed=1, epoch=epoch)
    ]
    shown = Counter(CODES[np.concatenate(batches)].tolist())
    assert set(shown) == {0, 1, 2}
    assert min(shown.values()) > 0.8 * max(shown.values())


def test_a_p_x_k_batch_has_the_same_number_of_images_of_each_class() -> None:
    recipe = SamplerRecipe(classes=2, per_class=4)
    batches = epoch_batches(TRAIN, CODES, recipe, batch=8, seed=1, epoch=0)
    assert len(batches) == len(TRAIN) // 8
    shown: Counter[int] = Counter()
    for rows in batches:
        counts = Counter(CODES[rows].tolist())
        assert sorted(counts.values()) == [4, 4]
        shown.update(counts.keys())
    assert max(shown.values()) - min(shown.values()) <= 1, "classes come in turn"


def whole() -> AugmentRecipe:
    return AugmentRecipe(
        crop=(0.5, 1.0), flip=0.5, shrink=0.6, shift=0.1, rotate_degrees=30, perspective=0.3, brightness=0.3,
        contrast=0.3, saturation=0.3, hue=0.1, tint=0.2, grey=0.2, blur=0.5, noise=0.1, erase=0.5, background=1.0,
    )  # fmt: skip


def drawn_pixels(tmp_path: Path, count: int = 12) -> np.ndarray:
    catalog = drawn_catalog(tmp_path / "shop", count=count)
    return cached_pixels(catalog.products, catalog.root, RULES, folder=tmp_path / "pixels", step=lambda _: None).pixels


def test_augmentation_depends_on_the_draw_only(tmp_path: Path) -> None:
    pixels = drawn_pixels(tmp_path)
    picture = torch.from_numpy(np.array(pixels[:1])).permute(0, 3, 1, 2)
    mask = torch.from_numpy(foreground_mask(np.array(pixels[0])))[None, None]
    augmenter = Augmenter(whole(), 64, 48, seed=0)
    seen = [augmenter(picture, mask, generator(5)) for _ in range(2)]
    other = augmenter(picture, mask, generator(6))
    assert seen[0].shape == picture.shape
    assert seen[0].dtype == torch.uint8
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], other)
    assert not torch.equal(seen[0], picture)


def test_an_empty_augmentation_leaves_the_image_unchanged(tmp_path: Path) -> None:
    picture = torch.from_numpy(np.array(drawn_pixels(tmp_path)[:1])).permute(0, 3, 1, 2)
    assert torch.equal(Augmenter(AugmentRecipe(), 64, 48, seed=0)(picture, None, generator(1)), picture)


def test_a_resumed_epoch_continues_with_the_remaining_batches(tmp_path: Path) -> None:
    pixels = drawn_pixels(tmp_path)
    batches = [np.array(rows, dtype=np.int64) for rows in ([0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11])]

    def loader() -> BatchLoader:
        return BatchLoader(pixels, Augmenter(whole(), 64, 48, seed=2), torch.device("cpu"), seed=2)

    whole_epoch = list(loader().epoch(batches, 3))
    rest = list(loader().epoch(batches, 3, first=2))
    assert [batch.number for batch in rest] == [2, 3]
    for one, two in zip(whole_epoch[2:], rest, strict=True):
        assert torch.equal(one.pixels, two.pixels)
        assert one.pixels.shape == (3, 64, 48, 3)
