"""What searches ask of the embedder: the vectors of a picture or of its garments, within the time of the request.

Embeddings of a stored picture are cached, because pages search with it repeatedly.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from search_api.search.options import SearchOptions
from search_api.search.parsers import Parsers
from vitrine.embedding import AsyncEmbedderClient, Embedding, FoundGarment, RegionsFound
from vitrine.errors import VitrineError

_PREDICTIONS: Final = 5
_MOST_SEEN: Final = 512
# Upload, release, views, region, parser, number of the garment (-1: none).
_Key = tuple[str, str, str, str, str, int]


@dataclass(frozen=True, slots=True)
class Asked:
    """The caller as the embedder knows it, and the start of the request (`time.perf_counter`).

    `upload` is the id of a stored picture. Its embedding is cached, because pages search with it repeatedly.
    """

    caller: str
    started_s: float
    upload: str | None = None


@dataclass(frozen=True, slots=True)
class SeenGarments:
    """The garments of a picture, and the embeddings of those that were asked for, by number."""

    regions: RegionsFound
    embeddings: dict[int, Embedding]

    def garment(self, number: int) -> FoundGarment:
        return next(one for one in self.regions.garments if one.number == number)


class QueryEmbedder:
    """Embeds the pictures of searches. `timeout_s` is that of a request."""

    def __init__(self, client: AsyncEmbedderClient, parsers: Parsers, *, timeout_s: float) -> None:
        self._client = client
        self._parsers = parsers
        self._timeout_s = timeout_s
        self._seen: OrderedDict[_Key, Embedding] = OrderedDict()
        self._regions: OrderedDict[tuple[str, str], RegionsFound] = OrderedDict()

    async def picture(
        self, picture: bytes, release_id: str, options: SearchOptions, asked: Asked, *, also: str | None = None
    ) -> tuple[Embedding, ...]:
        """The embedding of the picture, or of the part or cut-out that the options name, and by the release `also`.

        Raises ParserNotFound for a cut-out.
        """
        parser_id = await self._parsers.newest() if options.cutout else None
        if also is not None:
            return await self._client.embed_for_both(
                picture,
                release_ids=(release_id, also),
                views=options.views,
                region=options.picture_region,
                parser_id=parser_id,
                predict=_PREDICTIONS,
                caller=asked.caller,
                deadline_s=self._left_s(asked),
            )
        key = (asked.upload or "", release_id, options.views, options.region or "", parser_id or "", -1)
        known = self._known(key)
        if known is not None:
            return (known,)
        seen = await self._client.embed(
            picture,
            release_id=release_id,
            views=options.views,
            region=options.picture_region,
            parser_id=parser_id,
            predict=_PREDICTIONS,
            caller=asked.caller,
            deadline_s=self._left_s(asked),
        )
        self._keep(key, seen)
        return (seen,)

    async def garments(
        self, picture: bytes, release_id: str, options: SearchOptions, asked: Asked, *, number: int | None = None
    ) -> SeenGarments:
        """The garments of a picture with the embedding of each searchable one, or of one by its number; decoded once.

        Raises ParserNotFound, and GarmentUnknown for a number that the picture does not have.
        """
        parser_id = await self._parsers.newest()
        upload = asked.upload or ""
        known_regions = self._regions.get((upload, parser_id)) if upload else None
        if known_regions is not None:
            numbers = [number] if number is not None else _searchable(known_regions)
            known = {one: self._known(self._key(upload, release_id, options, parser_id, one)) for one in numbers}
            embeddings = {one: seen for one, seen in known.items() if seen is not None}
            if len(embeddings) == len(numbers):
                return SeenGarments(known_regions, embeddings)
        regions, seen = await self._client.embed_garments(
            picture,
            release_id=release_id,
            parser_id=parser_id,
            numbers=None if number is None else (number,),
            views=options.views,
            predict=_PREDICTIONS,
            caller=asked.caller,
            deadline_s=self._left_s(asked),
        )
        numbers = [number] if number is not None else _searchable(regions)
        found = dict(zip(numbers, seen, strict=True))
        self._keep_regions((upload, parser_id), regions)
        for one, embedding in found.items():
            self._keep(self._key(upload, release_id, options, parser_id, one), embedding)
        return SeenGarments(regions, found)

    async def regions(self, picture: bytes, asked: Asked) -> RegionsFound:
        """The garments of a picture. Raises ParserNotFound."""
        key = (asked.upload or "", await self._parsers.newest())
        known = self._regions.get(key) if asked.upload else None
        if known is not None:
            self._regions.move_to_end(key)
            return known
        found = await self._client.regions(
            picture, parser_id=key[1], caller=asked.caller, deadline_s=self._left_s(asked)
        )
        self._keep_regions(key, found)
        return found

    async def parser(self) -> str | None:
        """The release that finds garments; None if the release store has none."""
        return await self._parsers.newest_or_none()

    async def pictures(
        self, pictures: list[bytes], release_id: str, asked: Asked
    ) -> tuple[list[list[float]], Mapping[str, float]]:
        """(a vector for each picture, milliseconds of each stage), in one call. Raises the first picture's error."""
        if not pictures:
            return [], {}
        results, timings_ms = await self._client.embed_batch(
            pictures, release_id=release_id, caller=asked.caller, deadline_s=self._left_s(asked)
        )
        vectors = []
        for result in results:
            if isinstance(result, VitrineError):
                raise result
            vectors.append(result.tolist())
        return vectors, timings_ms

    def _left_s(self, asked: Asked) -> float:
        """The seconds that remain of the request's timeout."""
        return self._timeout_s - (time.perf_counter() - asked.started_s)

    @staticmethod
    def _key(upload: str, release_id: str, options: SearchOptions, parser_id: str, number: int) -> _Key:
        return (upload, release_id, options.views, "", parser_id, number)

    def _known(self, key: _Key) -> Embedding | None:
        known = self._seen.get(key) if key[0] else None
        if known is not None:
            self._seen.move_to_end(key)
        return known

    def _keep(self, key: _Key, embedding: Embedding) -> None:
        if key[0]:
            self._seen[key] = embedding
            if len(self._seen) > _MOST_SEEN:
                self._seen.popitem(last=False)

    def _keep_regions(self, key: tuple[str, str], regions: RegionsFound) -> None:
        if key[0]:
            self._regions[key] = regions
            if len(self._regions) > _MOST_SEEN:
                self._regions.popitem(last=False)


def _searchable(regions: RegionsFound) -> list[int]:
    return [garment.number for garment in regions.garments if garment.searchable]
