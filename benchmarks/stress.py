"""The cost of the most expensive requests, and how much they slow other clients.

Starts its own system (`vitrine demo` in a temporary folder, with a drawn catalogue and the bundled release) and prints

- for each kind of request: CPU seconds and peak memory of one such request, all services together, and the p50 and p99
  of four clients with ordinary pictures while eight connections from another address send only this kind;
- p50 and p99 of searches and the rate of indexing, each alone and both together;
- answers per second with 8 clients, and with 512 that retry at once, whatever Retry-After says;
- clients that misuse HTTP (floods of headers, slow posts, silent connections, event streams): the effect on others.

    python -m benchmarks.stress [--program .venv/bin/vitrine] [--only costs indexing goodput edge] [--kinds explain]
        [--seconds 4]

Linux only: it reads /proc. CPU and memory are those of the search API, the embedder, Qdrant and Redis. Peak memory is
the resident memory above that of the idle system. It includes memory that an earlier row has left allocated.
Add a kind in `stress_parts/kinds.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.processes import ServiceProcesses
from benchmarks.stress_parts import edge
from benchmarks.stress_parts.kinds import Kind, kinds, search, wire
from benchmarks.stress_parts.load import Group, GroupResult, run
from benchmarks.tables import head, quantile, quantiles, row
from vitrine_local.supervisor.spec import PortReservation

DATASET: Final = "synthetic"
MODEL: Final = "demo"
LIGHT_CLIENTS: Final = 4
HEAVY_CLIENTS: Final = 8
MANY_CLIENTS: Final = 512
OTHER_ADDRESS: Final = "127.0.0.2"
WARM_UP: Final = 60
READY_S: Final = 600.0
OTHERS: Final = ("others' p50 / p99 ms", "others, 1/s")
SECTIONS: Final = ("costs", "indexing", "goodput", "edge")


@dataclass(frozen=True, slots=True)
class Running:
    """The system under test."""

    port: int
    data: Path
    processes: ServiceProcesses
    folder: Path
    ordinary: bytes

    def file(self, kind: Kind) -> str:
        """Write the request of a kind to a file, for the load process."""
        path = self.folder / f"{abs(hash(kind.name))}.request"
        path.write_bytes(wire(kind, f"127.0.0.1:{self.port}"))
        return str(path)

    def call(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            found: dict[str, Any] = json.load(answer)
            return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--program", type=Path, default=Path(sys.executable).with_name("vitrine"))
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--kinds", default="", help="only kinds whose names contain this")
    parser.add_argument("--count", type=int, default=1500, help="products of the drawn catalogue")
    parser.add_argument("--seconds", type=float, default=4.0, help="seconds of each load")
    arguments = parser.parse_args()
    with started(arguments.program, count=arguments.count) as system:
        plain = search("ordinary", system.ordinary, dataset=DATASET, model=MODEL)
        run(system.port, [Group(system.file(plain), 2, 120, requests=WARM_UP)])
        print(f"{os.cpu_count()} cores, shared with the load. {time.strftime('%Y-%m-%d')}\n", flush=True)
        if "costs" in arguments.only:
            print_costs(system, plain, wanted=arguments.kinds, seconds=arguments.seconds)
        if "indexing" in arguments.only:
            print_indexing(system, plain)
        if "goodput" in arguments.only:
            print_goodput(system, plain, seconds=2 * arguments.seconds)
        if "edge" in arguments.only:
            print_edge(system, plain, seconds=2 * arguments.seconds)
    return 0


@contextlib.contextmanager
def started(program: Path, *, count: int) -> Iterator[Running]:
    """A system with an indexed catalogue, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="vitrine-stress-") as name:
        with PortReservation() as reservation:
            data, port = Path(name) / "data", reservation.port
        command = [str(program.absolute()), "demo", "--data", str(data), "--count", str(count), "--port", str(port)]
        with (Path(name) / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_until_shown(process, Path(name) / "log")
            pictures = sorted((data / f"catalog-{count}" / "images").iterdir())
            yield Running(port, data, ServiceProcesses.of(data), Path(name), pictures[0].read_bytes())
        finally:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)
            process.kill()


