"""Splits of a whole dataset: exact shares of every class, and published splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from random import Random

import pytest

from harness.deepfashion import inshop_benchmark, with_pictures
from vitrine.catalogs import read_catalog
from vitrine.errors import ParameterInvalid
from vitrine.products import AttributeValue, Product
from vitrine.splits import (
    Part,
    SplitRule,
    official_split,
    split,
    stratified_split,
)

KINDS = {"Shirts": 3, "Heels": 5}
SHARES: dict[Part, float] = {"train": 0.6, "validation": 0.2, "test": 0.2}


def product(product_id: str, **attributes: AttributeValue) -> Product:
    return Product("shop", product_id, f"{product_id}.jpg", attributes)


def of_kind(kind: str, count: int) -> list[Product]:
    return [product(f"{kind}-{number}", articleType=kind) for number in range(count)]


def in_parts(products: list[Product], *, seed: int = 0) -> Counter[str]:
    return Counter(stratified_split(products, attribute="articleType", seed=seed).values())


def test_every_class_has_its_shares() -> None:
    products = of_kind("Shirts", 100) + of_kind("Heels", 25) + of_kind("Skirts", 128)
    parts = stratified_split(products, attribute="articleType", seed=0)
    assert len(parts) == 253
    counts = {
        kind: Counter(part for product_id, part in parts.items() if product_id.startswith(kind))
        for kind in ("Shirts", "Heels", "Skirts")
    }
    assert counts["Shirts"] == {"train": 60, "validation": 20, "test": 20}
    assert counts["Heels"] == {"train": 15, "validation": 5, "test": 5}
    assert counts["Skirts"] == {"train": 76, "validation": 26, "test": 26}


@pytest.mark.parametrize("count", range(3, 40))
def test_a_class_of_three_or_more_has_one_in_each_part(count: int) -> None:
    counts = in_parts(of_kind("Shirts", count))
    assert counts.total() == count
    assert counts["validation"] == counts["test"] == round(count / 5)
    assert min(counts.values()) >= 1


@pytest.mark.parametrize("count", [1, 2])
def test_a_class_too_small_to_split_is_for_training(count: int) -> None:
    assert in_parts(of_kind("Shirts", count)) == {"train": count}


def test_the_split_is_the_same_on_every_machine_and_in_every_order() -> None:
    products = of_kind("Shirts", 10)
    parts = stratified_split(products, attribute="articleType", seed=7)
    assert stratified_split(reversed(products), attribute="articleType", seed=7) == parts
    assert [product_id for product_id, part in parts.items() if part == "validation"] == ["Shirts-3", "Shirts-4"]
    assert [product_id for product_id, part in parts.items() if part == "test"] == ["Shirts-5", "Shirts-8"]


def test_another_seed_gives_another_split() -> None:
    products = of_kind("Shirts", 500)
    first, second = (stratified_split(products, attribute="articleType", seed=seed) for seed in (0, 1))
    assert sum(first[product_id] != second[product_id] for product_id in first) > 150


def test_products_without_the_attribute_form_their_own_class() -> None:
    products = [*of_kind("Shirts", 5), *(product(f"bare-{number}") for number in range(10))]
    parts = stratified_split(products, attribute="articleType", seed=0)
    assert Counter(part for name, part in parts.items() if "bare" in name) == {"train": 6, "validation": 2, "test": 2}
    assert {name: parts[name] for name in parts if "Shirts" in name} == stratified_split(
        of_kind("Shirts", 5), attribute="articleType", seed=0
    )


def test_a_selection_of_whole_classes_is_split_as_in_the_whole_catalogue() -> None:
    shirts, heels = of_kind("Shirts", 40), of_kind("Heels", 30)
    whole = stratified_split([*shirts, *heels], attribute="articleType", seed=0)
    assert stratified_split(heels, attribute="articleType", seed=0).items() <= whole.items()


def test_a_product_keeps_its_part_when_others_are_added_and_those_are_split_separately() -> None:
    before, after = of_kind("Shirts", 50), of_kind("Shirts", 100)
    rule = SplitRule(attribute="articleType", seed=0)
    known = split(before, rule)
    parts = split(after, rule, known)
    assert known.items() <= parts.items()
    assert split(after, rule).items() != parts.items(), "a fresh split moves products"
    new = [part for name, part in parts.items() if name not in known]
    assert Counter(new) == {"train": 30, "validation": 10, "test": 10}


def test_a_new_picture_of_a_known_item_joins_the_part_of_the_item() -> None:
    rule = SplitRule(attribute="articleType", seed=0, group="itemId")
    before, after = of_items([1] * 20), of_items([2] * 20)
    known = split(before, rule)
    parts = split(after, rule, known)
    assert all(parts[f"Shirts-{item}-1"] == known[f"Shirts-{item}-0"] for item in range(20))


def test_a_missing_attribute_is_named() -> None:
    products = of_kind("Shirts", 3)
    with pytest.raises(ParameterInvalid, match="no product has the attribute 'itemId'"):
        stratified_split(products, attribute="articleType", group="itemId", seed=0)
    with pytest.raises(ParameterInvalid, match="no product has the attribute 'partition'"):
        official_split(products)


def test_products_of_two_datasets_are_not_split_together() -> None:
    with pytest.raises(ParameterInvalid, match=r"several datasets \(other, shop\)"):
        stratified_split([product("1"), Product("other", "1", "1.jpg")], attribute="articleType", seed=0)


def of_items(sizes: Iterable[int], kind: str = "Shirts") -> list[Product]:
    """Pictures of items of one kind, with the given number for each item."""
    return [
        product(f"{kind}-{item}-{view}", itemId=f"{kind}-{item}", articleType=kind)
        for item, size in enumerate(sizes)
        for view in range(size)
    ]


def by_item(products: list[Product], *, seed: int = 0) -> dict[str, Part]:
    return stratified_split(products, attribute="articleType", group="itemId", seed=seed)


def parts_of_items(products: list[Product], parts: dict[str, Part]) -> dict[AttributeValue, set[Part]]:
    found: dict[AttributeValue, set[Part]] = {}
    for each in products:
        found.setdefault(each.attributes["itemId"], set()).add(parts[each.id])
    return found


@pytest.mark.parametrize("seed", range(5))
def test_the_pictures_of_one_item_stay_together_and_parts_have_about_their_shares(seed: int) -> None:
    kinds = {kind: of_items([1 + (item * step) % 7 for item in range(100)], kind) for kind, step in KINDS.items()}
    products = [each for members in kinds.values() for each in members]
    parts = by_item(products, seed=seed)
    assert len(parts) == len(products)
    assert all(len(found) == 1 for found in parts_of_items(products, parts).values())
    for members in kinds.values():
        counts = Counter(parts[each.id] for each in members)
        for part, share in SHARES.items():
            assert abs(counts[part] - share * len(members)) <= 7, "the largest item has seven pictures"


def test_items_of_one_picture_are_divided_as_exactly_as_products() -> None:
    assert Counter(by_item(of_items([1] * 100)).values()) == {"train": 60, "validation": 20, "test": 20}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sizes", [[100, 1, 1], [50, 50, 1], [1, 1, 1, 90, 1, 1, 1], [10, 5, 3, 2], [4, 4, 4]])
def test_an_item_with_most_of_the_pictures_is_for_training_and_every_part_has_an_item(
    sizes: list[int], seed: int
) -> None:
    products = of_items(sizes)
    parts = by_item(products, seed=seed)
    found = parts_of_items(products, parts)
    assert set.union(*found.values()) == {"train", "validation", "test"}
    learnt = [size for item, size in enumerate(sizes) if found[f"Shirts-{item}"] == {"train"}]
    assert max(learnt) == max(sizes)


def test_the_share_left_by_the_largest_items_is_split_between_validation_and_test() -> None:
    counts = Counter(by_item(of_items([1, 1, 1, 90, 1, 1, 1])).values())
    assert counts == {"train": 90, "validation": 3, "test": 3}


@pytest.mark.parametrize("seed", range(100))
def test_every_part_has_an_item_for_any_distribution_of_sizes(seed: int) -> None:
    random = Random(seed)
    products = of_items(random.choices([1, 1, 2, 3, 8, 30], k=random.randint(3, 9)))
    assert set(by_item(products, seed=seed).values()) == {"train", "validation", "test"}


def test_a_kind_of_two_items_is_for_training() -> None:
    assert set(by_item(of_items([6, 6])).values()) == {"train"}


def test_products_without_an_item_are_left_out_where_items_stay_together() -> None:
    assert "bare" not in by_item([*of_items([1, 1, 1]), product("bare", articleType="Shirts")])


def test_an_item_of_two_kinds_counts_as_the_more_frequent() -> None:
    mixed = [product(f"m{n}", itemId="mixed", articleType=kind) for n, kind in enumerate(["Tops", "Heels", "Heels"])]
    others = [product(f"h{n}", itemId=f"h{n}", articleType="Heels") for n in range(2)]
    parts = stratified_split([*mixed, *others], attribute="articleType", group="itemId", seed=0)
    assert len({parts[each.id] for each in mixed}) == 1
    assert {parts["m0"], parts["h0"], parts["h1"]} == {"train", "validation", "test"}


def test_the_published_parts_of_category_prediction_are_used() -> None:
    words = ("train", "val", "test")
    products = [product(word, partition=word) for word in words] + [product("none")]
    assert official_split(products) == {"train": "train", "val": "validation", "test": "test"}


def in_shop(items: int, views: int = 3) -> list[Product]:
    """Training items, and one item with a query and a gallery picture."""
    training = [
        product(f"{n}-{view}", itemId=f"id_{n}", partition="train") for n in range(items) for view in range(views)
    ]
    asked = [product(f"asked-{role}", itemId="asked", partition=role) for role in ("query", "gallery")]
    return [*training, *asked]


def test_a_tenth_of_the_in_shop_training_items_is_for_validation() -> None:
    products = in_shop(200)
    parts = official_split(products)
    assert Counter(parts.values()) == {"train": 540, "validation": 60, "test": 2}
    assert all(len(found) == 1 for found in parts_of_items(products, parts).values())
    assert official_split(reversed(products)) == parts
    chosen = {each.attributes["itemId"] for each in products if parts[each.id] == "validation"}
    assert sorted(map(str, chosen))[:3] == ["id_0", "id_106", "id_121"]


@pytest.mark.parametrize(("items", "held_out"), [(1, 0), (2, 1), (9, 1), (14, 1), (15, 2)])
def test_few_training_items_still_leave_one_for_validation(items: int, held_out: int) -> None:
    assert Counter(official_split(in_shop(items, views=1)).values())["validation"] == held_out


def test_a_training_picture_of_no_item_stays_in_training() -> None:
    assert official_split([*in_shop(20), product("bare", partition="train")])["bare"] == "train"


def test_where_the_authors_made_a_validation_part_no_item_is_held_out() -> None:
    products = [*in_shop(20), product("judge", itemId="id_x", partition="val")]
    parts = official_split(products)
    assert [product_id for product_id, part in parts.items() if part == "validation"] == ["judge"]


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(ParameterInvalid, match="product '1' has the partition 'holdout'; it must be one of train, val"):
        official_split([product("1", partition="holdout")])


def test_queries_and_gallery_of_the_in_shop_benchmark_are_test(tmp_path: Path) -> None:
    folder = "img/WOMEN/Dresses/id_1"
    with_pictures(tmp_path, *(f"{folder}/{name}.jpg" for name in ("01_1_front", "01_3_back", "02_1_front")))
    inshop_benchmark(
        tmp_path,
        f"{folder}/01_1_front.jpg id_1 query",
        f"{folder}/01_3_back.jpg id_1 gallery",
        f"{folder}/02_1_front.jpg id_1 train",
    )
    products = read_catalog("deepfashion-inshop", tmp_path).products
    assert list(official_split(products).values()) == ["test", "test", "train"]
