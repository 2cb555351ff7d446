"""Chaos test: random `kill -9` of a running system's processes while it indexes and searches.

Indexes a catalogue undisturbed, then repeatedly under other dataset names while random processes are killed and
searches with known answers go on. At the end every product must be stored once, with the same vector as without kills,
and every search must return the same answer as without kills. Prints a table of the kills and a summary. The exit
status is 1 if anything was lost or wrong.

    vitrine up --data DIR
    python -m benchmarks.kills --data DIR --root CATALOGUE [--reader R] [--limit 2000] [--kills 20] [--seconds 200]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from qdrant_client import QdrantClient

from benchmarks.tables import head, row
from vitrine.catalogs import read_catalog
from vitrine.catalogs.registry import READERS
from vitrine.qdrant.client import open_qdrant
from vitrine.qdrant.naming import collection_name
from vitrine_local.data_folder import DataFolder

BASELINE = "kills-baseline"
QUERIES = 40
CLIENTS = 2
MODEL = "demo"
PAGE = 1_000
SUPERVISED = ("redis", "qdrant", "embedder", "indexer", "trainer", "search_api", "search-api")
TOLERANCE = 1e-5


@dataclass(slots=True)
class Kill:
    """One kill. `back_s`: seconds until the next correct search answer; None if another kill came first."""

    at_s: float
    victim: str
    back_s: float | None = None


@dataclass(slots=True)
class SearchOutcomes:
    """The results of the searches, shared by the clients' threads."""

    right: int = 0
    wrong: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    took_ms: list[float] = field(default_factory=list)
    last_right_s: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


