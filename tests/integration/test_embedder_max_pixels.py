"""An embedder that accepts smaller pictures only: every call refuses a larger one, and names the limit."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from harness.embedder import Embedder
from harness.pictures import encoded, gradient
from harness.waiting import HUNG_AFTER_S
from vitrine.embedding import EmbedderClient
from vitrine.errors import ImageRejected

FITS, LARGER = encoded(gradient(100, 100), "PNG"), encoded(gradient(101, 100), "JPEG")


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedder]:
    service = Embedder(tmp_path_factory.mktemp("embedder"), VITRINE_MAX_PIXELS="10000")
    yield service
    service.kill()


@pytest.mark.parametrize(
    ("call", "parameters"),
    [
        ("/v1/embed", {}),
        ("/v1/embed", {"region": "0,0,0.5,0.5", "views": "flip"}),
        ("/v1/check", {}),
        ("/v1/thumbnail", {"width": "64"}),
    ],
)
def test_a_larger_picture_is_refused_with_the_limit(embedder: Embedder, call: str, parameters: dict[str, str]) -> None:
    for data, status in ((FITS, 200), (LARGER, 400)):
        answer = httpx.post(
            f"{embedder.url}{call}",
            params={"release": embedder.release, **parameters},
            content=data,
            timeout=HUNG_AFTER_S,
        )
        assert answer.status_code == (204 if (call, status) == ("/v1/check", 200) else status), answer.text
    assert answer.json()["code"] == "image_too_large"
    assert "10000 in all are allowed" in answer.json()["detail"]


def test_explaining_refuses_it_too(embedder: Embedder) -> None:
    answer = httpx.post(
        f"{embedder.url}/v1/explain",
        params={"release": embedder.release},
        files=[("image", ("a", FITS)), ("image", ("b", LARGER))],
        timeout=HUNG_AFTER_S,
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "image_too_large")


def test_in_a_batch_it_costs_its_own_result_only(embedder: Embedder) -> None:
    with EmbedderClient(embedder.url) as client:
        first, second = client.embed_batch([LARGER, FITS], release_id=embedder.release)
    assert isinstance(first, ImageRejected)
    assert first.reason == "too_large"
    assert not isinstance(second, Exception)


def test_it_is_ready(embedder: Embedder) -> None:
    assert httpx.get(f"{embedder.url}/readyz").json()["last_failure"] is None
