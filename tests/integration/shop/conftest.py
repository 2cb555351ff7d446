"""One running system with an indexed catalogue for all tests of this folder: starting it takes longest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.shop import Shop, running_shop


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Tests leave the products of `drawn` as they found them."""
    with running_shop(tmp_path_factory.mktemp("shop") / "system") as shop:
        yield shop
