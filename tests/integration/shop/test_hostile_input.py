"""Input that means harm or makes no sense: each is refused with its own reason, and nothing falls over."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.pictures import png
from harness.processes import Service, free_port
from harness.releases import picture
from harness.shop import DATASET, Shop
from harness.waiting import HUNG_AFTER_S

ORDER = {"dataset": DATASET}
KEYS = {"reader": "search", "writer": "search+ingest", "root": "admin"}


@pytest.fixture(scope="module")
def guarded(shop: Shop) -> Iterator[str]:
    """The address of a second search API on the same system, with keys configured."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    keys = ",".join(
        f"{name}:{scopes}:{hashlib.sha256(secret(name).encode()).hexdigest()}" for name, scopes in KEYS.items()
    )
    service = Service(
        "search_api",
        folder=shop.system.folder / "guarded",
        env={**shop.system.env, "VITRINE_API_PORT": str(port), "VITRINE_API_KEYS": keys},
        ready_url=f"{url}/livez",
    )
    yield url
    service.kill()


@pytest.fixture(autouse=True)
def _alive_afterwards(shop: Shop) -> Iterator[None]:
    yield
    assert shop.api.get("/livez").status_code == 200
    log = shop.system.services["search_api"].log.read_text()
    assert "request_defect" not in log
    assert "Traceback" not in log


def secret(name: str) -> str:
    return f"{name}-secret-of-the-test"


