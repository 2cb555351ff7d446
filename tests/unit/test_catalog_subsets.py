"""Named selections of a catalogue's products."""

from __future__ import annotations

import pytest

from vitrine.catalogs.registry import select, subset_names
from vitrine.errors import CatalogMalformed, ParameterInvalid
from vitrine.products import Product


def product(product_id: str, **attributes: str) -> Product:
    return Product("shop", product_id, f"{product_id}.jpg", attributes)


def test_a_product_belongs_to_a_subset_if_all_attributes_match() -> None:
    products = [
        product("1", masterCategory="Footwear", articleType="Heels"),
        product("2", masterCategory="Accessories", articleType="Watches"),
        product("3", masterCategory="Apparel", articleType="Kurtas"),
        product("4", masterCategory="Accessories", articleType="Heels"),
        product("5", masterCategory="Apparel", articleType="Night suits"),
        product("6", articleType="Tshirts"),
    ]
    assert [chosen.id for chosen in select(products, "fashion-22")] == ["1", "5"]


def test_an_unknown_subset_is_refused_with_the_known_ones() -> None:
    assert subset_names() == ("fashion-22",)
    with pytest.raises(ParameterInvalid, match="no subset 'fashion-23'; there are fashion-22"):
        select([product("1")], "fashion-23")


def test_an_empty_selection_is_refused() -> None:
    with pytest.raises(CatalogMalformed, match="no product is in the subset 'fashion-22'"):
        select([product("1", masterCategory="Apparel", articleType="Kurtas")], "fashion-22")
