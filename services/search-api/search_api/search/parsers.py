"""Which release finds the garments in pictures: the newest of the configured model in the release store."""

from __future__ import annotations

import asyncio
from typing import Final

from search_api.cache import ExpiringCache
from vitrine.errors import ParserNotFound, ReleaseOfOtherKind
from vitrine.releases import ReleaseStore

# A newly published parser is used after at most this long.
_TTL_S: Final = 5.0


class Parsers:
    """The newest parser, looked up in the release store every few seconds."""

    def __init__(self, releases: ReleaseStore, *, model: str) -> None:
        self._releases = releases
        self._model = model
        self._newest: ExpiringCache[str, str | None] = ExpiringCache(ttl_s=_TTL_S, max_entries=1)

    async def newest(self) -> str:
        """The release that parses. Raises ParserNotFound, and ReleaseCorrupt if its manifest is damaged."""
        found = await self.newest_or_none()
        if found is None:
            raise ParserNotFound(
                f"the release store has no parser of garments, a release of the model {self._model!r}: `vitrine up` "
                "installs the bundled one, `vitrine train recipes/parser.toml` trains one"
            )
        return found

    async def newest_or_none(self) -> str | None:
        """The same; None if the store has no release of the model."""
        return await self._newest.get(self._model, lambda: asyncio.to_thread(self._look))

    def _look(self) -> str | None:
        release_id = self._releases.newest(self._model)
        if release_id is None:
            return None
        try:
            self._releases.parser_manifest(release_id)
        except ReleaseOfOtherKind as error:
            raise ParserNotFound(
                f"the model {self._model!r} embeds pictures and finds no garments: set VITRINE_PARSER_MODEL to a parser"
            ) from error
        return release_id
