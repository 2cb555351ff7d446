"""The baselines without HTTP, in their own process (run by `benchmarks.processes.run_module`).

The offline loop decodes, resizes, forwards and projects on all cores. The bare forward runs the same network on pixels
that are already decoded.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.embedder_parts.prepared import StoredRelease
from vitrine.telemetry import configure_logging
from vitrine.types import Pixels
from vitrine.vision.extract import extract
from vitrine.vision.network import ReleaseNetwork, choose_device
from vitrine.vision.preprocess import Preprocessor

# A GPU gets the next batch before the result of the last one is fetched, as in the embedder.
_IN_FLIGHT = 2
_TRIAL_SHARE = 0.3

# Runs one batch size for so many seconds and returns pictures/s.
Loop = Callable[[int, float], float]


def measure(order: dict[str, Any]) -> dict[str, Any]:
    """Measure both loops: a short trial of every batch size, then the best one for the full time."""
    choice = choose_device(order["device"], order["precision"])
    network, preprocessor = StoredRelease(**order["stored"]).load(choice)
    pictures = [Path(path).read_bytes() for path in order["pictures"]]
    loops: dict[str, Loop] = {
        "bare": partial(bare_forward, [preprocessor(data) for data in pictures[: max(order["batches"])]], network),
        "offline": partial(offline_loop, pictures, network, preprocessor),
    }
    results = {name: _at_its_best(loop, order["batches"], order["seconds"]) for name, loop in loops.items()}
    return {
        **results,
        "vector": network.vectors(preprocessor(pictures[0])[None])[0].tolist(),
        "device": str(choice.device),
        "device_name": torch.cuda.get_device_name(choice.device) if choice.device.type == "cuda" else "",
        "precision": str(choice.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "dim": network.dim,
    }


def _at_its_best(loop: Loop, batches: list[int], seconds: float) -> dict[str, Any]:
    trials = {}
    for batch in batches:
        loop(batch, 0.0)  # warm-up: the graph is optimized in the first runs of each new shape
        trials[batch] = loop(batch, _TRIAL_SHARE * seconds)
    best = max(trials, key=lambda batch: trials[batch])
    return {"batch": best, "per_s": loop(best, seconds), "trials": trials}


def offline_loop(
    pictures: list[bytes], network: ReleaseNetwork, preprocessor: Preprocessor, batch: int, seconds: float
) -> float:
    """Pictures/s from bytes in memory to projected vectors."""
    started_s = time.perf_counter()
    source = _until(started_s + seconds, pictures, at_least=2 * batch)
    count = sum(len(done.ids) for done in extract(source, network, preprocessor, batch=batch, space="projected"))
    return count / (time.perf_counter() - started_s)


def bare_forward(ready: list[Pixels], network: ReleaseNetwork, batch: int, seconds: float) -> float:
    """Pictures/s of network and projection alone, with enough parallel passes to keep the device busy."""
    pixels = np.stack(list(itertools.islice(itertools.cycle(ready), batch)))
    ends_s = time.perf_counter() + seconds

    def passes(_: int) -> float:
        ahead = 1 if network.choice.device.type == "cpu" else _IN_FLIGHT
        started: deque[torch.Tensor] = deque()
        count, started_s = 0, time.perf_counter()
        while count < 2 * batch or time.perf_counter() < ends_s:
            started.append(network.submit(pixels)[1])
            if len(started) == ahead:
                started.popleft().cpu()
            count += batch
        while started:
            started.popleft().cpu()
        return count / (time.perf_counter() - started_s)

    with ThreadPoolExecutor(network.passes_at_once) as pool:
        return sum(pool.map(passes, range(network.passes_at_once)))


def _until(ends_s: float, pictures: list[bytes], *, at_least: int) -> Iterator[tuple[str, Callable[[], bytes]]]:
    for number, data in enumerate(itertools.cycle(pictures)):
        if number >= at_least and time.perf_counter() >= ends_s:
            return
        yield str(number), partial(bytes, data)


if __name__ == "__main__":
    # The log goes to standard error, the answer to standard output.
    configure_logging(service="benchmark")
    json.dump(measure(json.load(sys.stdin)), sys.stdout)
