"""Query pictures are kept with people's faces blurred. The embedder blurs them, with the skin and hair that the parser
finds.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from search_api.search.parsers import Parsers
from vitrine.embedding import AsyncEmbedderClient
from vitrine.errors import ParserNotFound


@dataclass(frozen=True, slots=True)
class FaceBlur:
    """`keep_without_parser`: without a parser, pictures are kept as they are, instead of refused."""

    client: AsyncEmbedderClient
    parsers: Parsers
    keep_without_parser: bool
    timeout_s: float

    async def __call__(self, picture: bytes, caller: str) -> bytes:
        """The picture as it may be kept: unchanged if nobody's face is in it.

        Raises ParserNotFound, ImageRejected, Unavailable.
        """
        started_s = time.perf_counter()
        try:
            parser_id = await self.parsers.newest()
        except ParserNotFound as error:
            if self.keep_without_parser:
                return picture
            raise ParserNotFound(
                f"the picture cannot be kept, because nothing blurs people's faces: {error.detail}; or set "
                "VITRINE_KEEP_FACES_WITHOUT_PARSER=true"
            ) from None
        left_s = self.timeout_s - (time.perf_counter() - started_s)
        return await self.client.anonymize(picture, parser_id=parser_id, caller=caller, deadline_s=left_s)
