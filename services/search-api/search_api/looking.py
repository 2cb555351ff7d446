"""A query's picture as a release sees it. The embedder decodes it and makes its views: here it stays a file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from starlette.requests import Request

from search_api.access import caller_of
from vitrine.embedding import AsyncEmbedderClient, Embedding


@dataclass(frozen=True, slots=True)
class Look:
    """A picture as a release sees it, and whether it shows something of the release's kind, where that can be told."""

    vector: list[float]
    decode_ms: float
    familiar: bool | None


async def look_at(
    picture: bytes,
    embedder: AsyncEmbedderClient,
    release_ids: tuple[str] | tuple[str, str],
    *,
    views: str,
    caller: str,
    deadline_s: float,
) -> list[Look]:
    """See a picture as the mean of its views, by one release or by two. Raises as the embedder's client does."""
    if len(release_ids) == 2:
        seen: tuple[Embedding, ...] = await embedder.embed_for_both(
            picture, release_ids=release_ids, views=views, caller=caller, deadline_s=deadline_s
        )
    else:
        seen = (
            await embedder.embed(picture, release_id=release_ids[0], views=views, caller=caller, deadline_s=deadline_s),
        )
    return [Look(one.vector.tolist(), one.timings_ms.get("decode", 0.0), one.familiar) for one in seen]


def opaque_caller(request: Request) -> str:
    """The caller's name for the embedder: a hash of the key or address, so that neither is passed on."""
    return hashlib.sha256(caller_of(request.scope).encode()).hexdigest()[:16]
