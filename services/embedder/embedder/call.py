"""A call in the pipeline: its uploads, what is decoded from them, and the future that its request awaits."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from PIL import Image

from embedder.model_cache import Loaded, LoadedRelease
from vitrine.errors import ImageRejected, VitrineError
from vitrine.images.checks import DecodeCost, check_image, decode_cost
from vitrine.images.decode import decode_image
from vitrine.images.regions import Region, check_region, region_decode_px
from vitrine.images.views import View
from vitrine.types import Pixels, Vectors

Space = Literal["projected", "raw"]
# Interactive work goes first, because a user waits for it.
Priority = Literal["interactive", "batch"]
Result = Vectors | VitrineError

# CPU seconds of each further view, beside the decoding.
_VIEW_S: Final = 0.005
_NO_COST: Final = DecodeCost(0.0, 0)


@dataclass(frozen=True, slots=True)
class Caller:
    """An opaque name and a priority. The queues are fair among the names."""

    name: str = ""
    priority: Priority = "interactive"


ANY_CALLER: Final = Caller()


@dataclass(frozen=True, slots=True)
class Upload:
    """A picture and its processing.

    `prepare` decodes it and returns the pixels for each of `releases`, in order; it raises ImageRejected. `cost` is
    estimated from the header. An upload without releases is only prepared, and its one result is an empty vector.
    `stage` is what preparing it is called in metrics and timings.
    """

    releases: Sequence[Loaded]
    prepare: Callable[[], list[Pixels]]
    cost: DecodeCost
    stage: str = "decode"

    @property
    def count(self) -> int:
        """The number of results."""
        return max(1, len(self.releases))


def whole_picture(release: LoadedRelease, data: bytes) -> Upload:
    """One vector of the picture. A file that cannot be used costs nothing, and is rejected when it is decoded."""
    try:
        cost = decode_cost(check_image(data, limits=release.preprocessor.limits), len(data))
    except ImageRejected:
        cost = _NO_COST
    return Upload((release,), lambda: [release.preprocessor(data)], cost)


def picture_views(
    releases: Sequence[LoadedRelease], data: bytes, views: Sequence[View], *, region: Region | None = None
) -> Upload:
    """One vector for each view of the picture or of its `region`, release by release, from one decoding.

    Raises ImageRejected if the header shows that the picture or the region cannot be used.
    """
    limits = releases[0].preprocessor.limits  # the same for every release
    header = check_image(data, limits=limits)
    targets_px = [release.preprocessor.decode_px_for(views) for release in releases]
    cost = decode_cost(header, len(data))
    if region is not None:
        check_region(header, region, limits=limits)
        short_px = region_decode_px(header, len(data), region, target_px=max(targets_px), limits=limits)
        cost = decode_cost(header, len(data), short_side_px=short_px)
    extra_s = _VIEW_S * (len(views) - 1)

    def prepare() -> list[Pixels]:
        decoded: dict[int, Image.Image] = {}
        pixels: list[Pixels] = []
        for release, target_px in zip(releases, targets_px, strict=True):
            # Only a JPEG is decoded at a scale that depends on the target size.
            key = target_px if header.format == "JPEG" else 0
            if key not in decoded:
                decoded[key] = decode_image(data, target_px=target_px, limits=limits, region=region)
            pixels += release.preprocessor.fit_views(decoded[key], views)
        return pixels

    per_vector = tuple(release for release in releases for _ in views)
    return Upload(per_vector, prepare, DecodeCost(cost.cpu_s + extra_s, cost.memory_bytes))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call, or a step of it, returns, by vector: the results; whether the picture is in the release's domain
    (None: unknown); and the raw features (raw_dim,) if the call keeps them, None without a result.

    `timings_ms` has the longest time that a picture spent in each stage.
    """

    results: list[Result]
    familiar: list[bool | None]
    timings_ms: dict[str, float]
    features: list[Vectors | None]

    def all_results(self) -> list[Vectors]:
        """The results. Raises the first error, if there is one."""
        found: list[Vectors] = []
        for result in self.results:
            if isinstance(result, VitrineError):
                raise result
            found.append(result)
        return found


class Call:
    """The vectors of one request, or of a step of it. Each gets exactly one result, and the last one wakes the request.

    `lane` names the queue of its pictures: one per caller, with a separate one for expensive calls. With
    `keep_features` it keeps the raw features too.
    """

    def __init__(
        self,
        *,
        count: int,
        space: Space,
        deadline_s: float,
        loop: asyncio.AbstractEventLoop,
        caller: Caller = ANY_CALLER,
        heavy: bool = False,
        keep_features: bool = False,
    ) -> None:
        self.space = space
        self.deadline_s = deadline_s
        self.count = count
        self.priority: Priority = caller.priority
        self.lane = (caller.name, heavy)
        self.done: asyncio.Future[None] = loop.create_future()
        self.timings_ms: dict[str, float] = {}
        # Whether each picture is in the release's domain. None if the release cannot tell.
        self.familiar: list[bool | None] = [None] * count
        self.keep_features = keep_features
        self.features: list[Vectors | None] = [None] * count if keep_features else []
        self._loop = loop
        self._results: list[Result | None] = [None] * count
        self._left = count
        self._lock = threading.Lock()

    @property
    def expired(self) -> bool:
        """Whether nobody waits for the result any more."""
        return time.monotonic() >= self.deadline_s or self.done.done()

    def note(self, stage: str, took_s: float) -> None:
        """Keep the longest time that a picture spent in a stage."""
        self.timings_ms[stage] = max(self.timings_ms.get(stage, 0.0), took_s * 1e3)

    def resolve(self, position: int, result: Result) -> bool:
        """Set a vector's result. Only the first one counts: returns whether this was it."""
        with self._lock:
            if self._results[position] is not None:
                return False
            self._results[position] = result
            self._left -= 1
            last = self._left == 0
        if last:
            # The caller's loop may have ended, and nobody waits: the thread that brings the result goes on to others.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._wake)
        return True

    def answer(self) -> Answer:
        """The answer, once `done`."""
        results = [result for result in self._results if result is not None]
        return Answer(results, self.familiar, self.timings_ms, self.features)

    def _wake(self) -> None:
        if not self.done.done():
            self.done.set_result(None)


@dataclass(slots=True)
class DecodeTask:
    """An upload of a call, waiting to be decoded. Its vectors are those from position `first` on."""

    call: Call
    first: int
    upload: Upload


@dataclass(slots=True)
class BatchItem:
    """The pixels for one vector of a call, for one release."""

    call: Call
    position: int
    release: Loaded | None = None
    pixels: Pixels | None = None
    decoded_s: float = field(default=0.0)