def problem(answer: httpx.Response) -> tuple[int, str]:
    """(status, code) of a problem document."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    told = answer.json()
    assert told["success"] is False
    assert told["detail"]
    assert told["status"] == answer.status_code
    return answer.status_code, told["code"]


def search(shop: Shop, data: bytes, **fields: Any) -> httpx.Response:
    return shop.api.post("/api/search", files={"image": ("q.jpg", data, "image/jpeg")}, data={**ORDER, **fields})


def bomb() -> bytes:
    """A PNG of 13000 by 13000 black pixels in some 20 KB."""
    packer = zlib.compressobj(9)
    row = b"\0" * (13_000 // 8 + 1)
    packed = b"".join(packer.compress(row) for _ in range(13_000)) + packer.flush()
    data = png(13_000, 13_000, bits=1, colour=0, rows=b"")
    head, tail = data[:33], data[-12:]
    return (
        head
        + len(packed).to_bytes(4, "big")
        + b"IDAT"
        + packed
        + zlib.crc32(b"IDAT" + packed).to_bytes(4, "big")
        + tail
    )


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "image_empty"),
        (b"These are words and no picture.", "image_format_unsupported"),
        (picture(1, size=(200, 200))[:1500], "image_truncated"),
        (bomb(), "image_too_large"),
        (b"\xff\xd8\xff" + bytes(500), None),
        (picture(1, size=(4, 4), kind="PNG"), "image_too_small"),
        (picture(1, size=(900, 9), kind="PNG"), "image_aspect"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image_format_unsupported"),
    ],
    ids=["empty", "text", "truncated", "13000x13000", "broken", "tiny", "thread", "gif"],
)  # fmt: skip
def test_a_picture_that_cannot_be_used_is_refused_with_its_reason(shop: Shop, data: bytes, code: str | None) -> None:
    for answer in (
        search(shop, data),
        shop.api.post("/api/recommend", files={"positiveImage": data}, data=ORDER),
        shop.api.put("/api/products/never", params=ORDER, files={"image": data}),
    ):
        status, told = problem(answer)
        assert status == 400
        assert told.startswith("image_") if code is None else told == code
    assert shop.api.get("/api/products/never", params=ORDER).status_code == 404


def test_the_large_picture_is_a_small_file() -> None:
    assert len(bomb()) < 30_000


def test_no_body_at_all_is_a_missing_picture(shop: Shop) -> None:
    assert problem(shop.api.post("/api/search")) == (400, "image_missing")
    assert problem(shop.api.post("/api/search", data={"a": "b"})) == (415, "media_type_unsupported")
    assert problem(shop.api.post("/api/search", json={})) == (415, "media_type_unsupported")
    assert problem(shop.api.post("/api/search", files={"photo": picture(1)}))[0] == 400


def raw_answer(url: str, head: str, body: bytes) -> tuple[int, dict[str, Any], int]:
    """(status, problem, bytes sent) of a request of which `body` is only the beginning."""
    address = httpx.URL(url)
    with socket.create_connection((address.host, address.port), timeout=HUNG_AFTER_S) as connection:
        connection.sendall(head.encode() + body)
        answer = b""
        while b"\r\n\r\n" not in answer or b"}" not in answer:
            piece = connection.recv(65536)
            if not piece:
                break
            answer += piece
    start, _, told = answer.partition(b"\r\n\r\n")
    return int(start.split()[1]), json.loads(told), len(body)


def upload_head(*, size: int, key: str | None) -> str:
    lines = ["POST /api/search HTTP/1.1", "Host: localhost", "Content-Type: multipart/form-data; boundary=b"]
    lines += [f"Content-Length: {size}"] + ([f"Authorization: Bearer {key}"] if key else [])
    return "\r\n".join(lines) + "\r\n\r\n"


def test_a_large_upload_without_a_key_is_refused_before_it_is_read(guarded: str) -> None:
    status, told, _ = raw_answer(guarded, upload_head(size=100_000_000, key=None), b"--b\r\n")
    assert (status, told["code"]) == (401, "key_missing")


def test_a_large_upload_with_a_key_is_refused_by_its_declared_size(guarded: str) -> None:
    status, told, _ = raw_answer(guarded, upload_head(size=100_000_000, key=secret("reader")), b"--b\r\n")
    assert (status, told["code"]) == (413, "body_too_large")


def test_a_large_upload_that_tells_no_size_is_cut_off(shop: Shop) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(400):
            yield bytes(100_000)

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    try:
        answer = httpx.post(f"{shop.system.url('search_api')}/api/search", content=endless(), headers=headers)
    except (httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
        return  # the server closed the connection while the rest was on its way
    assert problem(answer) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"model": "no-such-model"}, 400, "model_unknown"),
        ({"model": "../../etc/passwd"}, 400, None),
        ({"dataset": "nowhere"}, None, None),
        ({"dataset": "a--b"}, 400, "parameter_invalid"),
        ({"topK": "0"}, 400, "parameter_invalid"),
        ({"topK": "10000"}, 400, "parameter_invalid"),
        ({"topK": "-1"}, 400, "parameter_invalid"),
        ({"topK": ["3", "4"]}, 400, "parameter_invalid"),
        ({"minScore": "nan"}, 400, "parameter_invalid"),
        ({"expand": "1000000"}, 400, "parameter_invalid"),
        ({"groupBy": "genderArticleType"}, 400, "parameter_invalid"),
        ({"groupBy": "nothing"}, 400, "parameter_invalid"),
        ({"colour": "red"}, 400, "filter_invalid"),
        ({"year": "new"}, 400, "filter_invalid"),
        ({"year": "9" * 30}, 400, "filter_invalid"),
        ({"year": str(-(2**63) - 1)}, 400, "filter_invalid"),
        ({"yearMin": "inf"}, 400, "filter_invalid"),
        ({"genderMin": "1"}, 400, "filter_invalid"),
        ({"gender": "W" * 5000}, 400, "filter_invalid"),
        ({"gender": [f"g{number}" for number in range(100)]}, 400, "filter_invalid"),
        ({"must": '[{"key":"gender"}]'}, 400, "filter_invalid"),
    ],
)
def test_a_field_that_cannot_be_is_named(
    shop: Shop, fields: dict[str, Any], status: int | None, code: str | None
) -> None:
    told = problem(search(shop, picture(1), **fields))
    assert told[0] in ({status} if status else {400, 404})
    assert code is None or told[1] == code


def test_a_value_that_no_product_has_finds_nothing(shop: Shop) -> None:
    assert search(shop, picture(1), yearMin="1e300").json()["ranking"] == []
    for value in ("\0", "Women' OR 1=1", "😀", "*"):
        answer = search(shop, picture(1), gender=value)
        assert (answer.status_code, answer.json()["ranking"]) == (200, [])


def resident_bytes(pid: int) -> int:
    """The resident memory of a process."""
    if not Path("/proc/self/status").exists():
        pytest.skip("the memory of a process is read from /proc, which this system has not")
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


def test_header_lines_without_end_are_stopped_and_fill_no_memory(shop: Shop) -> None:
    for service in ("search_api", "embedder"):
        address = httpx.URL(shop.system.url(service))
        before = resident_bytes(shop.system.services[service].pid)
        for _ in range(3):
            with (
                socket.create_connection((address.host, address.port), timeout=HUNG_AFTER_S) as connection,
                contextlib.suppress(BrokenPipeError, ConnectionResetError),
            ):
                connection.sendall(b"GET /api/models HTTP/1.1\r\n")
                for _ in range(60):
                    connection.sendall(b"X-Header: value\r\n" * 60_000)  # a megabyte
        assert resident_bytes(shop.system.services[service].pid) < before + 40_000_000
        assert httpx.get(f"{shop.system.url(service)}/livez").status_code == 200


def test_a_form_of_too_many_fields_is_refused(shop: Shop) -> None:
    files: list[tuple[str, Any]] = [("image", ("q.jpg", picture(1)))]
    files += [(f"field{number}", (None, b"x")) for number in range(5_000)]
    assert problem(shop.api.post("/api/search", files=files)) == (400, "parameter_invalid")


FORM = "multipart/form-data; boundary=b"
DISPOSITION = b"--b\r\nContent-Disposition: form-data"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        pytest.param("multipart/form-data", b"--b\r\n", id="no boundary"),
        pytest.param("multipart/form-data; boundary=", b"--b\r\n", id="empty boundary"),
        pytest.param(FORM, b"", id="no body"),
        pytest.param(FORM, b"no boundary at all", id="no parts"),
        pytest.param(FORM, DISPOSITION + b'; name="image"; filename="a"\r\n\r\nabc', id="no end"),
        pytest.param(FORM, DISPOSITION + b"\r\n\r\nabc\r\n--b--\r\n", id="no name"),
        pytest.param(FORM, DISPOSITION + b'; name="gender"\r\n\r\n\xff\xfe\r\n--b--\r\n', id="value not UTF-8"),
        pytest.param(FORM, DISPOSITION + b'; name="\xff\xfe"\r\n\r\nx\r\n--b--\r\n', id="name not UTF-8"),
        pytest.param("multipart/form-data; boundary=" + "b" * 10_000, b"--b\r\n", id="long boundary"),
    ],
)
def test_a_broken_form_is_refused(shop: Shop, content_type: str, body: bytes) -> None:
    for method, path in (("POST", "/api/search"), ("POST", "/api/recommend"), ("PUT", "/api/products/never")):
        answer = shop.api.request(method, path, params=ORDER, content=body, headers={"Content-Type": content_type})
        assert problem(answer)[0] == 400


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"positive": []}', b'{"positive": [1], "x": 1}', b"\xff", b"[" * 20_000]
)
def test_a_broken_json_body_is_refused(shop: Shop, body: bytes) -> None:
    for method, path in (("POST", "/api/recommend"), ("PUT", "/api/products/10001"), ("POST", "/api/jobs/index")):
        answer = shop.api.request(
            method, path, params=ORDER, content=body, headers={"Content-Type": "application/json"}
        )
        assert problem(answer)[0] in (400, 422)


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "..%5c..%5cetc", "10001.jpg",
        "%00", "10001%00.jpg", "%2fetc%2fpasswd", "....%2f%2fstyles.csv", "x" * 3000, "%ff%fe", "%20", "-1", "1e9",
    ],
)  # fmt: skip
def test_a_tricky_picture_id_leads_nowhere(shop: Shop, name: str) -> None:
    for path in ("/api/images/", "/api/products/"):
        answer = shop.api.get(f"{path}{name}", params=ORDER)
        assert answer.status_code in (400, 404)
        # The client itself resolves the dots of some, and what they lead to is no call of the API but a page.
        if answer.request.url.path.startswith("/api/"):
            assert answer.json()["success"] is False
        assert b"root:" not in answer.content


def test_a_catalogue_without_a_csv_fails_with_a_clear_error(shop: Shop) -> None:
    folder = shop.system.catalogs / "no-csv" / "images"
    folder.mkdir(parents=True)
    (folder / "1.jpg").write_bytes(picture(1))
    job = shop.start_index(dataset="no-csv", root=str(folder.parent))
    record = shop.system.finished(job["id"])
    assert record.state == "failed"
    assert record.error is not None
    assert record.error.code in {"catalog_not_found", "catalog_malformed"}
    assert "csv" in record.error.detail.lower()
    assert shop.get("/api/models", dataset="no-csv")["models"] == []


@pytest.mark.parametrize("root", ["/etc", "/", "relative/path", "/tmp/../etc", "\0", "/nowhere/at/all", "x" * 4000])
def test_a_catalogue_outside_the_roots_is_refused_at_once(shop: Shop, root: str) -> None:
    body = {**ORDER, "reader": "folder", "root": root, "model": "test_efficientnet"}
    assert problem(shop.api.post("/api/jobs/index", json=body)) == (422, "catalog_root_refused")


def test_a_linked_catalogue_folder_is_refused(shop: Shop) -> None:
    link = shop.system.catalogs / "linked-root"
    link.symlink_to("/etc")
    body = {**ORDER, "reader": "folder", "root": str(link), "model": "test_efficientnet"}
    assert problem(shop.api.post("/api/jobs/index", json=body)) == (422, "catalog_root_refused")


def test_a_picture_that_links_out_of_the_root_is_told_and_never_shown(shop: Shop) -> None:
    root = shop.system.catalog("linked", count=10, seed=3)
    files = sorted((root / "images").iterdir())
    outside = shop.system.folder / "secret.jpg"
    outside.write_bytes(picture(1))
    order = {"dataset": "linked"}
    files[0].unlink()
    files[0].symlink_to(outside)
    record = shop.system.succeeded(shop.start_index(dataset="linked", root=str(root), release_id=shop.release)["id"])
    assert [(fault.product_id, fault.kind) for fault in record.faults] == [(files[0].stem, "unsafe_picture")]
    assert shop.get("/api/models", **order)["details"][0]["products"] == len(files) - 1
    assert problem(shop.api.get(f"/api/images/{files[0].stem}", params=order))[0] == 404
    # One that became a link after it was indexed is not shown either.
    files[1].unlink()
    files[1].symlink_to(outside)
    assert problem(shop.api.get(f"/api/images/{files[1].stem}", params=order)) == (404, "picture_not_found")


def test_a_key_is_needed_and_must_be_right_and_allow_the_call(guarded: str) -> None:
    def ask(method: str, path: str, key: str | None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.request(method, f"{guarded}{path}", headers=headers)

    assert problem(ask("GET", "/api/models", None)) == (401, "key_missing")
    assert problem(ask("GET", "/api/models", "guess")) == (403, "key_refused")
    assert ask("GET", "/api/models", secret("reader")).status_code == 200
    assert problem(ask("DELETE", "/api/products/none", secret("reader"))) == (403, "key_refused")
    assert problem(ask("DELETE", f"/api/products/none?dataset={DATASET}", secret("writer")))[0] == 404
    assert problem(ask("GET", "/metrics", secret("writer"))) == (403, "key_refused")
    assert ask("GET", "/metrics", secret("root")).status_code == 200
    assert problem(ask("POST", "/api/jobs/project", secret("writer"))) == (403, "key_refused")
    assert ask("GET", "/livez", None).status_code == 200
    assert httpx.get(f"{guarded}/api/models", headers={"X-API-Key": secret("reader")}).status_code == 200


def test_jobs_are_read_by_those_who_start_them_and_cancelled_with_the_scope_of_their_kind(
    guarded: str, shop: Shop
) -> None:
    body = {**ORDER, "reader": "synthetic", "root": str(shop.root), "model": "resnet18", "weights": "seed:1"}
    assert shop.api.post("/api/jobs/project", json=body).status_code == 202  # it waits: this system has no trainer

    def ask(method: str, path: str, key: str) -> httpx.Response:
        return httpx.request(method, f"{guarded}{path}", headers={"X-API-Key": secret(key)})

    assert problem(ask("GET", "/api/jobs", "reader")) == (403, "key_refused")
    jobs = {kind: ask("GET", f"/api/jobs?kind={kind}", "writer").json()["jobs"][0] for kind in ("index", "project")}
    for job in jobs.values():
        assert problem(ask("GET", f"/api/jobs/{job['id']}", "reader")) == (403, "key_refused")
        assert ask("GET", f"/api/jobs/{job['id']}", "writer").json()["job"]["id"] == job["id"]
    assert problem(ask("DELETE", f"/api/jobs/{jobs['project']['id']}", "writer")) == (403, "key_refused")
    assert problem(ask("DELETE", f"/api/jobs/{jobs['index']['id']}", "writer")) == (409, "job_finished")
    assert ask("GET", f"/api/jobs/{jobs['index']['id']}/events", "writer").status_code == 200
    record = f"/api/jobs/{jobs['project']['id']}/record"
    assert problem(ask("DELETE", record, "root")) == (409, "job_unfinished")
    assert ask("DELETE", f"/api/jobs/{jobs['project']['id']}", "root").json()["job"]["state"] == "cancelled"
    assert problem(ask("DELETE", record, "writer")) == (403, "key_refused")
    assert ask("DELETE", record, "root").json() == {"success": True, "id": jobs["project"]["id"]}
    assert problem(ask("DELETE", record, "root")) == (404, "job_not_found")


def test_the_details_of_the_system_are_for_an_admin(guarded: str) -> None:
    told = {
        key: httpx.get(f"{guarded}/api/status", headers={"X-API-Key": secret(key)}).json() for key in ("reader", "root")
    }
    assert told["reader"]["datasets"] == told["root"]["datasets"] != []
    assert all(set(facts) == {"up"} for facts in told["reader"]["services"].values())
    assert told["root"]["services"]["indexer"]["workers"]


def test_no_key_reaches_the_log(guarded: str, shop: Shop) -> None:
    httpx.get(f"{guarded}/api/models", headers={"X-API-Key": secret("reader")})
    httpx.get(f"{guarded}/api/models", headers={"X-API-Key": "a-wrong-guess"})
    log = (shop.system.folder / "guarded" / "search_api.log").read_text()
    assert secret("reader") not in log
    assert "a-wrong-guess" not in log


def test_under_a_foreign_name_nothing_is_read_or_changed(shop: Shop) -> None:
    foreign = {"Host": "evil.example"}
    product = f"/api/products/{next(iter(shop.rows))}"
    index = {**ORDER, "reader": "synthetic", "root": str(shop.root), "model": "test_efficientnet"}
    for answer in (
        shop.api.get("/api/jobs", headers=foreign),
        shop.api.get(product, params=ORDER, headers=foreign),
        shop.api.delete(product, params=ORDER, headers=foreign),
        shop.api.put(product, params=ORDER, json={"attributes": {"season": "x"}}, headers=foreign),
        shop.api.post("/api/jobs/index", json=index, headers=foreign),
        shop.api.get("/api/models/", headers=foreign),
    ):
        assert problem(answer) == (421, "host_refused")
    assert all(shop.api.get(path, headers=foreign).status_code == 421 for path in ("/", "/docs"))
    assert shop.api.get(product, params=ORDER).status_code == 200
    embedder = httpx.get(f"{shop.system.url('embedder')}/v1/releases", headers=foreign)
    assert problem(embedder) == (421, "host_refused")
    qdrant = httpx.get(f"{shop.system.env['VITRINE_QDRANT_URL']}/collections", headers=foreign)
    assert problem(qdrant) == (421, "host_refused")


def test_a_page_of_another_site_neither_searches_nor_changes_anything(shop: Shop) -> None:
    product = f"/api/products/{next(iter(shop.rows))}"
    for headers in (
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://localhost:1"},
    ):
        for answer in (
            shop.api.post("/api/search", files={"image": picture(1)}, data=ORDER, headers=headers),
            shop.api.post("/api/explain", files={"image": picture(1)}, data=ORDER, headers=headers),
            shop.api.post("/api/recommend", files={"positiveImage": picture(1)}, data=ORDER, headers=headers),
            shop.api.post(f"/api/releases/{shop.release}/activate", json={}, headers=headers),
            shop.api.delete(product, params=ORDER, headers=headers),
        ):
            assert problem(answer) == (403, "foreign_site")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None]
)
def test_what_takes_json_takes_nothing_that_a_page_can_send_unasked(shop: Shop, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    for path in (f"/api/releases/{shop.release}/activate", "/api/jobs/index", "/api/jobs/train"):
        for body in (b"{}", b""):
            answer = shop.api.post(path, params=ORDER, content=body, headers=headers)
            assert problem(answer) == (415, "media_type_unsupported")


@pytest.mark.parametrize("body", [b"", b"{}"])
def test_activating_takes_an_empty_json_body(shop: Shop, body: bytes) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    answer = shop.api.post(f"/api/releases/{shop.release}/activate", params=ORDER, content=body, headers=headers)
    assert answer.json()["release"] == shop.release
    refused = shop.api.post(f"/api/releases/{shop.release}/activate", params=ORDER, json={"x": 1})
    assert problem(refused) == (422, "body_invalid")


def test_a_json_body_is_bounded_and_its_numbers_are_finite(shop: Shop) -> None:
    json_type = {"Content-Type": "application/json"}
    recipe = b'{"dataset": "drawn", "root": "/x", "recipe": {"optim": {"lr": %s}}}'
    for path in ("/api/jobs/train", "/api/recommend"):
        for number in (b"NaN", b"-Infinity", b"1e999"):
            answer = shop.api.post(path, content=recipe % number, headers=json_type)
            assert problem(answer) == (400, "parameter_invalid")
        for body in (b'{"\\ud800": 1}', b'{"a": "\\ud800"}', b'{"a": ' + b"9" * 5000 + b"}"):
            assert problem(shop.api.post(path, content=body, headers=json_type)) == (422, "body_invalid")
        too_long = b'{"dataset": "' + b"x" * 262_144 + b'"}'
        assert problem(shop.api.post(path, content=too_long, headers=json_type)) == (413, "body_too_large")
        unsized = iter([too_long[:200_000], too_long[200_000:]])
        assert problem(shop.api.post(path, content=unsized, headers=json_type)) == (413, "body_too_large")


def test_what_a_job_may_not_be_told_is_refused_by_name(shop: Shop) -> None:
    wanted = {**ORDER, "reader": "synthetic", "root": str(shop.root), "model": "resnet18", "weights": "seed:1"}
    for options in ({"features_only": True}, {"checkpoint_path": "/etc/passwd"}, {"depth": 10**6}):
        answer = shop.api.post("/api/jobs/project", json={**wanted, "options": options})
        assert problem(answer) == (400, "parameter_invalid")
        assert next(iter(options)) in answer.json()["detail"]
    for model in ("timm:hf-hub:timm/resnet18", "timm:local-dir:/tmp", "timm:../resnet18"):
        answer = shop.api.post("/api/jobs/project", json={**wanted, "model": model})
        assert problem(answer) == (400, "parameter_invalid")
    long_name = shop.api.post("/api/jobs/project", json={**wanted, "options": {"o" * 100_000: 1}})
    assert problem(long_name) == (422, "body_invalid")
    assert len(long_name.content) < 2_000


def test_no_answer_repeats_the_callers_host(shop: Shop) -> None:
    for path, status in (("/api/models/", 200), ("/api/nothing/", 404)):
        answer = shop.api.get(path, follow_redirects=False)
        assert answer.status_code == status
        assert "location" not in answer.headers


@pytest.mark.parametrize(
    "change",
    [
        lambda api: api.get("/api/jobs/%2e%2e/%2e%2e/etc"),
        lambda api: api.get("/api/jobs/*"),
        lambda api: api.get(f"/api/jobs/{'0' * 21}/events"),
        lambda api: api.get("/api/jobs", params={"limit": 10**9}),
        lambda api: api.get("/api/jobs", params={"state": "asleep"}),
        lambda api: api.post("/api/releases/not-a-release/activate", json={}),
        lambda api: api.get("/api/facets", params={**ORDER, "field": ["gender"] * 3 + ["nothing"]}),
        lambda api: api.get("/api/facets", params=ORDER),
        lambda api: api.post("/api/jobs/index", json={}, headers={"Idempotency-Key": "k" * 300}),
        lambda api: api.request("TRACE", "/api/models"),
    ],
)
def test_other_nonsense_is_refused(shop: Shop, change: Callable[[httpx.Client], httpx.Response]) -> None:
    assert 400 <= problem(change(shop.api))[0] < 500
