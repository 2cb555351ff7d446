"""Labels that a running embedder predicts, of drawn pictures by the release that comes with Vitrine."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
import pytest
from PIL import Image

from harness.embedder import Embedder
from harness.pictures import encoded
from harness.releases import picture, store_of
from harness.waiting import HUNG_AFTER_S
from vitrine.embedding import AsyncEmbedderClient, EmbedderClient, Prediction
from vitrine.images.regions import Region
from vitrine.vision.classifier import LabelClassifier
from vitrine_local.bundled import install_bundled_releases
from vitrine_local.data_folder import DataFolder
from vitrine_local.demo_catalog.generate import generate_catalog

T = TypeVar("T")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("predictions")


@pytest.fixture(scope="module")
def demo(folder: Path) -> str:
    """The id of the bundled release, in the embedder's store."""
    data = DataFolder.at(folder)
    data.create()
    return install_bundled_releases(data)


@pytest.fixture(scope="module")
def embedder(folder: Path, demo: str) -> Iterator[Embedder]:
    service = Embedder(folder)
    yield service
    service.kill()


@pytest.fixture(scope="module")
def client(embedder: Embedder) -> Iterator[EmbedderClient]:
    with EmbedderClient(embedder.url) as client:
        yield client


@pytest.fixture(scope="module")
def drawn(folder: Path) -> dict[str, bytes]:
    """A drawn picture of each kind of product, by its article type."""
    catalog = generate_catalog(folder / "drawn", count=80, seed=1)
    kinds = {str(product.attributes["articleType"]): product for product in reversed(catalog.products)}
    return {kind: catalog.picture_path(product).read_bytes() for kind, product in kinds.items()}


def ask(embedder: Embedder, call: Callable[[AsyncEmbedderClient], Coroutine[Any, Any, T]]) -> T:
    async def asked() -> T:
        client = AsyncEmbedderClient(embedder.url)
        try:
            return await call(client)
        finally:
            await client.aclose()

    return asyncio.run(asked())


def post(embedder: Embedder, release: str, data: bytes, **parameters: str) -> httpx.Response:
    return httpx.post(
        f"{embedder.url}/v1/embed", params={"release": release, **parameters}, content=data, timeout=HUNG_AFTER_S
    )


@pytest.mark.parametrize("kind", ["Casual Shoes", "Heels", "Handbags", "Backpacks", "Watches", "Sunglasses"])
def test_a_drawn_product_is_predicted_by_its_kind(
    client: EmbedderClient, demo: str, drawn: dict[str, bytes], kind: str
) -> None:
    found = client.embed(drawn[kind], release_id=demo, predict=5).predicted
    assert found[0].label == kind
    assert found[0].probability > 0.5
    assert len(found) == 5
    assert [one.probability for one in found] == sorted((one.probability for one in found), reverse=True)
    assert sum(one.probability for one in found) <= 1


def test_a_drawn_dress_may_be_a_dress(client: EmbedderClient, demo: str, drawn: dict[str, bytes]) -> None:
    found = client.embed(drawn["Dresses"], release_id=demo, predict=3).predicted
    assert "Dresses" in {one.label for one in found}, found


def test_each_region_is_predicted_by_what_it_shows(client: EmbedderClient, demo: str, drawn: dict[str, bytes]) -> None:
    sheet = Image.new("RGB", (720, 480), "white")
    for left, kind in ((0, "Watches"), (360, "Handbags")):
        with Image.open(io.BytesIO(drawn[kind])) as opened:
            sheet.paste(opened.convert("RGB").resize((360, 480)), (left, 0))
    data = encoded(sheet, "PNG")
    for region, kind in ((Region(0, 0, 0.5, 1), "Watches"), (Region(0.5, 0, 0.5, 1), "Handbags")):
        found = client.embed(data, release_id=demo, predict=1, region=region)
        assert found.predicted[0].label == kind


def test_the_probabilities_are_of_the_mean_raw_feature_of_the_views(
    folder: Path, embedder: Embedder, demo: str, drawn: dict[str, bytes]
) -> None:
    store = store_of(folder / "releases")
    classifier = LabelClassifier.load(store.local_folder(demo), store.manifest(demo))
    assert classifier is not None
    views = "flip,crops:2"
    raw = ask(embedder, lambda client: client.embed(drawn["Caps"], release_id=demo, space="raw", views=views))
    found = ask(embedder, lambda client: client.embed(drawn["Caps"], release_id=demo, views=views, predict=20))
    expected = classifier.probabilities(raw.views.mean(axis=0))
    assert len(raw.views) == 6
    for one in found.predicted:
        assert one.probability == pytest.approx(expected[classifier.labels.index(one.label)], abs=0.01)
    assert found.predicted[0].label == classifier.labels[int(np.argmax(expected))]


def test_of_two_releases_the_first_predicts(embedder: Embedder, demo: str, drawn: dict[str, bytes]) -> None:
    def both(*release_ids: str) -> list[tuple[Prediction, ...]]:
        first, second = release_ids
        found = ask(
            embedder,
            lambda client: client.embed_for_both(
                drawn["Heels"],
                release_ids=(first, second),
                views="flip",
                caller="",
                deadline_s=HUNG_AFTER_S,
                predict=2,
            ),
        )
        return [one.predicted for one in found]

    predicted, nothing = both(demo, embedder.release)
    assert predicted[0].label == "Heels"
    assert nothing == ()
    assert both(embedder.release, demo) == [(), ()]


def test_a_release_without_a_classifier_predicts_nothing(embedder: Embedder, client: EmbedderClient) -> None:
    assert client.embed(picture(1), release_id=embedder.release, predict=20).predicted == ()
    answer = post(embedder, embedder.release, picture(1), predict="3")
    assert answer.status_code == 200
    assert "vitrine-predicted" not in answer.headers
    assert answer.json()["predicted"] is None


def test_json_names_the_same_labels_and_nothing_is_named_unasked(
    embedder: Embedder, client: EmbedderClient, demo: str, drawn: dict[str, bytes]
) -> None:
    told = post(embedder, demo, drawn["Heels"], predict="2").json()["predicted"]
    asked = client.embed(drawn["Heels"], release_id=demo, predict=2).predicted
    assert [one["label"] for one in told] == [one.label for one in asked]
    unasked = post(embedder, demo, drawn["Heels"])
    assert "vitrine-predicted" not in unasked.headers
    assert unasked.json()["predicted"] is None


@pytest.mark.parametrize("count", ["0", "21", "-1", "many", "1.5"])
def test_a_number_of_labels_that_cannot_be_is_refused(embedder: Embedder, demo: str, count: str) -> None:
    answer = post(embedder, demo, picture(1), predict=count)
    assert (answer.status_code, answer.json()["code"]) == (400, "parameter_invalid")
    assert "predict" in answer.json()["detail"]
