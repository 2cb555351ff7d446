"""Every parameter, header, form field and JSON field that the two services declare, with values that mean harm. Each is
answered with an error of the caller's own or not minded at all, and never with a defect. A new route is in the table
as soon as it is declared.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote

import httpx
import pytest

from harness.deployment import REPOSITORY
from harness.releases import picture
from harness.shop import DATASET, Shop
from harness.waiting import HUNG_AFTER_S

TEXTS: Final = {
    "NUL": "a\0b",
    "surrogate": "a\ud800b",
    "digits": "9" * 5_000,
    "NaN": "nan",
    "path": "../../etc/passwd",
    "controls": "\x1b[2J\r\nX-Injected: 1",
    "long": "x" * 15_000,
}
FORM_TEXTS: Final = ("NUL", "digits", "NaN", "controls")  # each costs a search
VALUES: Final = (
    '"a\\u0000b"', '"a\\ud800b"', "NaN", "1e400", "9" * 5_000, '{"\\ud800": 1}', "[null, NaN]",
    "[" * 3_000 + "]" * 3_000, "-1", "null", '["\\ud800"]',
)  # fmt: skip
BODIES: Final = (
    b"", b"[" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000, b'{"\\ud800": 1}', b'{"\\u0000": 1}', b"NaN",
    b"null", b"1", b'"text"', b"\xef\xbb\xbf{}", b"\xff", '{"a": 1}'.encode("utf-16"), b'{"a": "\xe9"}',
    b'{"' + b"k" * 100_000 + b'": 1}', b'{"a": 1, "a": 2}', b"{" + b'"k":' + b"9" * 5_000 + b"}",
)  # fmt: skip
JSON: Final = {"Content-Type": "application/json"}
MOST_ANSWER_BYTES: Final = 30_000

Operation = tuple[str, str, str, dict[str, Any], dict[str, Any]]


def operations(service: str, file: str) -> Iterator[Any]:
    document = json.loads((REPOSITORY / "docs" / "openapi" / file).read_text())
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield pytest.param((service, method.upper(), path, operation, document), id=f"{service} {method} {path}")


ALL: Final = [
    *operations("search_api", "search-api.json"),
    *operations("embedder", "embedder.json"),
]


class Asker:
    """Asks one operation, with everything as it should be but for one thing."""

    def __init__(self, shop: Shop, operation: Operation, client: httpx.Client) -> None:
        self.service, self.method, self.path, self.operation, self.document = operation
        self._client = client
        self._good = {
            "product_id": next(iter(shop.rows)) if self.method == "GET" else "no-such-product",
            "job_id": "0" * 21,
            "release_id": shop.release,
            "release": shop.release,
            # One that is dropped is not the one that other tests search.
            "dataset": "no-such-dataset" if self.method == "DELETE" else DATASET,
        }
        self.content = self.operation.get("requestBody", {}).get("content", {})

    def parameters(self, kind: str) -> list[str]:
        return [one["name"] for one in self.operation.get("parameters", []) if one["in"] == kind]

    def ask(self, *, path: str | None = None, **request: Any) -> None:
        query = {name: self._good[name] for name in self.parameters("query") if name in self._good}
        address = self.path if path is None else path
        for name in self.parameters("path"):
            address = address.replace("{" + name + "}", quote(self._good.get(name, "x"), safe=""))
        query.update(request.pop("params", {}))
        pairs = "&".join(f"{encoded(name)}={encoded(value)}" for name, value in query.items())
        with self._client.stream(self.method, f"{address}?{pairs}", **{**self.body(), **request}) as answer:
            if answer.headers.get("content-type", "").startswith("text/event-stream"):
                return
            answer.read()
        assert answer.status_code < 500, (answer.status_code, answer.text[:500])
        assert "x-injected" not in answer.headers
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
            assert self.method.upper() == "HEAD" or answer.json()["success"] is False
            assert "\x1b" not in answer.text
            assert len(answer.content) < MOST_ANSWER_BYTES

    def body(self) -> dict[str, Any]:
        if "multipart/form-data" in self.content:
            # Nothing may come of a put but its refusal: other tests count on the products.
            return {"files": {"image": b"no picture" if self.method == "PUT" else picture(1)}}
        if "application/json" in self.content:
            return {"json": {}}
        return {"content": picture(1)} if self.content else {}


@pytest.fixture
def asker(shop: Shop, operation: Operation) -> Iterator[Asker]:
    """Nothing that it asks may leave a defect in the service's log."""
    log = shop.system.services[operation[0]].log
    size = log.stat().st_size
    with httpx.Client(base_url=shop.system.url(operation[0]), timeout=HUNG_AFTER_S, trust_env=False) as client:
        yield Asker(shop, operation, client)
    with log.open() as file:
        file.seek(size)
        written = file.read()
    assert "request_defect" not in written
    assert "Traceback" not in written


