"""Readiness: the threads are alive, the queue has capacity, and the last inference succeeded.

If there was no inference for a while, one is run on a grey picture, so that a lost device is noticed.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Mapping
from typing import Any, Final

from PIL import Image

from embedder.model_cache import LoadedRelease, ModelCache
from embedder.pipeline import Pipeline
from embedder.preload import Preload
from vitrine.errors import VitrineError
from vitrine.telemetry import get_logger

_CHECK_TIMEOUT_S: Final = 10.0
_CHECK_SIDE_PX: Final = 64


class Readiness:
    """Checks in the background. `facts` returns the current state."""

    def __init__(self, pipeline: Pipeline, models: ModelCache, preload: Preload, *, interval_s: float) -> None:
        self.draining = False
        self._pipeline = pipeline
        self._models = models
        self._preload = preload
        self._interval_s = interval_s
        self._failure: str | None = None
        self._picture = _grey_picture()
        self._log = get_logger("readiness")

    def facts(self) -> tuple[bool, Mapping[str, Any]]:
        """(whether it is ready, the reasons)."""
        state = self._pipeline.state()
        ready = state["alive"] and not state["full"] and not self.draining and self._failure is None
        return ready, {
            "alive": state["alive"],
            "draining": self.draining,
            "pictures_in_flight": state["in_flight"],
            "queue_full": state["full"],
            "last_failure": self._failure,
            "device": str(self._models.choice.device),
            "precision": str(self._models.choice.dtype).removeprefix("torch."),
            "parser": self._preload.parser,
            "releases": [release.release_id for release in self._models.loaded()],
        }

    async def keep_checking(self) -> None:
        """Check until cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(self._interval_s)

    async def check(self) -> None:
        """Run an inference if none succeeded recently. If no release that embeds is loaded, do nothing."""
        loaded = [release for release in self._models.loaded() if isinstance(release, LoadedRelease)]
        last_good_s = self._pipeline.state()["last_good_s"]
        if not loaded:
            return
        if time.monotonic() - last_good_s < self._interval_s:
            self._failure = None
            return
        try:
            release = await self._models.acquire(loaded[0].release_id)
            try:
                answer = await self._pipeline.embed(
                    release, [self._picture], space="projected", deadline_s=time.monotonic() + _CHECK_TIMEOUT_S
                )
            finally:
                self._models.release(release)
            failure = answer.results[0] if isinstance(answer.results[0], VitrineError) else None
        except VitrineError as error:
            # A full queue is reported separately, and does not mean that the device is broken.
            failure = None if error.code in ("embedder_overloaded", "draining") else error
        if failure is not None:
            self._log.error("self_check_failure", code=failure.code, detail=failure.detail)
        self._failure = failure.code if failure is not None else None


def _grey_picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (_CHECK_SIDE_PX, _CHECK_SIDE_PX), (128, 128, 128)).save(buffer, "PNG")
    return buffer.getvalue()
