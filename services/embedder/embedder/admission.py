"""Admission control: estimates the cost of each call in CPU seconds, and refuses it if it would wait for too long.

An interactive call is answered within about `max_delay_s` or refused at once. The estimated delay follows the fair
queues: of every other caller, only as much work comes first as this caller has itself. So a caller with a lot of work
is refused while another one is admitted. The ratio of actual to estimated seconds is measured continuously.
"""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from embedder.call import Caller, Priority
from vitrine.embedding.wire import CALLER_HEADER, WORK_HEADER
from vitrine.errors import EmbedderBusyWithHeavyWork, EmbedderOverloaded, VitrineError, WorkTooLarge
from vitrine.fair_queue import fair_backlog
from vitrine.web import send_problem

# One caller may use this share of the delay. The rest stays for the others.
_MAX_CALLER_SHARE: Final = 0.75
# The batch class may hold this share of the pictures. The rest stays for interactive calls.
_MAX_BATCH_SHARE: Final = 0.875
_MIN_RETRY_AFTER_S: Final = 1.0
_SMOOTHING: Final = 0.05
_BATCH_SMOOTHING: Final = 0.1
_SLOWNESS_RANGE: Final = (0.5, 20.0)
# A shorter call hardly waited for others, so its time says nothing about the queue.
_MIN_MEASURED_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class CallCost:
    """The estimated cost of a call: CPU seconds of decoding and of the networks, and the number of vectors.

    `heavy` calls have a small pool of their own: several views, an explanation, or a very large picture.
    """

    decode_s: float
    networks_s: float
    pictures: int
    heavy: bool = False

    @property
    def cpu_s(self) -> float:
        return self.decode_s + self.networks_s


@dataclass(frozen=True, slots=True)
class AdmittedCall:
    caller: Caller
    cost: CallCost
    estimated_s: float
    at_s: float