def taking(media_type: str) -> list[Any]:
    """The operations that take a body of this type."""
    return [one for one in ALL if media_type in one.values[0][3].get("requestBody", {}).get("content", {})]


def encoded(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


def properties(document: dict[str, Any], content: dict[str, Any], media_type: str) -> tuple[list[str], list[str]]:
    """(the fields, the required ones) of a body."""
    schema = content.get(media_type, {}).get("schema", {})
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return list(schema.get("properties", {})), schema.get("required", [])


@pytest.mark.parametrize("operation", ALL)
def test_no_parameter_header_or_path_makes_a_defect(asker: Asker) -> None:
    for text in TEXTS.values():
        for name in asker.parameters("path"):
            asker.ask(path=asker.path.replace("{" + name + "}", encoded(text)))
        for name in asker.parameters("query"):
            asker.ask(params={name: text})
        for name in (*asker.parameters("header"), "X-Request-ID", "Accept"):
            value = text.encode("latin-1", "replace").translate(None, b"\0\r\n")
            asker.ask(headers={name: value})
        asker.ask(params={text: text})


@pytest.mark.parametrize("operation", taking("application/json"))
def test_no_json_body_makes_a_defect(asker: Asker) -> None:
    for body in BODIES:
        asker.ask(content=body, headers=JSON)
    fields, required = properties(asker.document, asker.content, "application/json")
    for field in fields:
        others = json.dumps(dict.fromkeys((name for name in required if name != field), "x"))[1:-1]
        for value in VALUES:
            text = "{" + ", ".join(filter(None, (others, f'"{field}": {value}'))) + "}"
            asker.ask(content=text.encode(), headers=JSON)


@pytest.mark.parametrize("operation", taking("multipart/form-data"))
def test_no_form_makes_a_defect(asker: Asker) -> None:
    fields, _ = properties(asker.document, asker.content, "multipart/form-data")
    for field in fields:
        for name in FORM_TEXTS:
            asker.ask(files=[*asker.body()["files"].items(), (field, (None, TEXTS[name]))])
    head = b"--b\r\nContent-Disposition: form-data; "
    for part in (
        head + b'name="\xed\xa0\x80"\r\n\r\nx',
        head + b'name="a\0b"\r\n\r\n\0',
        head + b"name*=utf-8''%ED%A0%80\r\n\r\nx",
        head + b"name*=\xff\xff\r\n\r\nx",
        head + b'name="' + b'"; a="' * 20_000 + b'"\r\n\r\nx',
        b"--b\r\n" + b"X: y\r\n" * 50_000 + b"\r\nx",
        head + b'name="gender"\r\n\r\n\xed\xa0\x80',
        head + b'name="image"; filename="../../\0"\r\nContent-Type: \xff\r\n\r\n\xff\xd8\xff',
    ):
        asker.ask(content=part + b"\r\n--b--\r\n", headers={"Content-Type": "multipart/form-data; boundary=b"})