def wait_until_shown(process: subprocess.Popen[bytes], log: Path) -> None:
    ends_s = time.monotonic() + READY_S
    while "ready: http" not in log.read_text(errors="replace"):
        if process.poll() is not None or time.monotonic() > ends_s:
            raise SystemExit(f"the system did not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.5)


def print_costs(system: Running, plain: Kind, *, wanted: str, seconds: float) -> None:
    processes = system.processes
    idle_mb = processes.resident_mb()
    light = system.file(plain)
    (alone,) = run(system.port, [Group(light, LIGHT_CLIENTS, seconds)])
    heads = ("request", "answer", "CPU s", "search API, peak MB", "embedder, peak MB", *OTHERS)
    print(head(*heads, text_columns=2))
    print(row("nothing else", "", "", "", "", *of_others(alone)), flush=True)
    assert system.call(f"/api/models?dataset={DATASET}")["success"]
    product_id = next(system.data.glob("catalog-*/images/*")).stem
    for kind in kinds(dataset=DATASET, model=MODEL, product_id=product_id, ordinary=system.ordinary):
        if wanted not in kind.name:
            continue
        file = system.file(kind)
        time.sleep(0.3)
        processes.reset_peaks()
        before_s = processes.cpu_s()
        (once,) = run(system.port, [Group(file, 1, 120, requests=1)])
        time.sleep(0.2)
        cpu_s, peak_mb = processes.cpu_s() - before_s, processes.peak_mb()
        heavy = Group(file, HEAVY_CLIENTS, seconds, address=OTHER_ADDRESS)
        others, expensive = run(system.port, [Group(light, LIGHT_CLIENTS, seconds, start_s=0.5), heavy])
        peaks = (f"{max(0.0, peak_mb[name] - idle_mb[name]):.0f}" for name in ("search_api", "embedder"))
        print(row(kind.name, answer_of(once), f"{cpu_s:.2f}", *peaks, *of_others(others)), flush=True)
        wait_until_quiet(processes)
        if not processes.alive():
            raise SystemExit(f"a service died of: {kind.name}; {expensive.statuses}")


def print_indexing(system: Running, plain: Kind) -> None:
    print("\n" + head("", "search p50 ms", "p99 ms", "searches/s", "indexing, pictures/s"), flush=True)
    light = system.file(plain)
    (alone,) = run(system.port, [Group(light, 1, 10)])
    indexed_per_s, _ = index(system, "alone", light, searching=False)
    together_per_s, beside = index(system, "beside", light, searching=True)
    print(row("each alone", *p50_p99(alone, digits=1), f"{alone.per_s:.1f}", f"{indexed_per_s:.1f}"))
    if beside is not None:
        print(row("both", *p50_p99(beside, digits=1), f"{beside.per_s:.1f}", f"{together_per_s:.1f}"))
        slower = (quantile(beside.ok_ms, one) / quantile(alone.ok_ms, one) for one in (0.5, 0.99))
        ratios = (*slower, beside.per_s / alone.per_s, together_per_s / indexed_per_s)
        print(row("both to alone", *(f"{ratio:.2f}" for ratio in ratios)), flush=True)


def index(system: Running, dataset: str, light: str, *, searching: bool) -> tuple[float, GroupResult | None]:
    """Pictures per second of an index job, and the results of a client that searches meanwhile."""
    root = next(path.parent for path in system.data.glob("catalog-*/images"))
    count = sum(1 for _ in (root / "images").iterdir())
    body = {"dataset": dataset, "reader": "synthetic", "root": str(root), "model": MODEL}
    job = system.call("/api/jobs/index", body)["job"]["id"]
    started_s = time.monotonic()
    wait_for_progress(system, job)
    seen = run(system.port, [Group(light, 1, 8)])[0] if searching else None
    while (state := system.call(f"/api/jobs/{job}")["job"]["state"]) not in ("succeeded", "failed", "cancelled"):
        if searching and seen is not None:
            (more,) = run(system.port, [Group(light, 1, 2)])
            seen.ok_ms, seen.seconds = seen.ok_ms + more.ok_ms, seen.seconds + more.seconds
        else:
            time.sleep(0.1)
    if state != "succeeded":
        raise SystemExit(f"the index job {state}")
    return count / (time.monotonic() - started_s), seen


def wait_for_progress(system: Running, job: str) -> None:
    while system.call(f"/api/jobs/{job}")["job"]["state"] == "queued":
        time.sleep(0.05)


def print_goodput(system: Running, plain: Kind, *, seconds: float) -> None:
    print("\n" + head("clients", "answers/s", "p99 ms", "other answers", text_columns=4), flush=True)
    light = system.file(plain)
    for clients in (HEAVY_CLIENTS, MANY_CLIENTS, HEAVY_CLIENTS):
        (seen,) = run(system.port, [Group(light, clients, seconds)])
        rest = ", ".join(
            f"{name}: {count / seen.seconds:.0f}/s" for name, count in seen.statuses.items() if name != "200"
        )
        print(row(clients, f"{seen.per_s:.1f}", p50_p99(seen)[1], rest), flush=True)
        wait_until_quiet(system.processes)


def print_edge(system: Running, plain: Kind, *, seconds: float) -> None:
    print("\n" + head("clients", "search API, peak MB", "CPU s", "/livez", *OTHERS, "observed"))
    processes, light = system.processes, system.file(plain)
    idle_mb = processes.resident_mb()["search_api"]
    (alone,) = run(system.port, [Group(light, LIGHT_CLIENTS, seconds)])
    print(row("no others", "", "", "", *of_others(alone), ""), flush=True)
    for attack in edge.attacks():
        processes.reset_peaks()
        before_s = processes.cpu_s()
        with edge.running(attack, system.port) as observed:
            (others,) = run(system.port, [Group(light, LIGHT_CLIENTS, seconds, start_s=0.5)])
            alive = edge.health(system.port)
        peak_mb, cpu_s = max(0.0, processes.peak_mb()["search_api"] - idle_mb), processes.cpu_s() - before_s
        print(row(attack.name, f"{peak_mb:.0f}", f"{cpu_s:.1f}", alive, *of_others(others), observed[0]), flush=True)
        wait_until_quiet(processes)


def wait_until_quiet(processes: ServiceProcesses) -> None:
    """Wait until the system uses less than 5 % of a core, at most a minute."""
    ends_s = time.monotonic() + 60
    while time.monotonic() < ends_s:
        before_s = processes.cpu_s()
        time.sleep(0.5)
        if processes.cpu_s() - before_s < 0.05:
            return


def answer_of(seen: GroupResult) -> str:
    if "200" in seen.statuses:
        return "200"
    code = ""
    with contextlib.suppress(ValueError):
        code = str(json.loads(seen.example).get("code", ""))
    return " ".join([*seen.statuses, code]).strip()


def of_others(seen: GroupResult) -> tuple[str, str]:
    """The cells of the columns OTHERS."""
    return " / ".join(p50_p99(seen)), f"{seen.per_s:.0f}"


def p50_p99(seen: GroupResult, *, digits: int = 0) -> list[str]:
    """Milliseconds."""
    return quantiles(seen.ok_ms, 0.5, 0.99, digits=digits)


if __name__ == "__main__":
    sys.exit(main())
