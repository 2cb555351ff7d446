"""An HTTP transport that gives up on a server known to be silent: at once for a new request, and for those under way as
soon as it becomes known. Waiting for a read timeout instead would hold each caller for half a minute.
"""

from __future__ import annotations

import asyncio
import time

import httpx

from vitrine.errors import EmbedderSilent

_RETRY_AFTER_S = 5.0


class AbandoningTransport(httpx.AsyncBaseTransport):
    """Passes requests to `inner`. Raises EmbedderSilent while `silent` is set; without it, never."""

    def __init__(self, inner: httpx.AsyncBaseTransport, silent: asyncio.Event | None) -> None:
        self._inner = inner
        self._silent = silent
        self._answered_at_s = float("-inf")

    def answered_within(self, seconds: float) -> bool:
        """Did any request get an answer in the last `seconds`? A server that is busy may be late with one and alive."""
        return time.monotonic() - self._answered_at_s <= seconds

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._silent is None:
            return await self._send(request)
        if self._silent.is_set():
            raise _silence()
        sending = asyncio.ensure_future(self._send(request))
        silence = asyncio.ensure_future(self._silent.wait())
        try:
            await asyncio.wait({sending, silence}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                return sending.result()
            raise _silence()
        finally:
            silence.cancel()
            sending.cancel()

    async def _send(self, request: httpx.Request) -> httpx.Response:
        answer = await self._inner.handle_async_request(request)
        self._answered_at_s = time.monotonic()
        return answer

    async def aclose(self) -> None:
        await self._inner.aclose()


def _silence() -> EmbedderSilent:
    return EmbedderSilent("the embedder does not answer: try again in a moment", retry_after_s=_RETRY_AFTER_S)
