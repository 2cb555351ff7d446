"""Latency of a search, by stage.

Posts pictures to `/api/search` of a running system with 1, 8 and 32 clients that each wait for their answer (a closed
loop, so a slow server also lowers the load), without a filter and with some. Prints milliseconds at the client, at the
server, and per stage. `above embed` is the client's time minus decoding and embedding. The clients run in their own
process.

    VITRINE_URL=http://127.0.0.1:8000 python -m benchmarks.search --pictures DIR [--model M] [--dataset D]
        [--filters '' --filters 'gender=Women&yearMin=2012'] [--requests 600] [--clients 1 8 32]

Each `--filters` is one row of the table. Parts of one filter are joined with `&`.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from benchmarks.pictures import form, pictures_below, sample
from benchmarks.processes import run_module
from benchmarks.tables import head, quantiles, row

FRACTIONS = (0.5, 0.95, 0.99)
STAGES = ("decode", "embed", "search", "total")
WARM_UP = 20


def main() -> int:
    arguments = parse_arguments()
    if arguments.worker:
        json.dump(load(json.load(sys.stdin)), sys.stdout)
        return 0
    chosen = sample(pictures_below(arguments.pictures), arguments.requests)
    print(
        f"{len(chosen)} pictures, {arguments.requests} requests a row, {os.cpu_count()} cores shared with the client\n"
    )
    heads = (
        "clients", "filter", "requests/s", "at the client", "at the server", "decode", "embed", "search", "above embed",
        "client CPU s", "failed",
    )  # fmt: skip
    print("Milliseconds, p50 / p95 / p99.\n")
    print(head(*heads, text_columns=2), flush=True)
    for text in arguments.filters or [""]:
        for clients in arguments.clients:
            print(table_row(measure(arguments, chosen, clients=clients, filters=text), clients, text), flush=True)
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--url", default=os.environ.get("VITRINE_URL", "http://127.0.0.1:8000"))
    parser.add_argument("--pictures", type=Path, default=Path())
    parser.add_argument("--model")
    parser.add_argument("--dataset")
    parser.add_argument("--top-k", type=int, default=15)
    parser.add_argument("--requests", type=int, default=600)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument(
        "--filters", action="append", help="e.g. 'gender=Women&yearMin=2012'; repeat for more rows, '' for none"
    )
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(arguments: argparse.Namespace, pictures: list[Path], *, clients: int, filters: str) -> dict[str, Any]:
    """Run the load in its own process, so that its CPU time is not counted as the server's."""
    options = {"topK": str(arguments.top_k), "model": arguments.model, "dataset": arguments.dataset}
    fields = [(name, value) for name, value in options.items() if value] + parse_qsl(filters)
    order = {
        "url": arguments.url,
        "key": os.environ.get("VITRINE_API_KEY"),
        "pictures": [str(path) for path in pictures],
        "fields": fields,
        "requests": arguments.requests,
        "clients": clients,
    }
    result: dict[str, Any] = run_module("benchmarks.search", order, "--worker")
    return result


def table_row(result: dict[str, Any], clients: int, filters: str) -> str:
    """One row of the table, in milliseconds."""
    stages = result["stages"]
    above = [
        total - decode - embed
        for total, decode, embed in zip(result["client_ms"], stages["decode"], stages["embed"], strict=True)
    ]
    cells = [str(clients), filters or "none", f"{result['per_s']:.1f}"]
    measured = (result["client_ms"], *(stages[name] for name in ("total", "decode", "embed", "search")), above)
    cells += [" / ".join(quantiles(values, *FRACTIONS)) for values in measured]
    return row(*cells, f"{result['cpu_s']:.1f}", result["failed"])


def load(order: dict[str, Any]) -> dict[str, Any]:
    """Keep `clients` connections busy until all requests are done. Runs in the worker process."""
    bodies = [form(Path(path).read_bytes(), order["fields"]) for path in order["pictures"]]
    clients = [Client(order, bodies) for _ in range(order["clients"])]
    clients[0].run(range(min(WARM_UP, len(bodies))))
    clients[0].reset()
    numbers = iter(range(order["requests"]))
    lock = threading.Lock()

    def shared() -> Any:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            yield number

    threads = [threading.Thread(target=client.run, args=(shared(),)) for client in clients]
    cpu_s, started_s = time.process_time(), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took_s = time.perf_counter() - started_s
    return {
        "per_s": order["requests"] / took_s,
        "cpu_s": time.process_time() - cpu_s,
        "client_ms": [value for client in clients for value in client.client_ms],
        "stages": {stage: [answer[stage] for client in clients for answer in client.took_ms] for stage in STAGES},
        "failed": sum(client.failed for client in clients),
    }


class Client:
    """One connection that sends a request after the answer to the last one."""

    def __init__(self, order: dict[str, Any], bodies: list[tuple[str, bytes]]) -> None:
        address = urlsplit(order["url"])
        self._connection = http.client.HTTPConnection(address.hostname or "127.0.0.1", address.port, timeout=60)
        self._bodies = bodies
        self._headers = {"Authorization": f"Bearer {order['key']}"} if order["key"] else {}
        self.reset()

    def reset(self) -> None:
        self.client_ms: list[float] = []
        self.took_ms: list[dict[str, float]] = []
        self.failed = 0

    def run(self, numbers: Any) -> None:
        for number in numbers:
            content_type, body = self._bodies[number % len(self._bodies)]
            started_s = time.perf_counter()
            self._connection.request("POST", "/api/search", body, {**self._headers, "Content-Type": content_type})
            answer = self._connection.getresponse()
            text = answer.read()
            took_ms = (time.perf_counter() - started_s) * 1e3
            if answer.status == 200:
                self.client_ms.append(took_ms)
                self.took_ms.append(json.loads(text)["tookMs"])
            else:
                self.failed += 1


if __name__ == "__main__":
    sys.exit(main())
