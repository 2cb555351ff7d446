"""The embedder as a process: its calls, its errors, its readiness and its end."""

from __future__ import annotations

import base64
import concurrent.futures
import io
import threading
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from harness.embedder import Embedder
from harness.pictures import encoded
from harness.processes import free_port
from harness.releases import picture
from harness.waiting import HUNG_AFTER_S, wait_until
from vitrine.embedding import AsyncEmbedderClient, EmbedderClient
from vitrine.errors import EmbedderUnavailable, ImageRejected, ReleaseNotFound
from vitrine.images.views import views


def post(embedder: Embedder, path: str = "/v1/embed", **request: Any) -> httpx.Response:
    parameters = {"release": embedder.release}
    return httpx.post(f"{embedder.url}{path}", params=parameters, timeout=HUNG_AFTER_S, **request)


def test_one_picture_gets_a_unit_vector_and_the_time_of_each_stage(embedder: Embedder, client: EmbedderClient) -> None:
    found = client.embed(picture(1), release_id=embedder.release)
    assert found.vector.shape == (16,)
    assert found.vector.dtype == np.float32
    assert abs(np.linalg.norm(found.vector) - 1) < 1e-5
    assert set(found.timings_ms) == {"decode", "queue", "device"}


def test_json_and_bytes_say_the_same(embedder: Embedder, client: EmbedderClient) -> None:
    answer = post(embedder, content=picture(1), headers={"Content-Type": "image/jpeg"})
    assert answer.status_code == 200
    assert answer.json()["dim"] == 16
    np.testing.assert_allclose(
        answer.json()["vector"], client.embed(picture(1), release_id=embedder.release).vector, atol=1e-6
    )


def test_a_batch_keeps_order_and_tells_each_bad_picture(embedder: Embedder, client: EmbedderClient) -> None:
    pictures = [picture(1), b"", picture(2), b"%PDF-1.7 nothing", picture(3)[:200], picture(3)]
    results = client.embed_batch(pictures, release_id=embedder.release)
    assert [getattr(result, "reason", "vector") for result in results] == [
        "vector", "empty", "vector", "format_unsupported", "truncated", "vector",
    ]  # fmt: skip
    np.testing.assert_allclose(
        np.asarray(results[5]), client.embed(picture(3), release_id=embedder.release).vector, atol=1e-4
    )


def test_a_batch_as_json_tells_vectors_and_errors(embedder: Embedder) -> None:
    files = [("image", ("a.jpg", picture(1), "image/jpeg")), ("image", ("b.jpg", b"text", "image/jpeg"))]
    results = post(embedder, "/v1/embed/batch", files=files).json()["results"]
    assert len(results[0]["vector"]) == 16
    assert results[1]["error"]["code"] == "image_format_unsupported"


def test_raw_features_are_the_networks_own(embedder: Embedder, client: EmbedderClient) -> None:
    found = client.embed(picture(1), release_id=embedder.release, space="raw")
    assert found.vector.shape == (256,)


def in_binary(embedder: Embedder, **parameters: str) -> tuple[np.ndarray[Any, Any], httpx.Response]:
    """The rows of a picture's answer as float32."""
    answer = httpx.post(
        f"{embedder.url}/v1/embed",
        params={"release": embedder.release, **parameters},
        content=picture(1),
        headers={"Accept": "application/octet-stream"},
        timeout=HUNG_AFTER_S,
    )
    assert answer.status_code == 200, answer.text
    return np.frombuffer(answer.content, dtype="<f4").reshape(-1, 16), answer


def test_views_come_from_one_upload_with_their_mean_first(embedder: Embedder, client: EmbedderClient) -> None:
    rows, answer = in_binary(embedder, views="flip,crops:2")
    assert answer.headers["vitrine-shapes"] == "7x16"
    mean = rows[1:].mean(axis=0)
    np.testing.assert_allclose(rows[0], mean / np.linalg.norm(mean), atol=1e-6)
    np.testing.assert_allclose(rows[1], client.embed(picture(1), release_id=embedder.release).vector, atol=1e-4)
    with Image.open(io.BytesIO(picture(1))) as opened:
        seen = [encoded(view.of(opened.convert("RGB")), "PNG") for view in views(flip=True, crops=2)]
    alone = [client.embed(data, release_id=embedder.release).vector for data in seen]
    np.testing.assert_allclose(rows[1:], np.asarray(alone), atol=2e-3)


def test_json_tells_the_views_and_their_mean(embedder: Embedder) -> None:
    told = httpx.post(
        f"{embedder.url}/v1/embed",
        params={"release": embedder.release, "views": "flip", "also": embedder.release},
        content=picture(1),
        timeout=HUNG_AFTER_S,
    ).json()
    assert len(told["views"]) == 2
    mean = np.mean(told["views"], axis=0)
    np.testing.assert_allclose(told["vector"], mean / np.linalg.norm(mean), atol=1e-6)
    assert told["also"]["vector"] == pytest.approx(told["vector"], abs=1e-4)


