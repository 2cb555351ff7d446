"""Durability of the local Qdrant: acknowledged writes survive kills and restarts, and searches continue meanwhile."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from qdrant_client import QdrantClient, models

from harness.processes import LocalQdrant
from harness.waiting import HUNG_AFTER_S, wait_until

DIM = 64
BULK = 6_000
BATCH = 500
# So low that the bulk gets a search graph. Building it takes some seconds.
INDEXING_THRESHOLD_KB = 500


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalQdrant]:
    process = LocalQdrant(tmp_path)
    yield process
    process.kill()


@pytest.fixture
def client(server: LocalQdrant) -> Iterator[QdrantClient]:
    connection = QdrantClient(server.url, timeout=HUNG_AFTER_S, check_compatibility=False)
    yield connection
    connection.close()


def create(client: QdrantClient, name: str, *, threshold_kb: int = INDEXING_THRESHOLD_KB) -> None:
    client.create_collection(
        name,
        vectors_config=models.VectorParams(size=DIM, distance=models.Distance.COSINE),
        optimizers_config=models.OptimizersConfigDiff(indexing_threshold=threshold_kb),
    )
    client.create_payload_index(name, "kind", field_schema=models.PayloadSchemaType.KEYWORD, wait=True)


def upsert(client: QdrantClient, name: str, ids: range, *, kind: str = "bulk") -> None:
    generator = random.Random(ids.start)
    batch = models.Batch(
        ids=list(ids),
        vectors=[[generator.gauss(0, 1) for _ in range(DIM)] for _ in ids],
        payloads=[{"kind": kind} for _ in ids],
    )
    assert client.upsert(name, batch, wait=True).status == models.UpdateStatus.COMPLETED


def fill(client: QdrantClient, name: str) -> None:
    for start in range(0, BULK, BATCH):
        upsert(client, name, range(start, start + BATCH))


def shard_folders(folder: Path) -> list[Path]:
    return sorted((folder / "storage" / "collections").glob("*/shards/*"))


def optimizer_children() -> list[int]:
    """The optimizer processes of any server."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if b"vitrine_local.qdrant.optimizer_process" in command:
            found.append(int(process.name))
    return found


def filled_while_it_optimizes(client: QdrantClient, server: LocalQdrant) -> int:
    """Write the bulk.

    Returns the server's optimizer process, which is stopped: it stays at work on a machine of any speed until the test
    sends SIGCONT.
    """
    children: list[int] = []

    def look() -> bool:
        for pid in optimizer_children():
            if f"PPid:\t{server.pid}\n" in Path(f"/proc/{pid}/status").read_text():
                os.kill(pid, signal.SIGSTOP)
                children.append(pid)
        return bool(children)

    looking = threading.Thread(target=lambda: wait_until(look, what="the optimizer's child"))
    looking.start()
    fill(client, "shop")
    looking.join()
    (child,) = children
    return child


def is_gone(pid: int) -> Callable[[], bool]:
    return lambda: pid not in optimizer_children()


def is_green(client: QdrantClient, name: str) -> Callable[[], bool]:
    return lambda: client.get_collection(name).status == models.CollectionStatus.GREEN


def test_acknowledged_points_survive_kill_9(server: LocalQdrant, client: QdrantClient) -> None:
    create(client, "shop")
    acknowledged: list[int] = []
    enough = threading.Event()

    def write() -> None:
        for start in range(0, 1_000_000, 20):
            try:
                upsert(client, "shop", range(start, start + 20))
            except Exception:
                return
            acknowledged.append(start)
            if len(acknowledged) == 30:
                enough.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert enough.wait(HUNG_AFTER_S)
    server.kill()
    writer.join(HUNG_AFTER_S)
    server.start()
    server.wait_ready()
    expected = [number for start in acknowledged for number in range(start, start + 20)]
    found = client.retrieve("shop", ids=expected, with_vectors=True)
    assert sorted(record.id for record in found) == expected
    assert all(record.payload == {"kind": "bulk"} and len(record.vector or ()) == DIM for record in found)


@pytest.mark.skipif(sys.platform != "linux", reason="the child is tied to its parent's life on Linux alone")
def test_a_server_killed_during_optimization_loses_nothing_and_finishes_later(
    server: LocalQdrant, client: QdrantClient, tmp_path: Path
) -> None:
    create(client, "shop")
    child = filled_while_it_optimizes(client, server)
    os.kill(server.pid, signal.SIGKILL)
    server.popen.wait()
    with contextlib.suppress(ProcessLookupError):  # already ended together with its parent
        os.kill(child, signal.SIGCONT)
    wait_until(is_gone(child), what="the child's end, which had no time to finish")
    server.start()
    server.wait_ready()
    assert client.count("shop").count == BULK
    wait_until(is_green(client, "shop"), what="the finished graph")
    info = client.get_collection("shop")
    assert (info.points_count, info.indexed_vectors_count) == (BULK, BULK)
    assert info.payload_schema["kind"].points == BULK
    wait_until(lambda: len(shard_folders(tmp_path)) == 1, what="the removal of the replaced shard")


@pytest.mark.skipif(sys.platform != "linux", reason="the child is looked up in /proc")
def test_killing_the_optimizer_process_loses_nothing(server: LocalQdrant, client: QdrantClient, tmp_path: Path) -> None:
    create(client, "shop")
    os.kill(filled_while_it_optimizes(client, server), signal.SIGKILL)

    def failure_is_reported() -> bool:
        return isinstance(client.get_collection("shop").optimizer_status, models.OptimizersStatusOneOf1)

    wait_until(failure_is_reported, what="the failure in the collection's status")
    assert client.count("shop").count == BULK
    assert len(client.query_points("shop", query=3, limit=5).points) == 5
    wait_until(lambda: len(shard_folders(tmp_path)) == 1, what="the removal of the half-made copy")


