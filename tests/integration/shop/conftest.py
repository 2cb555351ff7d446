"""One running system with an indexed catalogue for all tests of this folder: starting it takes longest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.shop import Shop, running_shop
from harness.tiny_parser import build_tiny_parser


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Tests leave the products of `drawn` as they found them."""
    with running_shop(tmp_path_factory.mktemp("shop") / "system") as shop:
        yield shop


@pytest.fixture(scope="session")
def parser(shop: Shop) -> str:
    """A parser that knows drawn people; from then on it is in the store of the shop. Returns its release's id."""
    return build_tiny_parser(shop.system.releases)
