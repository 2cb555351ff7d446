"""What is loaded before it is first asked for: the releases of the setting before the service is ready, and the parser
in the background, because compiling it takes seconds that the first photograph would wait for.
"""

from __future__ import annotations

import asyncio
from typing import Final

from embedder.model_cache import ModelCache
from vitrine.errors import VitrineError
from vitrine.releases import ReleaseStore
from vitrine.telemetry import get_logger

_ABSENT: Final = "absent"


class Preload:
    """Loads releases at start. One that cannot be loaded is logged, and the others still serve."""

    def __init__(self, store: ReleaseStore, models: ModelCache, *, releases: str, parser_model: str) -> None:
        self._store = store
        self._models = models
        self._releases = [name.strip() for name in releases.split(",") if name.strip()]
        self._parser_model = parser_model
        self._parser = _ABSENT
        self._log = get_logger("preload")

    @property
    def parser(self) -> str:
        """How the parser of the start is doing: `absent`, `loading`, `loaded`, or the code of the error."""
        return self._parser

    async def load_releases(self) -> None:
        for release_id in self._releases:
            await self._load(release_id)

    async def load_parser(self) -> None:
        """Load the newest release of the parser's model. Nothing is loaded if the store has none."""
        self._parser = "loading"
        try:
            release_id = await asyncio.to_thread(self._store.newest, self._parser_model)
        except VitrineError as error:
            self._log.error("preload_failure", model=self._parser_model, code=error.code, detail=error.detail)
            self._parser = error.code
            return
        self._parser = _ABSENT if release_id is None else await self._load(release_id) or "loaded"

    async def _load(self, release_id: str) -> str | None:
        """The code of the error; None if it is loaded."""
        try:
            self._models.release(await self._models.acquire_any(release_id))
        except VitrineError as error:
            self._log.error("preload_failure", release=release_id, code=error.code, detail=error.detail)
            return error.code
        return None
