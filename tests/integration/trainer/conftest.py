"""One running system with a trainer and the search API for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.system import System, running_system


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Tests may add releases, jobs and catalogues."""
    with running_system(tmp_path_factory.mktemp("trainer") / "system", "trainer", "search_api") as system:
        yield system