def test_a_second_release_sees_the_same_upload(embedder: Embedder, client: EmbedderClient) -> None:
    rows, answer = in_binary(embedder, also=embedder.release)
    assert answer.headers["vitrine-shapes"] == "1x16,1x16"
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-4)
    np.testing.assert_allclose(rows[0], client.embed(picture(1), release_id=embedder.release).vector, atol=1e-4)


def test_two_pictures_are_explained_in_one_call(embedder: Embedder, client: EmbedderClient) -> None:
    files = [("image", ("a", picture(1))), ("image", ("b", picture(2)))]
    answer = post(embedder, "/v1/explain", files=files)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    one, other = (client.embed(picture(number), release_id=embedder.release).vector for number in (1, 2))
    assert told["score"] == pytest.approx(float(one @ other), abs=1e-3)
    assert np.asarray(told["heats"]).shape == (2, 8, 6)
    with Image.open(io.BytesIO(base64.b64decode(told["picture"]))) as shown:
        assert shown.height == 480
    assert post(embedder, "/v1/explain", files=files[:1]).status_code == 400
    assert post(embedder, "/v1/explain", files=[files[0], ("image", ("b", b"text"))]).status_code == 400


def test_a_picture_can_be_checked_without_a_release(embedder: Embedder) -> None:
    assert httpx.post(f"{embedder.url}/v1/check", content=picture(1), timeout=HUNG_AFTER_S).status_code == 204
    refused = httpx.post(f"{embedder.url}/v1/check", content=picture(1)[:-300], timeout=HUNG_AFTER_S)
    assert (refused.status_code, refused.json()["code"]) == (400, "image_truncated")


def test_pictures_that_take_too_long_together_are_refused_before_they_are_decoded(embedder: Embedder) -> None:
    large = encoded(Image.new("RGB", (6400, 5000)), "PNG")
    answer = post(embedder, "/v1/embed/batch", files=[("image", (str(number), large)) for number in range(16)])
    assert (answer.status_code, answer.json()["code"]) == (413, "work_too_large")


def test_a_call_whose_caller_has_gone_is_dropped(embedder: Embedder, client: EmbedderClient) -> None:
    pictures = [("image", (str(number), picture(number))) for number in range(256)]
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{embedder.url}/v1/embed/batch",
            params={"release": embedder.release},
            files=pictures,
            timeout=httpx.Timeout(60, read=0.01),
        )
    with httpx.Client() as looking:
        wait_until(
            lambda: looking.get(f"{embedder.url}/readyz").json()["pictures_in_flight"] == 0,
            what="nothing is at work any more",
        )
    assert client.embed(picture(1), release_id=embedder.release).vector.shape == (16,)


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 400, "image_missing"),
        (b"plain text", 400, "image_format_unsupported"),
        (picture(1)[:500], 400, "image_truncated"),
    ],
)
def test_a_bad_picture_is_told_as_a_problem(embedder: Embedder, content: bytes, status: int, code: str) -> None:
    answer = post(embedder, content=content)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == code


def test_an_unknown_release_is_not_found(client: EmbedderClient) -> None:
    with pytest.raises(ReleaseNotFound):
        client.embed(picture(1), release_id="test_efficientnet-0000000000")
    with pytest.raises(ReleaseNotFound):
        client.embed(picture(1), release_id="../../etc/passwd")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"content": b"x", "headers": {"Content-Type": "application/json"}}, 415),
        ({"content": b"x", "headers": {"X-Request-Deadline-Ms": "soon"}}, 400),
        ({"content": b"x", "headers": {"X-Request-Deadline-Ms": "0"}}, 400),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(embedder: Embedder, request_: dict[str, Any], status: int) -> None:
    assert post(embedder, **request_).status_code == status


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"x", "image/jpeg", 415, "media_type_unsupported"),
        (b"", "multipart/form-data; boundary=b", 400, "image_missing"),
        (b"no boundary at all", "multipart/form-data; boundary=b", 400, None),
        (b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\nx', "multipart/form-data; boundary=b", 400, None),
        (
            b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--b--\r\n',
            "multipart/form-data; boundary=b",
            400,
            "parameter_invalid",
        ),
    ],
)
def test_a_batch_that_is_not_well_formed_is_refused(
    embedder: Embedder, body: bytes, kind: str, status: int, code: str | None
) -> None:
    answer = post(embedder, "/v1/embed/batch", content=body, headers={"Content-Type": kind})
    assert answer.status_code == status
    assert code is None or answer.json()["code"] == code


