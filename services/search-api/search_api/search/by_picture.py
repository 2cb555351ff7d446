"""A search by a picture or a part of it: embed, plan, find the nearest products, refine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

from qdrant_client import models

from search_api.answers import Confidence, Confidences
from search_api.search.finding import Found, answer_of, complete, took_ms
from search_api.search.options import Pairs, SearchOptions
from search_api.search.query_embedding import Asked, QueryEmbedder
from search_api.search.rerank import Refinement, fused_search
from search_api.search.retrieval import Prepared, Retrieval, Wanted
from vitrine.embedding import Embedding
from vitrine.qdrant.plans import Plan


@dataclass(frozen=True, slots=True)
class PictureSearch:
    """Searches by pictures in prepared collections."""

    retrieval: Retrieval
    embedder: QueryEmbedder
    confidences: Confidences

    async def search(
        self, picture: bytes, prepared: Prepared, options: SearchOptions, filters: Pairs, asked: Asked
    ) -> dict[str, Any]:
        """The answer to a search with the picture, or with the part or cut-out that the options name."""
        known = await self.confidence_of(prepared, options)
        other = None
        if options.fuse is not None:
            other = await self.retrieval.prepare_other(prepared, options.fuse, filters)
        embedding_s = time.perf_counter()
        # The plan needs only the filter, so it is made while the embedder works.
        seen, plan = await asyncio.gather(
            self.embedder.picture(
                picture,
                prepared.serving.release_id,
                options,
                asked,
                also=None if other is None else other.serving.release_id,
            ),
            self.retrieval.plan(prepared),
        )
        searching_s = time.perf_counter()
        search = None
        confidence = known.asked(seen[0].familiar)
        if other is not None:
            vectors = (seen[0].vector.tolist(), seen[1].vector.tolist())
            wanted = Wanted.of(options, confidence.min_score(options.min_score, options.min_confidence))
            search = fused_search(
                self.retrieval, (prepared, other), vectors, wanted, plan=plan, weight=options.fuse_weight
            )
        found = await self.nearest(prepared, seen[0], confidence, options, plan=plan, search=search)
        took = took_ms(asked.started_s, embedding_s, searching_s, timings_ms=seen[0].timings_ms)
        return answer_of(prepared.serving, found, plan=plan, took=took, confidence=confidence)

    async def confidence_of(self, prepared: Prepared, options: SearchOptions) -> Confidence:
        """The confidences of a search with these options. Raises ParameterInvalid if it needs them and has none."""
        return await self.confidences.of(
            prepared.serving.release_id,
            min_confidence=options.min_confidence,
            refined=bool(options.expand or options.rerank or options.fuse is not None),
        )

    async def nearest(
        self,
        prepared: Prepared,
        seen: Embedding,
        confidence: Confidence,
        options: SearchOptions,
        *,
        plan: Plan,
        search: Awaitable[list[models.ScoredPoint]] | None = None,
    ) -> Found:
        """The products nearest to an embedding, or those of `search`, and its predicted labels."""
        least = confidence.min_score(options.min_score, options.min_confidence)
        vector = seen.vector.tolist()
        if search is None:
            refine = Refinement(options.expand, options.expand_alpha, options.rerank)
            search = self.retrieval.nearest(prepared, vector, Wanted.of(options, least), plan=plan, refine=refine)
        found = await complete(self.retrieval, search, prepared, vector, options, min_score=least)
        found.more["predicted"] = [
            {"field": confidence.label, "label": one.label, "probability": one.probability} for one in seen.predicted
        ]
        return found
