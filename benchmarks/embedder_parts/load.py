"""The clients of the embedder benchmark, in their own process, so that their CPU time is separate from the server's.

Each client waits for its answer before it sends again (a closed loop). Run by `benchmarks.processes.run_module`.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import numpy as np

from benchmarks.processes import own_cpu_s, session_cpu_s
from vitrine.embedding import EmbedderClient
from vitrine.embedding.wire import VECTOR_MEDIA_TYPE
from vitrine.errors import EmbedderOverloaded, VitrineError
from vitrine.types import Vectors

_TIMEOUT_S: Final = 120.0
# A refused client retries after this time, whatever Retry-After says: a short measurement needs more than one try.
_REFUSED_WAIT_S: Final = 0.5


class Refused(Exception):
    """The server is overloaded and asks to retry."""


class Call(Protocol):
    """Sends the next pictures. Returns the number of vectors in the answer, and the first one. Raises Refused."""

    def __call__(self, pictures: list[bytes], /) -> tuple[int, Vectors | None]: ...


@dataclass(slots=True)
class Tally:
    """The results of one client."""

    pictures: int = 0
    failed: int = 0
    refused: int = 0
    took_ms: list[float] = field(default_factory=list)


def single_call(url: str, path: str) -> Call:
    """One picture per request, as its body, on a persistent connection."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=_TIMEOUT_S)
    headers = {"Content-Type": VECTOR_MEDIA_TYPE, "Accept": VECTOR_MEDIA_TYPE}

    def call(pictures: list[bytes]) -> tuple[int, Vectors | None]:
        connection.request("POST", path, pictures[0], headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status == http.client.SERVICE_UNAVAILABLE:
            raise Refused
        if answer.status != http.client.OK:
            return 0, None
        return 1, np.frombuffer(body, dtype="<f4")

    return call


def batch_call(client: EmbedderClient, release_id: str) -> Call:
    """Many pictures per request, with the indexer's client, which all clients of this process share."""

    def call(pictures: list[bytes]) -> tuple[int, Vectors | None]:
        try:
            results = client.embed_batch(pictures, release_id=release_id)
        except EmbedderOverloaded as error:
            raise Refused from error
        except VitrineError:
            return 0, None
        vectors = [result for result in results if not isinstance(result, VitrineError)]
        return len(vectors), vectors[0] if vectors else None

    return call


def load(order: dict[str, Any]) -> dict[str, Any]:
    """Keep `clients` busy for `seconds`. Calls that are still running at the end are waited for and counted."""
    pictures = [Path(path).read_bytes() for path in order["pictures"]]
    make_call, size = _call_maker(order), order["pictures_a_call"]
    calls = [make_call() for _ in range(order["clients"])]
    vector = calls[0](pictures[:size])[1]
    _run(calls, pictures, size, order["warm_up_s"])
    server_s, own_s, started_s = session_cpu_s(order["session"]), own_cpu_s(), time.perf_counter()
    tallies = _run(calls, pictures, size, order["seconds"])
    took_s, client_s = time.perf_counter() - started_s, own_cpu_s() - own_s
    server_after_s = session_cpu_s(order["session"])
    return {
        "per_s": sum(tally.pictures for tally in tallies) / took_s,
        "took_s": took_s,
        "took_ms": [value for tally in tallies for value in tally.took_ms],
        "failed": sum(tally.failed for tally in tallies),
        "refused": sum(tally.refused for tally in tallies),
        "client_cpu_s": client_s,
        "server_cpu_s": None if server_s is None or server_after_s is None else server_after_s - server_s,
        "vector": None if vector is None else vector.tolist(),
    }


def _call_maker(order: dict[str, Any]) -> Callable[[], Call]:
    if order["kind"] == "batch":
        client = EmbedderClient(order["url"], timeout_s=_TIMEOUT_S)
        return lambda: batch_call(client, order["release_id"])
    return lambda: single_call(order["url"], order["path"])


def _run(calls: list[Call], pictures: list[bytes], size: int, seconds: float) -> list[Tally]:
    ends_s = time.perf_counter() + seconds
    tallies = [Tally() for _ in calls]
    threads = [
        threading.Thread(target=_client, args=(call, tally, pictures, size, number * size, ends_s))
        for number, (call, tally) in enumerate(zip(calls, tallies, strict=True))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return tallies


def _client(call: Call, tally: Tally, pictures: list[bytes], size: int, position: int, ends_s: float) -> None:
    """One client. It starts at its own `position` in the pictures."""
    while time.perf_counter() < ends_s:
        chosen = [pictures[(position + number) % len(pictures)] for number in range(size)]
        position += size
        started_s = time.perf_counter()
        while True:
            try:
                done, _ = call(chosen)
                break
            except Refused:
                tally.refused += 1
                time.sleep(_REFUSED_WAIT_S)
                if time.perf_counter() >= ends_s:
                    return
        tally.took_ms.append((time.perf_counter() - started_s) * 1e3)
        tally.pictures += done
        tally.failed += size - done


if __name__ == "__main__":
    json.dump(load(json.load(sys.stdin)), sys.stdout)
