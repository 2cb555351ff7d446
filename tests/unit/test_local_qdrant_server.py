"""The HTTP interface of the local Qdrant: API key, bodies, names, unsupported calls, and recovery after a crash."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from qdrant_client.http import models
from starlette.testclient import TestClient

from harness.edge_server import flood, read_to_end
from harness.processes import LocalQdrant
from harness.waiting import HUNG_AFTER_S
from vitrine_local.errors import DataFolderInUse
from vitrine_local.qdrant import updates
from vitrine_local.qdrant.app import create_app
from vitrine_local.qdrant.disk import storage_lock
from vitrine_local.qdrant.store import Store

VECTORS = {"size": 2, "distance": "Cosine"}
KEY = "a key of some length"


@pytest.fixture
def http(tmp_path: Path) -> Iterator[TestClient]:
    with serving(tmp_path) as client:
        assert client.put("/collections/shop", json={"vectors": VECTORS}).json()["result"] is True
        yield client


def serving(root: Path, **options: Any) -> TestClient:
    store = Store(root)
    store.open()
    return TestClient(create_app(store, **options), base_url="http://127.0.0.1:6333")


def error_of(answer: Any) -> str:
    return str(answer.json()["status"]["error"])


def point(number: int, **payload: object) -> dict[str, object]:
    return {"id": number, "vector": [1.0, float(number)], "payload": payload}


def made(alias: str, collection: str) -> dict[str, object]:
    return {"create_alias": {"collection_name": collection, "alias_name": alias}}


def renamed(old: str, new: str) -> dict[str, object]:
    return {"rename_alias": {"old_alias_name": old, "new_alias_name": new}}


class TestEdges:
    def test_an_answer_has_qdrants_envelope(self, http: TestClient) -> None:
        answer = http.get("/collections/shop/exists").json()
        assert answer.keys() == {"result", "status", "time"}
        assert (answer["result"], answer["status"]) == ({"exists": True}, "ok")
        assert answer["time"] > 0

    def test_calls_need_the_key_but_health_checks_do_not(self, tmp_path: Path) -> None:
        with serving(tmp_path, api_key=KEY) as client:
            assert client.get("/collections").status_code == 401
            assert client.get("/collections", headers={"api-key": "wrong"}).status_code == 401
            assert client.put("/collections/shop", json={"vectors": VECTORS}).status_code == 401
            assert client.get("/collections", headers={"api-key": KEY}).json()["result"] == {"collections": []}
            assert client.get("/collections", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200
            assert [client.get(path).status_code for path in ("/", "/readyz", "/livez", "/healthz")] == [200] * 4

    def test_requests_of_other_web_sites_are_refused(self, tmp_path: Path) -> None:
        with serving(tmp_path, hosts=frozenset({"qdrant.internal"})) as client:
            for host in ("evil.example", "127.0.0.1.evil.example:6333", "localhost@evil.example", "[::1", ""):
                refused = client.put("/collections/shop", json={"vectors": VECTORS}, headers={"host": host})
                assert (refused.status_code, refused.json()["code"]) == (421, "host_refused")
            refused = client.put("/collections/shop", json={}, headers={"origin": "http://127.0.0.1:8000"})
            assert (refused.status_code, refused.json()["code"]) == (403, "foreign_site")
            assert client.get("/collections").json()["result"] == {"collections": []}
            for host in ("localhost", "localhost:6333", "127.0.0.2:6333", "[::1]:6333", "QDRANT.internal."):
                assert client.get("/collections", headers={"host": host}).status_code == 200

    def test_a_body_over_the_limit_is_refused_with_and_without_a_content_length(self, tmp_path: Path) -> None:
        with serving(tmp_path, max_body_bytes=1_000) as client:
            long = b" " * 1_001
            headers = {"content-type": "application/json"}
            assert client.put("/collections/shop", content=long, headers=headers).status_code == 413
            assert client.put("/collections/shop", content=iter([long]), headers=headers).status_code == 413

    def test_only_json_is_accepted(self, http: TestClient) -> None:
        body = json.dumps({"points": [point(1)]})
        for media_type in ("text/plain", "application/x-www-form-urlencoded"):
            answer = http.put("/collections/shop/points", content=body, headers={"content-type": media_type})
            assert answer.status_code == 415

    @pytest.mark.parametrize(
        "body",
        [
            "{",
            "[]",
            '{"points": 3}',
            '{"points": [{"id": -1, "vector": [1, 2]}]}',
            '{"points": [{"id": "abc", "vector": [1, 2]}]}',
            '{"points": [{"id": 1, "vector": [NaN, 2]}]}',
            '{"points": [{"id": 1, "vector": [1e39, 2]}]}',
            '{"points": [{"id": 1, "vector": [1, 2], "payload": {"a": NaN}}]}',
            '{"points": [{"id": 1, "vector": [1, 2], "colour": "red"}]}',
            '{"batch": {"ids": [1, 2], "vectors": [[1, 2]]}}',
        ],
    )
    def test_invalid_points_are_refused_and_nothing_is_written(self, http: TestClient, body: str) -> None:
        answer = http.put("/collections/shop/points", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400, answer.text
        assert error_of(answer).startswith("Format error in JSON body")
        assert http.post("/collections/shop/points/count", json={}).json()["result"] == {"count": 0}

    @pytest.mark.parametrize("name", ["a b", "a%3Cb", "ä", "a" * 256, "%00"])
    def test_a_name_with_other_characters_is_refused(self, http: TestClient, name: str) -> None:
        answer = http.put(f"/collections/{name}", json={"vectors": VECTORS})
        assert answer.status_code == 422
        assert "name" in error_of(answer)

    @pytest.mark.parametrize("name", ["%2e%2e", "..%2f..%2fetc", "...", "-", "a.b--c_d"])
    def test_collection_names_are_not_used_as_folder_names(self, http: TestClient, tmp_path: Path, name: str) -> None:
        http.put(f"/collections/{name}", json={"vectors": VECTORS})
        folders = list((tmp_path / "collections").iterdir())
        assert all(len(folder.name) == 32 and int(folder.name, 16) for folder in folders)
        assert {path.name for path in tmp_path.iterdir()} <= {
            "collections", "aliases.json", "aliases.copy.json", "lock", "ballast",
        }  # fmt: skip


class TestListsOfVectors:
    """Points with a vector for each picture."""

    @pytest.fixture
    def several(self, tmp_path: Path) -> Iterator[TestClient]:
        vectors = {**VECTORS, "multivector_config": {"comparator": "max_sim"}}
        # 1 KiB of vectors are 128 of them.
        options = {"indexing_threshold": 1}
        with serving(tmp_path) as client:
            client.put("/collections/shop", json={"vectors": vectors, "optimizers_config": options})
            points = [{"id": number, "vector": [[1.0, float(number)], [-1.0, 0.0]]} for number in range(1, 51)]
            assert client.put("/collections/shop/points?wait=true", json={"points": points}).status_code == 200
            yield client

    @pytest.mark.parametrize("per_point", [1, 3])
    def test_all_vectors_count_for_the_size_at_which_a_graph_is_built(self, tmp_path: Path, per_point: int) -> None:
        store = Store(tmp_path)
        store.open()
        request = {
            "vectors": {**VECTORS, "multivector_config": {"comparator": "max_sim"}},
            "optimizers_config": {"indexing_threshold": 1},  # 1 KiB are 128 vectors
        }
        store.create("shop", models.CreateCollection.model_validate(request))
        points = [models.PointStruct(id=number, vector=[[1.0, 0.0]] * per_point) for number in range(100)]
        asyncio.run(updates.upsert(store.get("shop"), models.PointsList(points=points)))
        assert store.get("shop").needs_optimizer is (per_point == 3)
        store.close()
        store = Store(tmp_path)
        store.open()
        assert store.get("shop").needs_optimizer is (per_point == 3)
        store.close()

    def test_they_are_there_after_a_restart(self, several: TestClient, tmp_path: Path) -> None:
        several.__exit__(None, None, None)
        with serving(tmp_path) as again:
            answer = again.post("/collections/shop/points", json={"ids": [3], "with_vector": True}).json()
            assert len(answer["result"][0]["vector"]) == 2
            hits = again.post("/collections/shop/points/query", json={"query": [-1.0, 0.0], "limit": 60}).json()
            assert len(hits["result"]["points"]) == 50

    @pytest.mark.parametrize("vector", [[], [[]], [[], [1.0, 2.0]], [[1.0, 2.0], 3.0], [[1.0]], [[[1.0, 2.0]]]])
    def test_a_list_of_another_shape_is_refused_and_the_server_lives(self, several: TestClient, vector: object) -> None:
        refused = several.put("/collections/shop/points?wait=true", json={"points": [{"id": 1, "vector": vector}]})
        assert 400 <= refused.status_code < 500
        refused = several.post("/collections/shop/points/query", json={"query": vector})
        assert 400 <= refused.status_code < 500
        assert several.post("/collections/shop/points/count", json={}).json()["result"]["count"] == 50

    def test_a_list_with_too_many_vectors_is_refused(self, several: TestClient) -> None:
        body = {"points": [{"id": 1, "vector": [[1.0, 2.0]] * 524_289}]}
        assert several.put("/collections/shop/points?wait=true", json=body).status_code == 422

    def test_a_recommendation_of_lists_is_refused_by_name(self, several: TestClient) -> None:
        body = {"query": {"recommend": {"positive": [1]}}}
        answer = several.post("/collections/shop/points/query", json=body)
        assert answer.status_code == 501
        assert "lists of vectors" in error_of(answer)


class TestRefusals:
    @pytest.mark.parametrize(
        ("body", "named"),
        [
            ({"vectors": {"image": VECTORS}}, "named vectors"),
            ({}, "collections without vectors"),
            ({"vectors": VECTORS, "sparse_vectors": {"text": {}}}, "sparse_vectors"),
            ({"vectors": VECTORS, "shard_number": 2}, "shard_number"),
            ({"vectors": VECTORS, "replication_factor": 3}, "replication_factor"),
            ({"vectors": VECTORS, "quantization_config": {"binary": {}}}, "BinaryQuantization"),
            ({"vectors": VECTORS, "quantization_config": {"turbo": {"memory": "cold"}}}, "quantization_config.memory"),
            ({"vectors": VECTORS, "strict_mode_config": {"read_rate_limit": 1}}, "strict_mode_config.read_rate_limit"),
            ({"vectors": VECTORS, "optimizers_config": {"flush_interval_sec": 1}}, "optimizers_config"),
        ],
    )
    def test_an_unsupported_collection_is_refused_with_the_options_name(
        self, http: TestClient, body: dict[str, object], named: str
    ) -> None:
        answer = http.put("/collections/other", json=body)
        assert answer.status_code == 501
        assert error_of(answer).startswith("Not supported by the local Qdrant: ")
        assert named in error_of(answer)
        assert not http.get("/collections/other/exists").json()["result"]["exists"]

    @pytest.mark.parametrize(
        ("path", "body", "named"),
        [
            ("points/query", {"prefetch": [{"query": [1, 2]}], "query": {"fusion": "rrf"}}, "prefetch"),
            ("points/query", {"query": {"fusion": "rrf"}}, "FusionQuery"),
            ("points/query", {"query": {"nearest": [1, 2], "mmr": {"diversity": 0.5}}}, "mmr"),
            ("points/query", {"query": {"recommend": {"positive": [1], "strategy": "best_score"}}}, "best_score"),
            ("points/batch", {"operations": []}, "POST /collections/shop/points/batch"),
            ("points/query", {"query": 1, "lookup_from": {"collection": "x"}}, "lookup_from"),
            ("points/query", {"query": {"text": "shirt", "model": "m"}}, "Document"),
            (
                "points/count",
                {"filter": {"must": {"key": "a", "geo_radius": {"center": {"lon": 0, "lat": 0}, "radius": 1}}}},
                "geo_radius",
            ),
            ("points/search/matrix/pairs", {"sample": 3}, "POST /collections/shop/points/search/matrix/pairs"),
            ("snapshots", {}, "POST /collections/shop/snapshots"),
        ],
    )
    def test_an_unsupported_call_is_refused_with_its_name(
        self, http: TestClient, path: str, body: dict[str, object], named: str
    ) -> None:
        answer = http.post(f"/collections/shop/{path}", json=body)
        assert answer.status_code == 501
        assert named in error_of(answer)

    @pytest.mark.parametrize(
        ("path", "body", "status"),
        [
            ("points/query", {"query": [1, 2], "limit": 0}, 422),
            ("points/query", {"query": [1, 2], "offset": -1}, 422),
            ("points/query", {"query": [1, 2], "using": "image"}, 400),
            ("points/query", {"query": [1, 2], "with_vector": ["image"]}, 400),
            ("points/query/groups", {"query": [1, 2], "group_by": "a", "group_size": 0}, 422),
            ("points/scroll", {"limit": 0}, 422),
            ("points/count", {"filter": {"must": [{"key": "a["}]}}, 400),
            ("points/delete", {}, 400),
            ("points/payload", {"payload": {}}, 400),
        ],
    )
    def test_values_out_of_range_are_refused(
        self, http: TestClient, path: str, body: dict[str, object], status: int
    ) -> None:
        answer = http.post(f"/collections/shop/{path}", json=body)
        assert answer.status_code == status, answer.text
        assert error_of(answer)


class TestAliases:
    def change(self, http: TestClient, *actions: Mapping[str, object]) -> int:
        return int(http.post("/collections/aliases", json={"actions": list(actions)}).status_code)

    def aliases(self, http: TestClient) -> dict[str, str]:
        listed = http.get("/aliases").json()["result"]["aliases"]
        return {item["alias_name"]: item["collection_name"] for item in listed}

    def test_a_request_with_one_invalid_change_changes_nothing(self, http: TestClient) -> None:
        assert self.change(http, made("now", "shop")) == 200
        assert self.change(http, {"delete_alias": {"alias_name": "now"}}, made("now", "nowhere")) == 404
        assert self.change(http, renamed("now", "then"), made("shop", "shop")) == 409
        assert self.aliases(http) == {"now": "shop"}

    def test_aliases_survive_a_restart_and_can_be_renamed(self, tmp_path: Path) -> None:
        with serving(tmp_path) as client:
            client.put("/collections/shop", json={"vectors": VECTORS})
            assert self.change(client, made("now", "shop")) == 200
            assert self.change(client, renamed("now", "then")) == 200
            assert client.put("/collections/then", json={"vectors": VECTORS}).status_code == 409
        with serving(tmp_path) as client:
            assert self.aliases(client) == {"then": "shop"}
            assert client.get("/collections/then").status_code == 200


class TestDisk:
    def test_leftovers_of_a_crash_are_removed_and_the_rest_is_served(self, tmp_path: Path) -> None:
        with serving(tmp_path) as client:
            client.put("/collections/shop", json={"vectors": VECTORS})
            client.put("/collections/gone", json={"vectors": VECTORS})
            client.put("/collections/shop/points?wait=true", json={"points": [point(1), point(2)]})
            client.post("/collections/aliases", json={"actions": [made("old", "gone")]})
        records = {
            json.loads(path.read_bytes())["name"]: path for path in tmp_path.glob("collections/*/collection.json")
        }
        records["gone"].unlink()  # an interrupted deletion
        (tmp_path / "collections" / ("0" * 32) / "shards").mkdir(parents=True)  # an interrupted creation
        shop = records["shop"].parent
        shard = next((shop / "shards").iterdir())
        shutil.copytree(shard, shop / "shards" / ("1" * 32))  # an interrupted optimization
        (shop / ".collection.json.0123abcd.tmp").write_text("{")  # an interrupted write
        with serving(tmp_path) as client:
            assert client.get("/collections").json()["result"]["collections"] == [{"name": "shop"}]
            assert client.post("/collections/shop/points/count", json={}).json()["result"] == {"count": 2}
            assert client.get("/aliases").json()["result"]["aliases"] == []
        assert [path.name for path in (tmp_path / "collections").iterdir()] == [shop.name]
        assert list((shop / "shards").iterdir()) == [shard]
        assert not list(shop.glob("*.tmp"))

    def test_a_collections_settings_survive_a_restart(self, tmp_path: Path) -> None:
        with serving(tmp_path) as client:
            body = {"vectors": VECTORS, "metadata": {"a": 1, "b": 2}, "optimizers_config": {"indexing_threshold": 5}}
            client.put("/collections/shop", json=body)
            client.put("/collections/shop/index?wait=true", json={"field_name": "kind", "field_schema": "keyword"})
            client.patch("/collections/shop", json={"metadata": {"a": None, "c": 3}})
        with serving(tmp_path) as client:
            info = client.get("/collections/shop").json()["result"]
            assert info["config"]["metadata"] == {"b": 2, "c": 3}
            assert info["config"]["optimizer_config"]["indexing_threshold"] == 5
            assert info["payload_schema"]["kind"]["data_type"] == "keyword"

    def test_a_storage_folder_can_be_locked_once(self, tmp_path: Path) -> None:
        with storage_lock(tmp_path), pytest.raises(DataFolderInUse), storage_lock(tmp_path):
            pass
        with storage_lock(tmp_path):
            pass


def memory_bytes(pid: int) -> int:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalQdrant]:
    """A running local Qdrant with an API key."""
    monkeypatch.setenv("VITRINE_QDRANT_API_KEY", KEY)
    server = LocalQdrant(tmp_path)
    yield server
    server.kill()


def connected(server: LocalQdrant) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=HUNG_AFTER_S)


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of another process is read from /proc")
def test_endless_headers_without_a_key_are_cut_off_and_use_little_memory(guarded: LocalQdrant) -> None:
    before_bytes = memory_bytes(guarded.popen.pid)
    lines = b"X-Header: value\r\n" * 1_000
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(connected(guarded)) for _ in range(5)]
        for connection in connections:
            connection.sendall(b"GET /collections HTTP/1.1\r\n")
            assert flood(connection, lines, total_bytes=40_000_000) < 20_000_000
        assert memory_bytes(guarded.popen.pid) < before_bytes + 50_000_000
    with connected(guarded) as connection:
        connection.sendall(b"GET /collections HTTP/1.1\r\n" + b"X-Header: value\r\n" * 2_500)
        assert read_to_end(connection).startswith(b"HTTP/1.1 431 ")
    with connected(guarded) as connection:
        connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert read_to_end(connection).startswith(b"HTTP/1.1 200 ")


def test_a_client_without_the_key_is_refused_before_its_body_arrives(guarded: LocalQdrant) -> None:
    for key in (b"", b"api-key: wrong\r\n"):
        head = b"PUT /collections/shop/points HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        with connected(guarded) as connection:
            connection.sendall(head + key + b"Content-Length: 60000000\r\n\r\n[")
            assert read_to_end(connection).startswith(b"HTTP/1.1 401 ")


def test_sigterm_ends_the_server_with_exit_status_0(guarded: LocalQdrant) -> None:
    with connected(guarded):
        assert guarded.terminate() == 0


def test_a_non_loopback_address_needs_a_key(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vitrine_local.qdrant", "--storage", str(tmp_path), "--host", "0.0.0.0"]
    refused = subprocess.run(command, capture_output=True, text=True, timeout=HUNG_AFTER_S, check=False)
    assert refused.returncode == 2
    assert "not a loopback address" in refused.stderr