class System:
    """The system that runs on a data folder."""

    def __init__(self, data: DataFolder) -> None:
        self._data = data
        run = data.read_run()
        if run is None:
            raise SystemExit(f"no system runs on {data.root}; start one with `vitrine up --data {data.root}`")
        self.api = httpx.Client(base_url=run.url, timeout=60, trust_env=False)
        self.qdrant_url = f"http://127.0.0.1:{run.ports['qdrant']}"

    def victims(self) -> dict[str, int]:
        """The processes that can be killed now: services, and the pool processes of the workers."""
        run = self._data.read_run()
        pids = {} if run is None else {name: pid for name, pid in run.pids.items() if name in SUPERVISED}
        for worker in ("indexer", "trainer"):
            for number, child in enumerate(children_of(pids.get(worker, 0))):
                pids[f"{worker}, a process of its pool ({number})"] = child
        return pids

    def index(self, dataset: str, arguments: argparse.Namespace) -> str:
        body = {"dataset": dataset, "reader": arguments.reader, "root": str(arguments.root), "model": MODEL}
        answer = self.retrying("POST", "/api/jobs/index", json={**body, "limit": arguments.limit})
        return str(answer["job"]["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        return dict(self.retrying("GET", f"/api/jobs/{job_id}")["job"])

    def finished(self, job_id: str, *, timeout_s: float = 900.0) -> dict[str, Any]:
        ends_s = time.monotonic() + timeout_s
        while (job := self.job(job_id))["state"] in ("queued", "running"):
            if time.monotonic() > ends_s:
                raise SystemExit(f"the job {job_id} does not end: {job}")
            time.sleep(0.5)
        return job

    def retrying(self, method: str, path: str, **request: Any) -> Any:
        """Send a request until it is answered: the search API itself may have been killed."""
        for _ in range(600):
            with contextlib.suppress(httpx.TransportError, ValueError):
                answer = self.api.request(method, path, **request)
                if answer.status_code in (200, 202):
                    return answer.json()
                if answer.status_code not in (503, 504):
                    raise SystemExit(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
            time.sleep(0.2)
        raise SystemExit(f"{method} {path} is not answered")

    def search(self, picture: bytes) -> httpx.Response:
        form = {"dataset": BASELINE, "model": MODEL, "topK": "15"}
        return self.api.post("/api/search", files={"image": picture}, data=form)


def children_of(pid: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            spawned = b"spawn_main" in (status.parent / "cmdline").read_bytes()
            if spawned and f"\nPPid:\t{pid}\n" in status.read_text():
                found.append(int(status.parent.name))
    return sorted(found)


def search_on(
    system: System, expected: list[tuple[bytes, Any]], outcomes: SearchOutcomes, stop: threading.Event, started_s: float
) -> None:
    """One client: searches until `stop` is set, and compares each answer with the one from before the kills."""
    rng = random.Random(threading.get_ident())
    while not stop.wait(0.01):
        picture, right = rng.choice(expected)
        asked_s = time.monotonic()
        try:
            answer = system.search(picture)
            body = answer.json()
        except (httpx.TransportError, ValueError) as error:
            with outcomes.lock:
                outcomes.refused[type(error).__name__] += 1
            continue
        now_s = time.monotonic()
        with outcomes.lock:
            if answer.status_code == 200 and body["ranking"] == right:
                outcomes.right += 1
                outcomes.last_right_s = now_s - started_s
                outcomes.took_ms.append((now_s - asked_s) * 1000)
            elif answer.status_code in (503, 504):
                outcomes.refused[str(body["code"])] += 1
            else:
                outcomes.wrong.append(f"{answer.status_code} {answer.text[:200]}")


def kill_on(
    system: System, kills: list[Kill], outcomes: SearchOutcomes, arguments: argparse.Namespace, started_s: float
) -> None:
    """Kill at random times. After each kill, wait for the next correct answer or the time of the next kill."""
    rng = random.Random(arguments.seed)
    times_s = sorted(rng.uniform(0, arguments.seconds) for _ in range(arguments.kills))
    for number, at_s in enumerate(times_s):
        time.sleep(max(0.0, started_s + at_s - time.monotonic()))
        victims = system.victims()
        if not victims:
            continue
        victim = rng.choice(sorted(victims))
        with contextlib.suppress(ProcessLookupError):
            os.kill(victims[victim], signal.SIGKILL)
        kill = Kill(time.monotonic() - started_s, victim)
        kills.append(kill)
        until_s = times_s[number + 1] if number + 1 < len(times_s) else arguments.seconds + 60
        while time.monotonic() - started_s < until_s:
            # An answer that was already on its way at the kill does not count.
            if outcomes.last_right_s > kill.at_s + 0.05:
                kill.back_s = outcomes.last_right_s - kill.at_s
                break
            time.sleep(0.01)


def vectors_of(client: QdrantClient, collection: str) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    offset = None
    while True:
        points, offset = client.scroll(collection, limit=PAGE, with_vectors=True, offset=offset)
        for point in points:
            product_id = str((point.payload or {})["product_id"])
            if product_id in found:
                raise SystemExit(f"{collection} has {product_id} twice")
            found[product_id] = np.asarray(point.vector, dtype=np.float32)
        if offset is None:
            return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, default=Path(".vitrine"))
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--reader", choices=READERS, default="fashion-product")
    parser.add_argument("--limit", type=int, default=2_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=200.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    data = DataFolder.at(arguments.data)
    data.allow_root(arguments.root)
    system = System(data)
    before = system.finished(system.index(BASELINE, arguments))
    if before["state"] != "succeeded":
        raise SystemExit(f"the undisturbed index job failed: {before['error']}")
    catalog = read_catalog(arguments.reader, arguments.root, dataset=BASELINE, limit=arguments.limit)
    chosen = random.Random(arguments.seed).sample(catalog.products, min(QUERIES, len(catalog.products)))
    pictures = [(catalog.root / product.picture).read_bytes() for product in chosen]
    expected = [(picture, system.search(picture).json()["ranking"]) for picture in pictures]
    outcomes, kills, stop, started_s = SearchOutcomes(), list[Kill](), threading.Event(), time.monotonic()
    clients = [
        threading.Thread(target=search_on, args=(system, expected, outcomes, stop, started_s), daemon=True)
        for _ in range(CLIENTS)
    ]
    killer = threading.Thread(target=kill_on, args=(system, kills, outcomes, arguments, started_s), daemon=True)
    for thread in (*clients, killer):
        thread.start()
    jobs: dict[str, dict[str, Any]] = {}
    while killer.is_alive() or not jobs:
        dataset = f"kills-{len(jobs) + 1}"
        jobs[dataset] = system.finished(system.index(dataset, arguments))
    killer.join()
    answered = outcomes.right
    while outcomes.right == answered:  # at the end searches must be answered again
        time.sleep(0.05)
    stop.set()
    for client in clients:
        client.join()
    return report(system, data, jobs, kills, outcomes, expected=before["result"]["indexed"])


def report(
    system: System,
    data: DataFolder,
    jobs: dict[str, dict[str, Any]],
    kills: list[Kill],
    outcomes: SearchOutcomes,
    *,
    expected: int,
) -> int:
    """Print the tables. Returns 1 if anything is lost or wrong."""
    print(head("at s", "killed", "next correct answer after s", text_columns=2))
    for kill in kills:
        back = "the next kill came first" if kill.back_s is None else f"{kill.back_s:.1f}"
        print(row(f"{kill.at_s:.1f}", kill.victim, back))
    secrets = data.read_secrets()
    key = secrets.qdrant_api_key.get_secret_value() if secrets else None
    store = open_qdrant(system.qdrant_url, api_key=key, timeout_s=60)
    failed = [f"{name}: {job['error']}" for name, job in jobs.items() if job["state"] != "succeeded"]
    known = vectors_of(store, collection_name(BASELINE, jobs_release(jobs)))
    lost = wrong_vectors = 0
    for job in jobs.values():
        if job["state"] != "succeeded":
            continue
        found = vectors_of(store, str(job["result"]["collection"]))
        lost += len(known.keys() ^ found.keys())
        wrong_vectors += sum(float(known[one] @ found[one]) < 1 - TOLERANCE for one in known.keys() & found.keys())
    took_ms = np.array(outcomes.took_ms)
    print("\n" + head("what", "count"))
    for what, count in (
        ("kills", f"{len(kills)}"),
        ("index jobs that succeeded", f"{len(jobs) - len(failed)} of {len(jobs)}"),
        ("products in each", f"{expected:,}"),
        ("products lost or unexpected", f"{lost:,}"),
        ("vectors that differ from the undisturbed ones", f"{wrong_vectors:,}"),
        ("pictures left out", f"{sum(job['progress']['failed'] for job in jobs.values()):,}"),
        ("searches answered as before the kills", f"{outcomes.right:,}"),
        ("searches answered differently", f"{len(outcomes.wrong):,}"),
        *((f"searches refused: {code}", f"{count:,}") for code, count in outcomes.refused.most_common()),
        (
            "milliseconds of a correct answer, p50 / p99",
            " / ".join(f"{one:.0f}" for one in np.percentile(took_ms, (50, 99))),
        ),
    ):
        print(row(what, count))
    for line in (*failed, *outcomes.wrong[:5]):
        print(line)
    return 1 if failed or lost or wrong_vectors or outcomes.wrong or len(known) != expected else 0


def jobs_release(jobs: dict[str, dict[str, Any]]) -> str:
    """The release of all jobs."""
    (release,) = {str(job["params"]["release_id"]) for job in jobs.values()}
    return release


if __name__ == "__main__":
    sys.exit(main())
