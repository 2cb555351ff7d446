"""A call's pictures on their way through the pipeline, and the one future that its request waits for."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from embedder.residency import Resident
from vitrine.errors import VitrineError
from vitrine.images.checks import DecodeCost
from vitrine.types import Pixels, Vectors

Space = Literal["projected", "raw"]
# Interactive work goes first: a caller waits for its answer.
Work = Literal["interactive", "batch"]
Result = Vectors | VitrineError


@dataclass(frozen=True, slots=True)
class Sender:
    """For whom a call is made: an opaque name, among which the queues are fair, and its class of work."""

    name: str = ""
    work: Work = "interactive"


ANYBODY: Final = Sender()


@dataclass(frozen=True, slots=True)
class Upload:
    """A picture file and what is made of it. `prepare` decodes it and returns the pixels of one vector for each of
    `residents`, in order; it raises ImageRejected. `cost` is estimated from the header. One without
    residents is decoded alone, and has one result, an empty vector.
    """

    residents: Sequence[Resident]
    prepare: Callable[[], list[Pixels]]
    cost: DecodeCost

    @property
    def count(self) -> int:
        """How many results it has."""
        return max(1, len(self.residents))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call has to tell, its vectors in order: their results, whether each picture shows something of the
    release's kind (None where that is not known), the longest milliseconds that any spent in each stage, and the raw
    features (raw_dim,) where the call keeps them, None where there is no result.
    """

    results: list[Result]
    familiar: list[bool | None]
    timings_ms: dict[str, float]
    features: list[Vectors | None]


class Call:
    """The vectors of one request. Every one gets exactly one result; the last one wakes the request. With
    `keep_features` it keeps the raw features beside them.

    `lane` names the queue its pictures stand in: those of one sender, expensive ones apart from the others.
    """

    def __init__(
        self,
        *,
        count: int,
        space: Space,
        deadline_s: float,
        loop: asyncio.AbstractEventLoop,
        sender: Sender = ANYBODY,
        heavy: bool = False,
        keep_features: bool = False,
    ) -> None:
        self.space = space
        self.deadline_s = deadline_s
        self.count = count
        self.work: Work = sender.work
        self.lane = (sender.name, heavy)
        self.done: asyncio.Future[None] = loop.create_future()
        self.timings_ms: dict[str, float] = {"decode": 0.0, "queue": 0.0, "device": 0.0}
        # Whether each picture shows something of the release's kind; None where the release cannot tell.
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
        """Keep the longest time any of the pictures spent in a stage."""
        self.timings_ms[stage] = max(self.timings_ms[stage], took_s * 1e3)

    def resolve(self, position: int, result: Result) -> bool:
        """Give a picture its result. The first one counts: returns whether this was it."""
        with self._lock:
            if self._results[position] is not None:
                return False
            self._results[position] = result
            self._left -= 1
            last = self._left == 0
        if last:
            self._loop.call_soon_threadsafe(self._wake)
        return True

    def answer(self) -> Answer:
        """What the call has to tell, once `done`."""
        results = [result for result in self._results if result is not None]
        return Answer(results, self.familiar, self.timings_ms, self.features)

    def _wake(self) -> None:
        if not self.done.done():
            self.done.set_result(None)


@dataclass(slots=True)
class Item:
    """The pixels of one vector of a call, for one release."""

    call: Call
    position: int
    resident: Resident | None = None
    pixels: Pixels | None = None
    decoded_s: float = field(default=0.0)


@dataclass(slots=True)
class Task:
    """An upload of a call that waits to be decoded. Its vectors are those from `first` on."""

    call: Call
    first: int
    upload: Upload
