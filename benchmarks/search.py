"""How long does a search take, and where does the time go?

Posts pictures to `/api/search` of a running system from a process of its own, with 1, 8 and 32 clients that each wait
for their answer (a closed loop, so a stall slows the load as well), without a filter and with some, and prints a table:
milliseconds at the client, at the server, and by stage. `above embed` is the client's time less decoding and embedding.

    VITRINE_URL=http://127.0.0.1:8000 python benchmarks/search.py --pictures DIR [--model M] [--dataset D]
        [--filters '' --filters 'gender=Women&yearMin=2012'] [--requests 600] [--clients 1 8 32]

Each `--filters` is one line of the table; parts of one filter are joined with `&`.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

SHARES = (0.5, 0.95, 0.99)
STAGES = ("decode", "embed", "search", "total")
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
WARM_UP = 20
SEED = 1


def main() -> int:
    arguments = parse_arguments()
    if arguments.worker:
        json.dump(load(json.load(sys.stdin)), sys.stdout)
        return 0
    pictures = sorted(path for path in arguments.pictures.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not pictures:
        raise SystemExit(f"no pictures below {arguments.pictures}")
    chosen = random.Random(SEED).sample(pictures, min(len(pictures), arguments.requests))
    print(
        f"{len(chosen)} pictures, {arguments.requests} requests a line, {os.cpu_count()} cores shared with the client\n"
    )
    heads = ["clients", "filter", "requests/s", "at the client", "at the server", "decode", "embed", "search"]
    heads += ["above embed", "client CPU s", "failed"]
    print("Milliseconds, p50 / p95 / p99.\n")
    print("| " + " | ".join(heads) + " |")
    print("|" + "|".join(["---:", "---", *["---:"] * (len(heads) - 2)]) + "|", flush=True)
    for text in arguments.filters or [""]:
        for clients in arguments.clients:
            print(line(measure(arguments, chosen, clients=clients, filters=text), clients, text), flush=True)
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
        "--filters", action="append", help="e.g. 'gender=Women&yearMin=2012'; repeat for more lines, '' for none"
    )
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(arguments: argparse.Namespace, pictures: list[Path], *, clients: int, filters: str) -> dict[str, Any]:
    """Run the load in a process of its own, so that its work is not counted as the server's."""
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
    done = subprocess.run(
        [sys.executable, __file__, "--worker"], input=json.dumps(order), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"the load failed:\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def line(result: dict[str, Any], clients: int, filters: str) -> str:
    """One line of the table, in milliseconds."""
    stages = result["stages"]
    above = [
        total - decode - embed
        for total, decode, embed in zip(result["client_ms"], stages["decode"], stages["embed"], strict=True)
    ]
    cells = [str(clients), filters or "none", f"{result['per_s']:.1f}"]
    measured = (result["client_ms"], *(stages[name] for name in ("total", "decode", "embed", "search")), above)
    cells += [" / ".join(quantile(values, share) for share in SHARES) for values in measured]
    return "| " + " | ".join([*cells, f"{result['cpu_s']:.1f}", str(result["failed"])]) + " |"


def quantile(values: list[float], share: float) -> str:
    if not values:
        return "-"
    ordered = sorted(values)
    return f"{ordered[min(len(ordered) - 1, int(share * len(ordered)))]:.1f}"


def load(order: dict[str, Any]) -> dict[str, Any]:
    """Keep `clients` connections busy until the requests are done; runs in the worker process."""
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
    """One connection that sends a request once the answer to the last is there."""

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


def form(picture: bytes, fields: list[tuple[str, str]]) -> tuple[str, bytes]:
    """(content type, body) of a multipart form."""
    boundary = uuid.uuid4().hex
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields
    ]
    file_head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="q.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    )
    body = "".join(parts).encode() + file_head.encode() + picture + f"\r\n--{boundary}--\r\n".encode()
    return f"multipart/form-data; boundary={boundary}", body


if __name__ == "__main__":
    sys.exit(main())
