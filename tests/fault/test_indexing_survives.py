"""Any process is killed with `kill -9` during indexing: the job finishes after the restart without intervention,
nothing is lost or stored twice, and the old collection serves all the time.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest

from harness.aborting_embedder import magenta_picture
from harness.killing import Restarter, pool_processes
from harness.processes import Process
from harness.servers import Qdrant
from harness.system import System, running_system
from harness.waiting import wait_until
from indexer.crash_search import SearchStore
from indexer.crash_state import Group, SearchState
from vitrine.embedding import EmbedderClient
from vitrine.qdrant.client import open_qdrant
from vitrine.qdrant.naming import alias_name

COUNT = 300
MIDWAY = 65  # batches of the 75
PAUSE_S = 0.005  # leaves the CPU to the services
SETTINGS = {
    "VITRINE_INDEX_BATCH": "4",
    "VITRINE_EMBED_PATIENCE_S": "2",
    "VITRINE_BATCH_MAX_CRASHES": "1",
}
ALIAS = alias_name("drawn", "test_efficientnet")


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("survival") / "system"
    with running_system(folder, "embedder", "indexer", **SETTINGS) as system:
        system.index(system.release(), system.catalog(count=COUNT))
        yield system


class Queries:
    """Queries the alias all the time, in a thread, and records the failures and the collections that answered."""

    def __init__(self, system: System) -> None:
        self.answers = 0
        self.failures: list[str] = []
        self._client = open_qdrant(system.qdrant.url, timeout_s=10)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Queries:
        self._thread.start()
        wait_until(lambda: self.answers > 0, what="the first query is answered")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._client.close()

    def _run(self) -> None:
        while not self._stop.wait(PAUSE_S):
            try:
                found = self._client.query_points(ALIAS, query=[0.25] * 16, limit=5).points
                assert len(found) == 5
                self.answers += 1
            except Exception as error:
                self.failures.append(repr(error))


def killed_midway(system: System, victim: Callable[[], Process | Qdrant], *, seed: int) -> str:
    """Start indexing with a new release, and kill the victim once some batches are done. Returns the job's id."""
    for attempt in range(10):
        before = system.serving()
        release_id = system.release(weights=f"seed:{seed + 1_000 * attempt}")
        job_id = system.enqueue_index(release_id, system.catalog(count=COUNT))
        wait_until(partial(_three_done, system, job_id), what="three batches are done")
        with system.services["embedder"].paused():  # no more batches than it has already answered
            if len(system.jobs.finished_batches(job_id)) < MIDWAY:
                victim().kill()
                if victim() is not system.qdrant:
                    assert system.serving() == before
                return job_id
        system.succeeded(job_id)  # the job was nearly finished before this process ran
    raise AssertionError("ten indexings were done before a look at them")


def _three_done(system: System, job_id: str) -> bool:
    return len(system.jobs.finished_batches(job_id)) >= 3


def check_whole(system: System, job_id: str) -> None:
    """The job succeeds, every product is stored once, and the alias points to the new collection."""
    record = system.succeeded(job_id)
    collection = system.collection(str(record.params["release_id"]))
    assert record.progress.done + record.progress.skipped == COUNT
    assert record.progress.failed == 0
    assert system.store.count(collection, exact=True).count == COUNT
    points, _ = system.store.scroll(collection, limit=1000)
    assert len({(point.payload or {})["product_id"] for point in points}) == COUNT
    assert system.serving() == collection
    check_vectors(system, collection, str(record.params["release_id"]))


def check_vectors(system: System, collection: str, release_id: str) -> None:
    """A sample of the stored vectors equals the vectors that the embedder returns for this release."""
    points, _ = system.store.scroll(collection, limit=8, with_vectors=True)
    files = [system.catalog(count=COUNT) / (point.payload or {})["picture"] for point in points]
    with EmbedderClient(system.url("embedder"), retry_budget_s=30) as embedder:
        vectors = embedder.embed_batch([file.read_bytes() for file in files], release_id=release_id)
    for point, vector in zip(points, vectors, strict=True):
        assert np.dot(np.asarray(point.vector), np.asarray(vector)) == pytest.approx(1.0, abs=1e-4)


def test_the_indexer_is_killed(system: System) -> None:
    with Queries(system) as queries:
        job_id = killed_midway(system, lambda: system.services["indexer"], seed=101)
        serving = system.serving()
        system.start("indexer", **SETTINGS)
        assert serving != system.collection(str(system.jobs.get(job_id).params["release_id"]))
        check_whole(system, job_id)
    assert queries.failures == []


def test_one_process_of_the_indexer_is_killed(system: System) -> None:
    release_id = system.release(weights="seed:106")
    job_id = system.enqueue_index(release_id, system.catalog(count=COUNT))
    wait_until(lambda: len(system.jobs.finished_batches(job_id)) >= 3, what="three batches are done")
    children = pool_processes(system.services["indexer"].pid)
    assert children, "the pool has processes"
    for child in children:
        os.kill(child, signal.SIGKILL)
    check_whole(system, job_id)


