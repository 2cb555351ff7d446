"""The one place where clients of Qdrant are made, so that all of them connect in the same way.

An answer is asked for uncompressed. A server sends a compressed one in pieces, and over a connection that is kept the
last piece waits some 40 ms for the client's delayed acknowledgement.
"""

from __future__ import annotations

from typing import Any, Final

import httpx
from pydantic import SecretStr
from qdrant_client import AsyncQdrantClient, QdrantClient

DEFAULT_TIMEOUT_S: Final = 30
_CONNECTIONS: Final = 128


def open_qdrant(
    url: str, *, api_key: SecretStr | str | None = None, timeout_s: int = DEFAULT_TIMEOUT_S
) -> QdrantClient:
    """A client that connects when it is first used. Close it after use."""
    return QdrantClient(**_options(url, api_key, timeout_s))


def open_async_qdrant(
    url: str, *, api_key: SecretStr | str | None = None, timeout_s: int = DEFAULT_TIMEOUT_S
) -> AsyncQdrantClient:
    """The same for asyncio."""
    return AsyncQdrantClient(**_options(url, api_key, timeout_s))


def _options(url: str, api_key: SecretStr | str | None, timeout_s: int) -> dict[str, Any]:
    headers = {"Accept-Encoding": "identity"}
    key = api_key.get_secret_value() if isinstance(api_key, SecretStr) else api_key
    if key:
        # As a header: the client warns of a key over plain HTTP each time, also on loopback.
        headers["api-key"] = key
    return {
        "url": url,
        "timeout": timeout_s,
        "headers": headers,
        # The client would warn at each start; `vitrine.qdrant.version` does so once, in the log.
        "check_compatibility": False,
        # Named, because the client's own choice for a local address is a new connection for each call.
        "limits": httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS),
    }
