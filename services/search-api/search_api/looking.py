"""A query's picture as a release sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from search_api.refinement import mean_of, seen_in
from vitrine.embedding import AsyncEmbedderClient, Embedding
from vitrine.views import AS_IT_IS, View


@dataclass(frozen=True, slots=True)
class Look:
    """A picture as a release sees it, and whether it shows something of the release's kind, where that can be told."""

    vector: list[float]
    decode_ms: float
    familiar: bool | None


async def look_at(
    picture: bytes, embedder: AsyncEmbedderClient, release_id: str, *, views: Sequence[View], deadline_s: float
) -> Look:
    """See a picture as the mean of its views; the first tells whether it is familiar. Raises as the embedder's client
    does.
    """

    async def embed(data: bytes) -> Embedding:
        return await embedder.embed(data, release_id=release_id, deadline_s=deadline_s)

    others = [view for view in views if view != AS_IT_IS]
    files = await asyncio.to_thread(seen_in, picture, others) if others else []
    if AS_IT_IS in views:
        files = [picture, *files]
    embeddings = await asyncio.gather(*map(embed, files))
    decode_ms = max(embedding.timings_ms.get("decode", 0.0) for embedding in embeddings)
    return Look(mean_of([embedding.vector for embedding in embeddings]), decode_ms, embeddings[0].familiar)
