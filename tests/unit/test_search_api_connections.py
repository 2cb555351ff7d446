"""Searches open no new connections to Qdrant, including a local one."""

from __future__ import annotations

import asyncio
from pathlib import Path

from search_api.context import build_context
from search_api.settings import Settings

CALLS = 5
BODY = b'{"result":{"aliases":[]},"status":"ok","time":0.0}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


async def connections_made(folder: Path) -> int:
    made = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal made
        made += 1
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(ANSWER)
                await writer.drain()
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    context = build_context(
        Settings(qdrant_url=f"http://127.0.0.1:{port}", releases_url=f"file:{folder}", uploads_dir=folder / "uploads")
    )
    for _ in range(CALLS):
        assert await context.store.servings(fresh=True) == []
    await context.close()
    server.close()
    await server.wait_closed()
    return made


def test_calls_to_qdrant_share_one_connection(tmp_path: Path) -> None:
    assert asyncio.run(connections_made(tmp_path)) == 1
