"""The embedder's cache of releases, and the releases it refuses."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from embedder.metrics import Metrics
from embedder.model_cache import ModelCache
from harness.releases import build_tiny_release, store_of
from vitrine.errors import (
    EmbedderOverloaded,
    ReleaseCorrupt,
    ReleaseError,
    ReleaseNotFound,
)
from vitrine.vision.network import choose_device

CPU = choose_device("cpu", "float32")


def test_releases_make_room_for_each_other_but_not_while_in_use(tmp_path: Path) -> None:
    first = build_tiny_release(tmp_path / "releases", weights="seed:1")
    second = build_tiny_release(tmp_path / "releases", weights="seed:2")
    store = store_of(tmp_path / "releases")
    one_size = store.manifest(first).weights.size_bytes
    models = ModelCache(
        store, CPU, max_bytes=int(1.5 * one_size), largest_batch=2, metrics=Metrics(CollectorRegistry())
    )

    async def scenario() -> None:
        held = await models.acquire(first)
        with pytest.raises(EmbedderOverloaded):
            await models.acquire(second)
        models.release(held)
        models.release(await models.acquire(second))
        assert [loaded.release_id for loaded in models.loaded()] == [second]
        together = await asyncio.gather(*(models.acquire(second) for _ in range(5)))
        assert len(set(map(id, together))) == 1, "a release is loaded once, however many ask for it"
        with pytest.raises(ReleaseNotFound):
            await models.acquire("test_efficientnet-0000000000")

    asyncio.run(scenario())
    models.close()


def test_a_release_whose_network_fails_is_reported_and_not_retryable(tmp_path: Path) -> None:
    """A transformer with a fixed input size, in a release that sets another one."""
    store = store_of(tmp_path / "releases")
    whole = build_tiny_release(tmp_path / "releases", model="timm:levit_128s", input_px=224)
    manifest, folder = store.manifest(whole), store.local_folder(whole)
    other = manifest.preprocessing.model_copy(update={"input_px": 64})
    broken = store.publish(
        manifest.model_copy(update={"preprocessing": other}),
        weights=folder / "weights.safetensors", projection=folder / "projection.safetensors",
    )  # fmt: skip
    models = ModelCache(store, CPU, max_bytes=10**9, largest_batch=2, metrics=Metrics(CollectorRegistry()))

    async def scenario() -> None:
        with pytest.raises(ReleaseCorrupt, match="cannot be loaded") as refused:
            await models.acquire(broken)
        assert not refused.value.retryable
        models.release(await models.acquire(whole))

    asyncio.run(scenario())
    models.close()


def test_a_release_that_can_never_fit_is_refused_with_the_setting(tmp_path: Path) -> None:
    release_id = build_tiny_release(tmp_path / "releases")
    models = ModelCache(
        store_of(tmp_path / "releases"), CPU, max_bytes=1000, largest_batch=2, metrics=Metrics(CollectorRegistry())
    )
    with pytest.raises(ReleaseError, match="VITRINE_RELEASES_MAX_BYTES"):
        asyncio.run(models.acquire(release_id))
    models.close()
