"""Several addresses of Qdrant: a request that one node does not answer goes to the next, over HTTP and gRPC."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from qdrant_client import QdrantClient, models
from starlette.testclient import TestClient

from harness.circle import DIM, IDS, field, must, number_of, points, vector
from harness.processes import LocalQdrant, free_port
from harness.qdrant_grpc import GrpcGateway
from harness.waiting import wait_until
from search_api.app import create_app
from search_api.settings import Settings
from vitrine.errors import CollectionNotFound, FilterInvalid, SettingsInvalid, VectorStoreUnavailable
from vitrine.qdrant.client import open_async_qdrant, open_qdrant
from vitrine.qdrant.errors import qdrant_errors
from vitrine.qdrant.nodes import MAX_RETRY_S, Nodes
from vitrine.settings import CommonSettings, load_settings

NAME = "circle"
HOSTS = ("127.0.0.1", "127.0.0.2")
NODES = ",".join(f"http://{host}:1" for host in HOSTS)
NEW = str(uuid.uuid5(uuid.NAMESPACE_URL, "product/new"))
SEARCHES = 8  # at once


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalQdrant, LocalQdrant]]:
    """Two servers with the same points."""
    folder = tmp_path_factory.mktemp("cluster")
    both = (LocalQdrant(folder / "a"), LocalQdrant(folder / "b"))
    for server in both:
        client = open_qdrant(server.url)
        fill(client)
        client.close()
    yield both
    for server in both:
        server.kill()


@pytest.fixture
def cluster(servers: tuple[LocalQdrant, LocalQdrant]) -> tuple[LocalQdrant, LocalQdrant]:
    """The same, running again if a test has killed them."""
    for server in servers:
        if not server.running():
            server.start()
            server.wait_ready()
    return servers


def fill(client: QdrantClient) -> None:
    client.create_collection(NAME, vectors_config=models.VectorParams(size=DIM, distance=models.Distance.COSINE))
    client.create_payload_index(NAME, "gender", models.PayloadSchemaType.KEYWORD, wait=True)
    client.upsert(NAME, points(), wait=True)


def address(*servers: LocalQdrant) -> str:
    return ",".join(server.url for server in servers)


def nearest(client: QdrantClient, number: int) -> int:
    return number_of(client.query_points(NAME, query=vector(number), limit=1).points[0].id)


def test_a_node_killed_during_searches_loses_none_of_them(cluster: tuple[LocalQdrant, LocalQdrant]) -> None:
    first, second = cluster

    async def search() -> None:
        client = open_async_qdrant(address(first, second), timeout_s=60)
        answered = asyncio.Semaphore(0)
        stop = asyncio.Event()

        async def one_after_another(number: int) -> None:
            while not stop.is_set():
                number = (number + 1) % len(IDS)
                found = await client.query_points(NAME, query=vector(number), limit=1)
                assert number_of(found.points[0].id) == number
                answered.release()

        async def kill_the_first() -> None:
            for _ in range(50):
                await answered.acquire()
            await asyncio.to_thread(first.kill)
            for _ in range(50 + SEARCHES):
                await answered.acquire()
            stop.set()

        async with asyncio.TaskGroup() as tasks:
            for worker in range(SEARCHES):
                tasks.create_task(one_after_another(worker))
            tasks.create_task(kill_the_first())
        await client.close()

    asyncio.run(search())
    assert not first.running()


def test_the_first_node_is_used_again_when_it_is_back(cluster: tuple[LocalQdrant, LocalQdrant]) -> None:
    first, second = cluster
    nodes = Nodes(address(first, second))
    client = open_qdrant(nodes)
    first.kill()
    assert nearest(client, 3) == 3
    [away, up] = nodes.facts()
    assert (away["url"], away["up"], away["reason"]) == (first.url, False, "ConnectError")
    assert up == {"url": second.url, "up": True}
    first.start()
    first.wait_ready()

    def back() -> bool:
        assert nearest(client, 4) == 4
        return bool(nodes.facts()[0]["up"])

    wait_until(back, what="the first node")
    second.kill()
    assert nearest(client, 5) == 5
    client.close()


def test_a_node_that_hangs_takes_its_share_of_the_time_once(cluster: tuple[LocalQdrant, LocalQdrant]) -> None:
    first, second = cluster
    client = open_qdrant(address(first, second), timeout_s=4)
    assert nearest(client, 1) == 1
    with first.paused():
        started_s = time.monotonic()
        assert nearest(client, 2) == 2
        assert time.monotonic() - started_s >= 1.9, "the first node had half of the four seconds"
        assert nearest(client, 3) == 3
    client.close()


def test_writes_go_on_at_the_next_node(cluster: tuple[LocalQdrant, LocalQdrant]) -> None:
    first, second = cluster
    client = open_qdrant(address(first, second))
    first.kill()
    with qdrant_errors(NAME):
        done = client.upsert(NAME, [models.PointStruct(id=NEW, vector=vector(0.5), payload={"gender": "New"})])
        assert done.status == models.UpdateStatus.COMPLETED
        assert client.count(NAME, must(field("gender", "New")), exact=True).count == 1
    client.close()


def test_a_cluster_without_a_node_is_reported_as_unavailable() -> None:
    client = open_qdrant(f"http://127.0.0.1:{free_port()},http://127.0.0.1:{free_port()}")
    for _ in range(2):
        with pytest.raises(VectorStoreUnavailable, match="cannot be reached"), qdrant_errors():
            client.get_collections()
    client.close()


def test_refusals_are_the_same_as_with_one_address(cluster: tuple[LocalQdrant, LocalQdrant]) -> None:
    nodes = Nodes(address(*cluster))
    client = open_qdrant(nodes)
    with pytest.raises(CollectionNotFound), qdrant_errors("missing"):
        client.query_points("missing", query=vector(1))
    with pytest.raises(FilterInvalid), qdrant_errors(NAME, filtered=True):
        client.query_points(NAME, query=[0.5], query_filter=must(field("gender", "Men")))
    assert all(node["up"] for node in nodes.facts()), "an answer is an answer"
    client.close()


def test_a_failed_node_is_left_out_for_longer_each_time() -> None:
    now_s = 0.0
    nodes = Nodes("http://a:6333, http://b:6333/", clock=lambda: now_s)
    a, b = nodes.all
    assert [attempt.node for attempt in nodes.attempts()] == [a, b]
    pauses = []
    for _ in range(6):
        nodes.failed(a, "ConnectError")
        left_out_at_s = now_s
        while True:
            first = next(iter(nodes.attempts()))
            if first.node == a:
                break
            now_s += 0.5
        assert first.check_first
        assert next(iter(nodes.attempts())).node == b, "one request checks it, the others do not wait"
        pauses.append(now_s - left_out_at_s)
    assert pauses == [1, 2, 4, 8, MAX_RETRY_S, MAX_RETRY_S]
    nodes.answered(a)
    assert next(iter(nodes.attempts())).check_first is False


@pytest.mark.parametrize(
    "url", ["", "a:6333", "http://a:6333,ftp://b", "http://a:99999", "http://a,http://a/", "http://"]
)
def test_addresses_that_are_not_valid_are_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITRINE_QDRANT_URL", url)
    with pytest.raises(SettingsInvalid, match="VITRINE_QDRANT_URL"):
        load_settings(CommonSettings)


def test_the_status_names_the_nodes_and_readiness_needs_one(
    cluster: tuple[LocalQdrant, LocalQdrant], tmp_path: Path
) -> None:
    first, second = cluster
    settings = Settings(
        qdrant_url=address(first, second),
        redis_url=f"redis://127.0.0.1:{free_port()}/0",
        embedder_url=f"http://127.0.0.1:{free_port()}",
        releases_url=f"file:{tmp_path / 'releases'}",
        uploads_dir=tmp_path / "uploads",
    )
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:

        def nodes() -> list[bool]:
            facts = client.get("/api/status").json()["services"]["qdrant"]
            assert [node["url"] for node in facts["nodes"]] == [first.url, second.url]
            return [node["up"] for node in facts["nodes"]]

        assert nodes() == [True, True]
        first.kill()
        wait_until(lambda: nodes() == [False, True], what="the node that is away")
        assert client.get("/readyz").json()["needs"]["qdrant"] == {"up": True}


class TestGrpc:
    @pytest.fixture
    def port(self) -> int:
        return free_port()

    @pytest.fixture
    def gateways(
        self, cluster: tuple[LocalQdrant, LocalQdrant], port: int
    ) -> Iterator[tuple[GrpcGateway, GrpcGateway]]:
        """One on each of two loopback addresses, with the same port as a cluster's nodes have."""
        both = tuple(GrpcGateway(server.url, host=host, port=port) for server, host in zip(cluster, HOSTS, strict=True))
        yield both[0], both[1]
        for gateway in both:
            gateway.close()

    def test_calls_go_over_grpc_to_the_next_node_and_back(
        self, gateways: tuple[GrpcGateway, GrpcGateway], port: int
    ) -> None:
        first, second = gateways
        nodes = Nodes(NODES)
        client = open_qdrant(nodes, grpc_port=port, api_key="a key")
        assert nearest(client, 1) == 1
        assert (first.calls, second.calls) == (1, 0)
        assert first.keys == {"a key"}
        first.kill()
        assert nearest(client, 2) == 2
        assert second.calls == 1
        first.start()

        def back() -> bool:
            assert nearest(client, 4) == 4
            return bool(nodes.facts()[0]["up"])

        wait_until(back, what="the first node")
        client.close()

    def test_a_node_killed_during_searches_loses_none_of_them(
        self, gateways: tuple[GrpcGateway, GrpcGateway], port: int
    ) -> None:
        async def search() -> None:
            client = open_async_qdrant(NODES, grpc_port=port)
            killer = threading.Thread(target=gateways[0].kill)
            for number in range(len(IDS)):
                if number == 10:
                    killer.start()
                found = await asyncio.gather(
                    *(client.query_points(NAME, query=vector(number), limit=1) for _ in range(SEARCHES))
                )
                assert {number_of(one.points[0].id) for one in found} == {number}
            killer.join()
            found_after = await client.query_points(NAME, query=vector(7), limit=1)
            assert number_of(found_after.points[0].id) == 7
            await client.close()

        asyncio.run(search())
        assert gateways[1].calls > 0

    def test_refusals_are_mapped_as_over_http(self, gateways: tuple[GrpcGateway, GrpcGateway], port: int) -> None:
        assert gateways
        client = open_qdrant(NODES, grpc_port=port)
        with pytest.raises(CollectionNotFound), qdrant_errors("missing"):
            client.query_points("missing", query=vector(1))
        with pytest.raises(FilterInvalid), qdrant_errors(NAME, filtered=True):
            client.query_points(NAME, query=[0.5], query_filter=must(field("gender", "Men")))
        assert client.count(NAME, must(field("gender", "Men")), exact=True).count == len(IDS) // 3
        client.close()

    def test_no_server_at_the_port_is_reported_as_unavailable(self) -> None:
        client = open_qdrant("http://127.0.0.1:6333", grpc_port=free_port())
        with pytest.raises(VectorStoreUnavailable, match=r"cannot be reached \(UNAVAILABLE\)"), qdrant_errors():
            client.get_collections()
        client.close()