def test_the_indexer_is_stopped_and_started_again(system: System) -> None:
    with Queries(system) as queries:
        for seed in range(107, 10_107, 1_000):
            job_id = system.enqueue_index(system.release(weights=f"seed:{seed}"), system.catalog(count=COUNT))
            wait_until(partial(_three_done, system, job_id), what="three batches are done")
            assert system.services["indexer"].terminate() == 0
            ended = system.jobs.get(job_id).state.finished  # before this process ran
            system.start("indexer", **SETTINGS)
            check_whole(system, job_id)
            if not ended:
                break
        else:
            raise AssertionError("ten indexings were done before the indexer was told to stop")
    assert queries.failures == []


def test_the_embedder_is_killed(system: System) -> None:
    with Queries(system) as queries:
        job_id = killed_midway(system, lambda: system.services["embedder"], seed=102)
        wait_until(
            lambda: "step_deferral" in system.services["indexer"].tail(chars=100_000), what="a batch is set aside"
        )
        system.start("embedder")
        check_whole(system, job_id)
    assert queries.failures == []


def test_qdrant_is_killed(system: System) -> None:
    job_id = killed_midway(system, lambda: system.qdrant, seed=103)
    system.qdrant.start()
    system.qdrant.wait_ready()
    with Queries(system) as queries:
        check_whole(system, job_id)
    assert queries.failures == [], "once Qdrant is back, what served before serves again"


def test_redis_is_killed(system: System) -> None:
    with Queries(system) as queries:
        job_id = killed_midway(system, lambda: system.redis, seed=104)
        system.redis.start()
        system.redis.wait_ready()
        check_whole(system, job_id)
    assert queries.failures == []


def test_a_second_release_takes_over_under_load_and_can_be_rolled_back(system: System) -> None:
    before = system.serving()
    with Queries(system) as first, Queries(system) as second:
        record = system.index(system.release(weights="seed:105"), system.catalog(count=COUNT))
        assert record.result is not None
        assert record.result["previous"] == before
        answered = first.answers
        wait_until(lambda: first.answers > answered, what="a query after the switch")
    assert first.failures == second.failures == []
    assert system.store.collection_exists(str(before)), "the one before is kept for rollback"


def test_a_picture_that_crashes_its_worker_is_found_and_left_out(system: System) -> None:
    """The records that worker crashes leave in Redis: the attempts of the batch, then those of the single picture."""
    assert system.services["indexer"].terminate() == 0
    release_id = system.release()
    root = system.catalog("poisoned", count=4)
    job_id = system.enqueue_index(release_id, root, dataset="poisoned")
    ids = sorted(path.stem for path in (root / "images").iterdir())
    crashing = Group(ids=(ids[2],), crashes=2)
    rest = tuple(Group(ids=(one,)) for one in ids if one != ids[2])
    search = SearchState(ids=tuple(ids), groups=(crashing, *rest), at_work=True)
    SearchStore(system.redis_client).save(job_id, "batch:0", search)
    system.start("indexer", **SETTINGS)
    record = system.succeeded(job_id)
    assert [(fault.product_id, fault.kind) for fault in record.faults] == [(ids[2], "picture_crashes_worker")]
    assert record.progress.done == 3
    assert system.store.count(system.collection(release_id, dataset="poisoned"), exact=True).count == 3


@pytest.mark.timeout(600)  # the embedder starts four times
def test_a_picture_that_crashes_the_embedder_is_found_and_the_others_are_indexed(system: System) -> None:
    """The network calls `os.abort` for one picture.

    The indexer is killed during the search for it, which then continues.
    """
    system.services["embedder"].kill()
    system.start("embedder", package="harness.aborting_embedder")
    root = system.catalog("crashing", count=24)
    ids = sorted(path.stem for path in (root / "images").iterdir())
    (root / "images" / f"{ids[10]}.jpg").write_bytes(magenta_picture())
    with Restarter(system.services["embedder"]) as embedder:
        job_id = system.enqueue_index(system.release(), root, dataset="crashing")
        wait_until(lambda: embedder.starts >= 1, what="the picture ends the embedder")
        waiting = wait_until(lambda: system.jobs.get(job_id).last_failure, what="the failure is in the record")
        assert waiting is not None
        assert waiting.code in ("embedder_connection_lost", "embedder_unavailable", "unavailable")
        wait_until(lambda: len(system.jobs.finished_batches(job_id)) == 5, what="the other batches go on")
        system.services["indexer"].kill()
        system.start("indexer", **SETTINGS)
        record = system.succeeded(job_id)
    assert [(fault.product_id, fault.kind) for fault in record.faults] == [(ids[10], "picture_crashes_embedder")]
    assert (record.progress.done + record.progress.skipped, record.progress.failed) == (23, 1)
    assert record.last_failure is None
    assert embedder.starts <= 6, "each start costs the searches seconds"
    assert system.store.count(system.collection(system.release(), dataset="crashing"), exact=True).count == 23
