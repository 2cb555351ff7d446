"""Whether the embedder can work, by facts of its own: the threads live, the queue has room, and the last inference was
good. When none has run for a while, one is run on a grey picture, so a device that has gone away is noticed.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Mapping
from typing import Any, Final

from PIL import Image

from embedder.pipeline import Pipeline
from embedder.residency import Residency
from vitrine.errors import VitrineError
from vitrine.telemetry import get_logger

_CHECK_TIMEOUT_S: Final = 10.0
_CHECK_SIDE_PX: Final = 64


class Readiness:
    """Keeps checking in the background; `facts` tells what is known now."""

    def __init__(self, pipeline: Pipeline, residency: Residency, *, interval_s: float) -> None:
        self.draining = False
        self._pipeline = pipeline
        self._residency = residency
        self._interval_s = interval_s
        self._failure: str | None = None
        self._picture = _grey_picture()
        self._log = get_logger("readiness")

    def facts(self) -> tuple[bool, Mapping[str, Any]]:
        """(ready, what it is based on)."""
        state = self._pipeline.state()
        ready = state["alive"] and not state["full"] and not self.draining and self._failure is None
        return ready, {
            "alive": state["alive"],
            "draining": self.draining,
            "pictures_in_flight": state["in_flight"],
            "queue_full": state["full"],
            "last_failure": self._failure,
            "device": str(self._residency.choice.device),
            "precision": str(self._residency.choice.dtype).removeprefix("torch."),
            "releases": [resident.release_id for resident in self._residency.loaded()],
        }

    async def keep_checking(self) -> None:
        """Run for ever."""
        while True:
            await self.check()
            await asyncio.sleep(self._interval_s)

    async def check(self) -> None:
        """Run an inference where none was good of late. Nothing loaded: nothing to run, and nothing wrong."""
        loaded = self._residency.loaded()
        last_good_s = self._pipeline.state()["last_good_s"]
        if not loaded:
            return
        if time.monotonic() - last_good_s < self._interval_s:
            self._failure = None
            return
        try:
            resident = await self._residency.acquire(loaded[0].release_id)
            try:
                answer = await self._pipeline.embed(
                    resident, [self._picture], space="projected", deadline_s=time.monotonic() + _CHECK_TIMEOUT_S
                )
            finally:
                self._residency.release(resident)
            failure = answer.results[0] if isinstance(answer.results[0], VitrineError) else None
        except VitrineError as error:
            # A queue that is full is told as such, and is no sign of a broken device.
            failure = None if error.code in ("embedder_overloaded", "draining") else error
        if failure is not None:
            self._log.error("self_check_failure", code=failure.code, detail=failure.detail)
        self._failure = failure.code if failure is not None else None


def _grey_picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (_CHECK_SIDE_PX, _CHECK_SIDE_PX), (128, 128, 128)).save(buffer, "PNG")
    return buffer.getvalue()