@pytest.mark.skipif(sys.platform != "linux", reason="the child is looked up in /proc")
def test_writes_during_optimization_are_kept_and_searches_continue(server: LocalQdrant, client: QdrantClient) -> None:
    create(client, "shop")
    child = filled_while_it_optimizes(client, server)
    latencies_s: list[float] = []
    failures: list[BaseException] = []
    stop = threading.Event()

    def ask() -> None:
        with_own = QdrantClient(server.url, timeout=HUNG_AFTER_S, check_compatibility=False)
        while not stop.is_set():
            started_at_s = time.perf_counter()
            try:
                assert len(with_own.query_points("shop", query=5, limit=5).points) == 5
            except BaseException as failure:
                failures.append(failure)
                break
            latencies_s.append(time.perf_counter() - started_at_s)
        with_own.close()

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        upsert(client, "shop", range(BULK, BULK + 100), kind="late")
        upsert(client, "shop", range(0, 3), kind="changed")
        client.delete("shop", [10, 11], wait=True)
        client.set_payload("shop", {"kind": "set"}, points=[20], wait=True)
        client.create_payload_index("shop", "colour", field_schema=models.PayloadSchemaType.KEYWORD, wait=True)
        wait_until(lambda: len(latencies_s) > 20 or failures, what="searches while it optimizes")
        os.kill(child, signal.SIGCONT)
        wait_until(is_green(client, "shop"), what="the finished graph")
    finally:
        stop.set()
        asking.join(HUNG_AFTER_S)
    assert not failures
    assert client.count("shop").count == BULK + 100 - 2
    counts = {hit.value: hit.count for hit in client.facet("shop", "kind", exact=True).hits}
    assert counts == {"bulk": BULK - 3 - 2 - 1, "late": 100, "changed": 3, "set": 1}
    assert not client.retrieve("shop", [10, 11])
    info = client.get_collection("shop")
    assert "colour" in info.payload_schema
    assert (info.indexed_vectors_count or 0) >= BULK - 10
    sys.stdout.write(
        f"{len(latencies_s)} searches while optimizing: median {statistics.median(latencies_s) * 1e3:.1f} ms, "
        f"longest {max(latencies_s) * 1e3:.1f} ms\n"
    )


def test_rewritten_points_enter_the_graph_and_a_restart_rebuilds_nothing(
    server: LocalQdrant, client: QdrantClient, tmp_path: Path
) -> None:
    create(client, "shop")
    fill(client, "shop")
    wait_until(is_green(client, "shop"), what="the first graph")
    first = shard_folders(tmp_path)
    child = filled_while_it_optimizes(client, server)
    assert client.get_collection("shop").status == models.CollectionStatus.YELLOW
    os.kill(child, signal.SIGCONT)
    wait_until(is_green(client, "shop"), what="the second graph")
    second = shard_folders(tmp_path)
    assert first != second
    info = client.get_collection("shop")
    assert (info.points_count, info.indexed_vectors_count) == (BULK, BULK)
    server.kill()
    server.start()
    server.wait_ready()
    wait_until(is_green(client, "shop"), what="the check after the start")
    wait_until(lambda: shard_folders(tmp_path) == second, what="the removal of the copy")


def test_an_alias_that_switches_during_constant_queries_always_answers(
    server: LocalQdrant, client: QdrantClient
) -> None:
    for name, kind in (("blue", "blue"), ("green", "green")):
        create(client, name)
        upsert(client, name, range(20), kind=kind)

    def point(name: str, *, first: bool = False) -> None:
        create_alias = models.CreateAlias(collection_name=name, alias_name="shop")
        operations: list[models.AliasOperations] = [models.CreateAliasOperation(create_alias=create_alias)]
        if not first:
            operations.insert(0, models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name="shop")))
        client.update_collection_aliases(operations)

    point("blue", first=True)
    failures: list[BaseException] = []
    seen: set[str] = set()
    stop = threading.Event()

    def ask() -> None:
        with_own = QdrantClient(server.url, timeout=HUNG_AFTER_S, check_compatibility=False)
        while not stop.is_set():
            try:
                found = with_own.query_points("shop", query=[1.0] * DIM, limit=20, with_payload=True).points
                kinds = {str((hit.payload or {})["kind"]) for hit in found}
                assert len(found) == 20
                assert len(kinds) == 1, kinds
                seen.update(kinds)
            except BaseException as failure:
                failures.append(failure)
                break
        with_own.close()

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: "blue" in seen, what="the first answer")
        for turn in range(100):
            point("green" if turn % 2 == 0 else "blue")
        point("green")
        wait_until(lambda: "green" in seen, what="an answer from the other collection")
    finally:
        stop.set()
        for thread in threads:
            thread.join(HUNG_AFTER_S)
    assert not failures
    server.kill()
    server.start()
    server.wait_ready()
    assert [alias.collection_name for alias in client.get_aliases().aliases] == ["green"]


def test_a_second_server_on_the_same_folder_is_refused(server: LocalQdrant) -> None:
    second = subprocess.run(server.command, capture_output=True, text=True, timeout=HUNG_AFTER_S, check=False)
    assert second.returncode == 1
    assert "another local Qdrant runs on" in second.stderr
    assert server.running()


@pytest.mark.skipif(sys.platform != "linux", reason="the child is looked up in /proc")
def test_sigterm_shuts_down_gracefully_even_during_optimization(server: LocalQdrant, client: QdrantClient) -> None:
    create(client, "shop")
    child = filled_while_it_optimizes(client, server)
    assert server.terminate() == 0
    wait_until(is_gone(child), what="the child's end")
    server.start()
    server.wait_ready()
    assert client.count("shop").count == BULK
