"""What the embedder loads before it is asked, and how its health reports the parser."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from embedder.metrics import Metrics
from embedder.model_cache import ModelCache
from embedder.preload import Preload
from harness.parsers import publish_unread_parser
from harness.releases import build_tiny_release, store_of
from harness.tiny_parser import build_tiny_parser
from vitrine.vision.network import choose_device


def loaded_at_start(folder: Path, *, releases: str = "", parser_model: str = "vitrine-parser") -> tuple[set[str], str]:
    """(the releases in memory, the state of the parser) after the start."""
    store = store_of(folder)
    metrics = Metrics(CollectorRegistry())
    models = ModelCache(store, choose_device("cpu", "float32"), max_bytes=10**9, largest_batch=2, metrics=metrics)
    preload = Preload(store, models, releases=releases, parser_model=parser_model)
    assert preload.parser == "absent", "nothing is loaded yet"

    async def start() -> None:
        await preload.load_releases()
        await preload.load_parser()

    asyncio.run(start())
    models.close()
    return {one.release_id for one in models.loaded()}, preload.parser


def test_the_newest_parser_of_the_store_is_loaded(tmp_path: Path) -> None:
    publish_unread_parser(tmp_path / "releases", "vitrine-parser")
    newest = build_tiny_parser(tmp_path / "releases")
    assert loaded_at_start(tmp_path / "releases") == ({newest}, "loaded")


@pytest.mark.parametrize("model", ["another-parser", ""])
def test_without_a_parser_of_the_model_nothing_is_loaded(tmp_path: Path, model: str) -> None:
    publish_unread_parser(tmp_path / "releases", "vitrine-parser")
    assert loaded_at_start(tmp_path / "releases", parser_model=model) == (set(), "absent")


def test_a_parser_that_cannot_be_loaded_is_reported_and_the_releases_serve(tmp_path: Path) -> None:
    release = build_tiny_release(tmp_path / "releases")
    publish_unread_parser(tmp_path / "releases", "vitrine-parser")
    loaded, parser = loaded_at_start(tmp_path / "releases", releases=f"tiny-0000000000, {release}")
    assert loaded == {release}
    assert parser in ("release_corrupt", "weights_unusable")
