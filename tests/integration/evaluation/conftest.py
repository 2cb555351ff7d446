"""A drawn catalogue and two very small releases, shared by the tests of a module."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.evaluating import COUNT
from harness.releases import build_tiny_release
from harness.training import drawn_catalog
from vitrine.catalogs import Catalog


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluation")


@pytest.fixture(scope="module")
def catalog(folder: Path) -> Catalog:
    return drawn_catalog(folder / "shop", count=COUNT)


@pytest.fixture(scope="module")
def releases(folder: Path) -> tuple[str, str]:
    return tuple(build_tiny_release(folder / "releases", weights=f"seed:{seed}") for seed in (0, 1))  # type: ignore[return-value]