def test_more_than_256_pictures_are_refused(embedder: Embedder) -> None:
    files = [("image", (str(number), b"x")) for number in range(257)]
    answer = post(embedder, "/v1/embed/batch", files=files)
    assert answer.status_code == 400
    assert "256" in answer.json()["detail"]


def test_a_thousand_bad_pictures_leave_it_ready(embedder: Embedder, client: EmbedderClient) -> None:
    for _ in range(4):
        results = client.embed_batch([picture(5)[:120]] * 250, release_id=embedder.release)
        assert all(isinstance(result, ImageRejected) for result in results)
    assert httpx.get(f"{embedder.url}/readyz").json()["status"] == "ready"
    assert client.embed(picture(1), release_id=embedder.release).vector.shape == (16,)


def test_readiness_ran_a_real_inference(embedder: Embedder, client: EmbedderClient) -> None:
    client.embed(picture(1), release_id=embedder.release)
    facts = httpx.get(f"{embedder.url}/readyz").json()
    assert embedder.release in facts["releases"]
    assert facts["device"] == "cpu"
    assert facts["last_failure"] is None


def test_metrics_tell_depth_batches_and_stages(embedder: Embedder, client: EmbedderClient) -> None:
    client.embed(picture(1), release_id=embedder.release)
    text = httpx.get(f"{embedder.url}/metrics").text
    for name in ("queue_depth", "batch_size_bucket", 'stage_seconds_count{stage="device"}', "pictures_in_flight"):
        assert f"vitrine_embedder_{name}" in text


def test_releases_are_listed_with_what_is_loaded(embedder: Embedder, client: EmbedderClient) -> None:
    client.embed(picture(1), release_id=embedder.release)
    listed = httpx.get(f"{embedder.url}/v1/releases").json()["releases"]
    assert (embedder.release, True) in [(one["release"], one["loaded"]) for one in listed]


def test_an_overloaded_embedder_answers_503_with_retry_after(tmp_path: Path) -> None:
    service = Embedder(tmp_path, VITRINE_QUEUE_MAX_PICTURES="8", VITRINE_MAX_BATCH="1")
    files = [("image", (str(number), picture(number))) for number in range(64)]
    nobody_waits = {"Vitrine-Work": "batch"}
    try:
        with concurrent.futures.ThreadPoolExecutor(24) as pool:

            def refusals() -> list[httpx.Response]:
                """Of 24 batches at once: again, where each had its turn before the next one came."""
                calls = [
                    pool.submit(post, service, "/v1/embed/batch", files=files, headers=nobody_waits) for _ in range(24)
                ]
                answers = [call.result() for call in calls]
                assert {answer.status_code for answer in answers} <= {200, 503}
                return [answer for answer in answers if answer.status_code == 503]

            refused = wait_until(refusals, what="a batch that does not fit into a queue of 8 pictures")
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        assert {answer.json()["code"] for answer in refused} == {"embedder_overloaded"}
        assert post(service, content=picture(1)).status_code == 200, "it serves again when the load is gone"
    finally:
        service.kill()


def test_sigterm_finishes_what_is_under_way(tmp_path: Path) -> None:
    service = Embedder(tmp_path, VITRINE_MAX_BATCH="1")
    with EmbedderClient(service.url) as client:
        client.embed(picture(0), release_id=service.release)
        outcome: list[object] = []
        pictures = [picture(number) for number in range(256)]
        seen = threading.Event()

        def embed() -> None:
            # Again, where a batch has come and gone between two looks.
            while not seen.is_set():
                outcome.append(client.embed_batch(pictures, release_id=service.release))

        call = threading.Thread(target=embed)
        call.start()
        with httpx.Client() as looking:
            wait_until(
                lambda: looking.get(f"{service.url}/readyz").json()["pictures_in_flight"] > 0,
                what="the batch is under way",
            )
        seen.set()
        assert service.terminate() == 0
        call.join()
    results = outcome[-1]
    assert isinstance(results, list)
    assert len(results) == 256
    assert all(isinstance(result, np.ndarray) for result in results)


def test_an_embedder_that_is_away_is_told_by_both_clients() -> None:
    import asyncio

    url = f"http://127.0.0.1:{free_port()}"
    with EmbedderClient(url) as client, pytest.raises(EmbedderUnavailable):
        client.embed(picture(1), release_id="a-0123456789")

    async def ask() -> None:
        client = AsyncEmbedderClient(url)
        try:
            with pytest.raises(EmbedderUnavailable):
                await client.embed(picture(1), release_id="a-0123456789", deadline_s=5.0)
        finally:
            await client.aclose()

    asyncio.run(ask())
