"""Random processes are killed while a catalogue is indexed and searched.

At the end every product is stored exactly once with the embedder's vector, and no search was answered wrongly.
`benchmarks/kills.py` is the longer version, with the supervisor.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import numpy as np
import pytest

from harness.killing import Restarter, pool_processes
from harness.processes import Process
from harness.shop import DATASET, Shop, queries, running_shop
from harness.system import System
from harness.waiting import wait_until
from vitrine.jobs import JobKind

SEED = 17
KILLED = "killed"
SETTINGS = {"VITRINE_INDEX_BATCH": "2", "VITRINE_EMBED_PATIENCE_S": "1"}
UNAVAILABLE = {503, 504}
PAUSE_S = 0.02  # leaves the CPU to the services


class Searches:
    """Searches all the time, in a thread, with pictures whose results without kills are known."""

    def __init__(self, shop: Shop) -> None:
        self.right = 0
        self.wrong: list[str] = []
        self.refused: Counter[str] = Counter()
        self._shop = shop
        self._expected = {one: self._ranking(one) for one in queries(shop)}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Searches:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(PAUSE_S):
            for product_id, expected in self._expected.items():
                try:
                    answer = self._ask(product_id)
                except httpx.TransportError as error:
                    self.refused[type(error).__name__] += 1  # the search API itself was killed
                    continue
                if answer.status_code == 200 and answer.json()["ranking"] == expected:
                    self.right += 1
                elif answer.status_code in UNAVAILABLE and answer.json()["retryable"]:
                    self.refused[answer.json()["code"]] += 1
                else:
                    self.wrong.append(f"{answer.status_code} {answer.text[:300]}")

    def _ranking(self, product_id: str) -> list[int]:
        answer = self._ask(product_id)
        assert answer.status_code == 200, answer.text
        ranking: list[int] = answer.json()["ranking"]
        return ranking

    def _ask(self, product_id: str) -> httpx.Response:
        files = {"image": self._shop.picture(product_id)}
        return self._shop.api.post("/api/search", files=files, data={"dataset": DATASET, "topK": "10"})


@pytest.mark.timeout(900)  # on a busy machine
def test_random_kills_lose_nothing_and_cause_no_wrong_answer(tmp_path: Path) -> None:
    with running_shop(tmp_path / "shop", products=150, **SETTINGS) as shop:
        system, rng = shop.system, random.Random(SEED)
        system.start("trainer")
        named: dict[str, Process] = {**system.services, "redis": system.redis}
        if isinstance(system.qdrant, Process):  # a server given by its URL cannot be killed
            named["qdrant"] = system.qdrant

        def one_of_the_pool() -> None:
            children = wait_until(lambda: pool_processes(named["indexer"].pid), what="the indexer has processes")
            os.kill(rng.choice(children), signal.SIGKILL)

        victims: dict[str, Callable[[], None]] = {name: process.kill for name, process in named.items()}
        victims["a process of the indexer"] = one_of_the_pool
        order = rng.sample(sorted(victims), len(victims))
        with Searches(shop) as searches, Restarter(*named.values()):
            job_id = system.enqueue_index(shop.release, shop.root, dataset=KILLED)
            for number, victim in enumerate(order, 1):
                # The next kill waits until indexing has made progress since the last.
                wait_until(
                    partial(has_finished, system, job_id, 6 * number),
                    what=f"the indexing gets on before the death of {victim}",
                )
                victims[victim]()
            record = system.succeeded(job_id)
            answered = searches.right
            wait_until(lambda: searches.right > answered, what="searches are answered again")
        assert searches.wrong == []
        assert record.kind is JobKind.INDEX
        assert (record.progress.done + record.progress.skipped, record.progress.failed) == (150, 0)
        assert record.faults == ()
        check_vectors(shop)


def has_finished(system: System, job_id: str, batches: int) -> bool:
    return len(system.jobs.finished_batches(job_id)) >= batches


def check_vectors(shop: Shop) -> None:
    """Each product is stored once, with the vector that the embedder returned before the kills."""
    stored = {}
    for dataset in (DATASET, KILLED):
        name = shop.system.collection(shop.release, dataset=dataset)
        points, _ = shop.system.store.scroll(name, limit=1000, with_vectors=True)
        stored[dataset] = {(point.payload or {})["product_id"]: np.asarray(point.vector) for point in points}
        assert len(points) == len(stored[dataset]) == 150
    for product_id, vector in stored[DATASET].items():
        assert np.dot(vector, stored[KILLED][product_id]) == pytest.approx(1.0, abs=1e-5)
