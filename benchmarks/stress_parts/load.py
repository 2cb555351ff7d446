"""Load from many clients over plain sockets, in its own process.

Each client repeats its request as soon as the last one is answered (a closed loop), whatever Retry-After says.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.processes import run_module


@dataclass(slots=True)
class Group:
    """`clients` connections from `address`, each sending the request in `file` for `seconds`, or `requests` in all."""

    file: str
    clients: int
    seconds: float
    requests: int | None = None
    address: str = "127.0.0.1"
    start_s: float = 0.0


@dataclass(slots=True)
class GroupResult:
    """The results of a group: milliseconds of each answer with status 200, and the number of answers of each status."""

    ok_ms: list[float] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    example: str = ""

    @property
    def per_s(self) -> float:
        return len(self.ok_ms) / self.seconds if self.seconds else 0.0


def run(port: int, groups: list[Group]) -> list[GroupResult]:
    """Run the groups at the same time, in another process."""
    order = {"port": port, "groups": [{name: getattr(group, name) for name in Group.__slots__} for group in groups]}
    return [GroupResult(**one) for one in run_module("benchmarks.stress_parts.load", order)]


async def _client(port: int, group: Group, request: bytes, left: list[int], ends_s: float, seen: GroupResult) -> None:
    reader: asyncio.StreamReader | None = None
    writer: asyncio.StreamWriter | None = None
    while time.monotonic() < ends_s:
        if group.requests is not None:
            if left[0] <= 0:
                break
            left[0] -= 1
        started_s = time.monotonic()
        try:
            if reader is None or writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(group.address, 0))
            writer.write(request)
            status, close, text = await asyncio.wait_for(_answer(reader), 120)
        except (OSError, asyncio.IncompleteReadError, TimeoutError, IndexError, ValueError) as error:
            status, close, text = type(error).__name__, True, ""
            await asyncio.sleep(0.05)
        seen.statuses[status] = seen.statuses.get(status, 0) + 1
        if status == "200":
            seen.ok_ms.append((time.monotonic() - started_s) * 1e3)
        elif not seen.example:
            seen.example = text[:300]
        if close and writer is not None:
            writer.close()
            reader = writer = None
    if writer is not None:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[str, bool, str]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    lines = head.lower().split("\r\n")
    length = next((int(line.partition(":")[2]) for line in lines if line.startswith("content-length:")), 0)
    body = await reader.readexactly(length)
    return lines[0].split()[1], "connection: close" in lines, body[:300].decode("utf-8", "replace")


async def _main(order: dict[str, Any], requests: dict[str, bytes]) -> list[GroupResult]:
    async def of_group(group: Group) -> GroupResult:
        await asyncio.sleep(group.start_s)
        request, seen, left = requests[group.file], GroupResult(), [group.requests or 0]
        started_s = time.monotonic()
        ends_s = started_s + group.seconds
        clients = [_client(order["port"], group, request, left, ends_s, seen) for _ in range(group.clients)]
        tasks = [asyncio.create_task(one) for one in clients]
        done, late = await asyncio.wait(tasks, timeout=group.seconds + 1.0 if group.requests is None else 150.0)
        seen.seconds = time.monotonic() - started_s
        for task in late:
            task.cancel()
        for task in done:
            task.result()
        return seen

    return list(await asyncio.gather(*(of_group(Group(**one)) for one in order["groups"])))


if __name__ == "__main__":
    order = json.load(sys.stdin)
    requests = {one["file"]: Path(one["file"]).read_bytes() for one in order["groups"]}
    found = asyncio.run(_main(order, requests))
    json.dump([{name: getattr(seen, name) for name in GroupResult.__slots__} for seen in found], sys.stdout)
