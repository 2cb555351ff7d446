"""One running embedder with one tiny release for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.embedder import Embedder
from harness.tiny_parser import build_tiny_parser
from vitrine.embedding import EmbedderClient


@pytest.fixture(scope="session")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedder]:
    service = Embedder(tmp_path_factory.mktemp("embedder"))
    yield service
    service.kill()


@pytest.fixture(scope="session")
def parser(embedder: Embedder) -> str:
    """A parser that knows drawn people, in the same store."""
    return build_tiny_parser(embedder.releases)


@pytest.fixture(scope="module")
def client(embedder: Embedder) -> Iterator[EmbedderClient]:
    with EmbedderClient(embedder.url) as client:
        yield client
