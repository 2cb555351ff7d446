"""Explain why a product matches a picture, by occlusion: the similarity lost when a part of either is covered."""

from __future__ import annotations

import time
from typing import Any, Final

from search_api.answers import image_url
from search_api.products.pictures import Pictures
from search_api.search.options import PartOptions
from search_api.search.parsers import Parsers
from search_api.search.query_embedding import Asked
from search_api.search.rerank import nearest_picture
from search_api.search.retrieval import Retrieval
from vitrine.embedding import AsyncEmbedderClient
from vitrine.products import check_product_id, point_id, public_id
from vitrine.qdrant.naming import Serving

_DIGITS: Final = 6
_PNG: Final = "data:image/png;base64,"


class Explanations:
    """Explains matches with the serving release."""

    def __init__(
        self,
        retrieval: Retrieval,
        pictures: Pictures,
        embedder: AsyncEmbedderClient,
        parsers: Parsers,
        *,
        timeout_s: float,
    ) -> None:
        self._retrieval = retrieval
        self._pictures = pictures
        self._embedder = embedder
        self._parsers = parsers
        self._timeout_s = timeout_s

    async def explain(self, picture: bytes, product_id: str, options: PartOptions, asked: Asked) -> dict[str, Any]:
        """Explain a match. Raises ProductNotFound, PictureNotFound, ParserNotFound and the errors of a search."""

        async def explained(serving: Serving) -> dict[str, Any]:
            parser_id = await self._parsers.newest() if options.garment is not None else None
            index = await self._nearest_picture(picture, product_id, options, parser_id, serving, asked)
            product = await self._pictures.get(serving.dataset, product_id, index or 0)
            found = await self._embedder.explain(
                (picture, product.data),
                release_id=serving.release_id,
                region=options.picture_region,
                parser_id=parser_id,
                garment=options.garment,
                caller=asked.caller,
                deadline_s=self._left_s(asked),
            )
            matched = image_url(serving.dataset, product_id, index or 0)
            heats = [[[round(value, _DIGITS) for value in row] for row in heat] for heat in found["heats"]]
            return {
                "success": True,
                "id": public_id(product_id),
                "dataset": serving.dataset,
                "model": serving.model,
                "release": serving.release_id,
                "score": round(found["score"], _DIGITS),
                **({} if index is None else {"matchedPicture": {"index": index, "image": matched}}),
                "query": {"heat": heats[0], "picture": f"{_PNG}{found['query']}"},
                "product": {"heat": heats[1]},
                "picture": f"{_PNG}{found['picture']}",
            }

        return await self._retrieval.in_serving(options, explained)

    async def _nearest_picture(
        self,
        picture: bytes,
        product_id: str,
        options: PartOptions,
        parser_id: str | None,
        serving: Serving,
        asked: Asked,
    ) -> int | None:
        """Which of a product's pictures matches best; None if it has only one."""
        store = self._retrieval.store
        if not (await store.collection(serving.collection)).several_pictures:
            return None
        point = point_id(serving.dataset, check_product_id(product_id))
        pictures = (await store.vectors(serving.collection, [point])).get(point)
        if pictures is None or len(pictures) == 1:
            return None
        if options.garment is not None and parser_id is not None:
            _, (seen,) = await self._embedder.embed_garments(
                picture,
                release_id=serving.release_id,
                parser_id=parser_id,
                numbers=(options.garment,),
                caller=asked.caller,
                deadline_s=self._left_s(asked),
            )
        else:
            seen = await self._embedder.embed(
                picture,
                release_id=serving.release_id,
                region=options.picture_region,
                caller=asked.caller,
                deadline_s=self._left_s(asked),
            )
        return nearest_picture(pictures, seen.vector.tolist())

    def _left_s(self, asked: Asked) -> float:
        """The seconds that remain of the request's timeout."""
        return self._timeout_s - (time.perf_counter() - asked.started_s)