class AdmissionControl:
    """Used from the event loop only.

    `cores` work in parallel. `pictures` returns the number of admitted and unfinished pictures, including those whose
    callers have left.
    """

    def __init__(
        self,
        *,
        cores: int,
        pictures: Callable[[], int],
        max_pictures: int,
        max_delay_s: float,
        max_heavy: int,
        max_decode_s: float,
    ) -> None:
        self._cores = cores
        self._pictures = pictures
        self._max_pictures = max_pictures
        self._max_delay_s = max_delay_s
        self._max_heavy = max_heavy
        self._max_decode_s = max_decode_s
        self._batch_pictures = 0
        self._in_flight_s: defaultdict[str, float] = defaultdict(float)
        self._calls: Counter[str] = Counter()
        self._heavy: Counter[str] = Counter()
        self._slowness = 1.0
        self._batch_picture_s = 0.01

    def check(self, caller: Caller) -> None:
        """Check if the smallest call would be admitted, before its body is read. Raises EmbedderOverloaded."""
        self._check_capacity(caller, CallCost(0.0, 0.0, 1))

    def enter(self, caller: Caller, cost: CallCost) -> AdmittedCall:
        """Admit a call. Raises EmbedderOverloaded, EmbedderBusyWithHeavyWork, WorkTooLarge."""
        if caller.priority == "interactive" and cost.decode_s > self._max_decode_s:
            raise WorkTooLarge(
                f"the pictures of this call take about {cost.decode_s:.1f} s to decode and {self._max_decode_s:g} s "
                "are allowed: send fewer, or smaller ones"
            )
        self._check_capacity(caller, cost)
        if cost.heavy and caller.priority == "interactive":
            self._check_heavy(caller)
            self._heavy[caller.name] += 1
        own_s = cost.cpu_s * self._slowness / self._cores
        admitted = AdmittedCall(caller, cost, self._delay_s(caller, cost.cpu_s) + own_s, time.monotonic())
        if caller.priority == "batch":
            self._batch_pictures += cost.pictures
        else:
            self._in_flight_s[caller.name] += cost.cpu_s
            self._calls[caller.name] += 1
        return admitted

    def leave(self, admitted: AdmittedCall, *, answered: bool) -> None:
        """A call has ended, or its caller has left."""
        name, cost = admitted.caller.name, admitted.cost
        took_s = time.monotonic() - admitted.at_s
        if admitted.caller.priority == "batch":
            picture_s = took_s / max(1, self._batch_pictures)
            self._batch_picture_s += _BATCH_SMOOTHING * (picture_s - self._batch_picture_s)
            self._batch_pictures -= cost.pictures
        else:
            self._in_flight_s[name] -= cost.cpu_s
            self._calls[name] -= 1
            if not self._calls[name]:
                del self._calls[name], self._in_flight_s[name]
            if answered and admitted.estimated_s > _MIN_MEASURED_S:
                ratio = took_s * self._slowness / admitted.estimated_s
                lowest, highest = _SLOWNESS_RANGE
                self._slowness += _SMOOTHING * (min(max(ratio, lowest), highest) - self._slowness)
        if cost.heavy and admitted.caller.priority == "interactive":
            self._heavy[name] -= 1
            if not self._heavy[name]:
                del self._heavy[name]

    def _check_capacity(self, caller: Caller, cost: CallCost) -> None:
        # A call larger than the whole limit is admitted when there is no other, or it would never be.
        pictures = self._pictures()
        full = bool(pictures) and pictures + cost.pictures > self._max_pictures
        if caller.priority == "batch" and self._batch_pictures:
            full = full or self._batch_pictures + cost.pictures > _MAX_BATCH_SHARE * self._max_pictures
        if full:
            wait_s = self._batch_pictures * self._batch_picture_s if caller.priority == "batch" else 0.0
            raise EmbedderOverloaded(
                f"{pictures} pictures are being embedded already: try again in a moment",
                retry_after_s=_with_jitter(wait_s),
            )
        if caller.priority == "batch":
            return
        own_s = self._in_flight_s.get(caller.name, 0.0) * self._slowness / self._cores
        delay_s = self._delay_s(caller, cost.cpu_s)
        if own_s > _MAX_CALLER_SHARE * self._max_delay_s or delay_s > self._max_delay_s:
            raise EmbedderOverloaded(
                f"this call's turn would come in about {delay_s:.1f} s: try again in a moment",
                retry_after_s=_with_jitter(delay_s - self._max_delay_s),
            )

    def _check_heavy(self, caller: Caller) -> None:
        max_own = max(1, self._max_heavy // 2)
        if self._heavy.total() >= self._max_heavy or self._heavy[caller.name] >= max_own:
            raise EmbedderBusyWithHeavyWork(
                "as many searches with several views, explanations and very large pictures are running as are allowed: "
                "try again in a moment, or search with a smaller picture and without these options",
                retry_after_s=_with_jitter(0.0),
            )

    def _delay_s(self, caller: Caller, cpu_s: float) -> float:
        """Seconds until a call of `cpu_s` starts."""
        return fair_backlog(self._in_flight_s, caller.name, cpu_s) * self._slowness / self._cores


def _with_jitter(wait_s: float) -> float:
    """A time to try again, with jitter so that not all callers do at once."""
    return max(_MIN_RETRY_AFTER_S, wait_s * random.uniform(0.8, 1.4))  # noqa: S311 - spreads load, no secret


class EarlyAdmission:
    """ASGI middleware that refuses a call without capacity before its body is read, which costs almost nothing.

    Applies to the calls for which `wanted(method, path)` is true. `check` raises the error that the caller would get.
    """

    def __init__(self, app: ASGIApp, *, wanted: Callable[[str, str], bool], check: Callable[[Caller], None]) -> None:
        self._app = app
        self._wanted = wanted
        self._check = check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._wanted(scope["method"], scope["path"]):
            headers = Headers(scope=scope)
            priority: Priority = "batch" if headers.get(WORK_HEADER) == "batch" else "interactive"
            try:
                self._check(Caller(headers.get(CALLER_HEADER, ""), priority))
            except VitrineError as refused:
                await send_problem(send, refused)
                return
        await self._app(scope, receive, send)
