"""A query's picture as a release sees it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from search_api.refinement import mean_of, mirrored
from vitrine.embedding import AsyncEmbedderClient, Embedding


@dataclass(frozen=True, slots=True)
class Look:
    """A picture as a release sees it."""

    vector: list[float]
    decode_ms: float


async def look_at(
    picture: bytes, embedder: AsyncEmbedderClient, release_id: str, *, flip: bool, deadline_s: float
) -> Look:
    """See a picture; with `flip` as the mean of itself and its mirror image. Raises as the embedder's client does."""

    async def embed(data: bytes) -> Embedding:
        return await embedder.embed(data, release_id=release_id, deadline_s=deadline_s)

    if not flip:
        embedding = await embed(picture)
        return Look(embedding.vector.tolist(), embedding.timings_ms.get("decode", 0.0))
    both = await asyncio.gather(embed(picture), embed(await asyncio.to_thread(mirrored, picture)))
    decode_ms = max(embedding.timings_ms.get("decode", 0.0) for embedding in both)
    return Look(mean_of([embedding.vector for embedding in both]), decode_ms)
