"""What is at work, in seconds of a core, and whether more may come in: each call is weighed before it starts.

An interactive call is answered within about `max_delay_s` or refused at once. The delay is estimated as the lanes are
served: of every other sender only as much comes before this call as the sender itself has at work. So a sender with
much work is refused while another one is let in. The ratio of real to estimated seconds is measured all the time.
"""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from embedder.call import Sender
from vitrine.errors import EmbedderBusyWithHeavyWork, EmbedderOverloaded, WorkTooLarge

# A sender alone may fill this share of the delay: the rest stays for others.
_OWN_SHARE: Final = 0.75
# The batch class may hold this share of the pictures at once: the rest stays for interactive calls.
_BATCH_SHARE: Final = 0.875
_LEAST_RETRY_AFTER_S: Final = 1.0
_LEARNING: Final = 0.05
_SLOWNESS: Final = (0.5, 20.0)
# Below this a call hardly waited for others, and its time says nothing about the queue.
_TELLING_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Weight:
    """What a call costs: seconds of a core to decode and in the networks, `pictures` vectors. `heavy` calls have a
    small pool of their own: several views, an explanation, a very large picture.
    """

    decode_s: float
    networks_s: float
    pictures: int
    heavy: bool = False

    @property
    def cpu_s(self) -> float:
        return self.decode_s + self.networks_s


@dataclass(frozen=True, slots=True)
class Ticket:
    """A call that was let in."""

    sender: Sender
    weight: Weight
    estimated_s: float
    at_s: float


class Ledger:
    """Used from the event loop only. `cores` work side by side; `pictures` counts what was let in and is not done with,
    those of callers who have gone among them.
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
        self._at_work_s: defaultdict[str, float] = defaultdict(float)
        self._calls: Counter[str] = Counter()
        self._heavy: Counter[str] = Counter()
        self._slowness = 1.0
        self._batch_picture_s = 0.01

    def check(self, sender: Sender) -> None:
        """Whether the least call would be let in, before anything of it is read. Raises EmbedderOverloaded."""
        self._check_room(sender, Weight(0.0, 0.0, 1))

    def enter(self, sender: Sender, weight: Weight) -> Ticket:
        """Let a call in. Raises EmbedderOverloaded, EmbedderBusyWithHeavyWork, WorkTooLarge."""
        if sender.work == "interactive" and weight.decode_s > self._max_decode_s:
            raise WorkTooLarge(
                f"the pictures of this call take about {weight.decode_s:.1f} s to decode and {self._max_decode_s:g} s "
                "are allowed: send fewer, or smaller ones"
            )
        self._check_room(sender, weight)
        if weight.heavy and sender.work == "interactive":
            self._check_heavy(sender)
            self._heavy[sender.name] += 1
        own_s = weight.cpu_s * self._slowness / self._cores
        ticket = Ticket(sender, weight, self._delay_s(sender, weight.cpu_s) + own_s, time.monotonic())
        if sender.work == "batch":
            self._batch_pictures += weight.pictures
        else:
            self._at_work_s[sender.name] += weight.cpu_s
            self._calls[sender.name] += 1
        return ticket

    def leave(self, ticket: Ticket, *, answered: bool) -> None:
        """A call has ended, or its caller has gone."""
        name, weight = ticket.sender.name, ticket.weight
        took_s = time.monotonic() - ticket.at_s
        if ticket.sender.work == "batch":
            share_s = took_s / max(1, self._batch_pictures)
            self._batch_picture_s += 0.1 * (share_s - self._batch_picture_s)
            self._batch_pictures -= weight.pictures
        else:
            self._at_work_s[name] -= weight.cpu_s
            self._calls[name] -= 1
            if not self._calls[name]:
                del self._calls[name], self._at_work_s[name]
            if answered and ticket.estimated_s > _TELLING_S:
                ratio = took_s * self._slowness / ticket.estimated_s
                self._slowness += _LEARNING * (min(max(ratio, _SLOWNESS[0]), _SLOWNESS[1]) - self._slowness)
        if weight.heavy and ticket.sender.work == "interactive":
            self._heavy[name] -= 1
            if not self._heavy[name]:
                del self._heavy[name]

    def _check_room(self, sender: Sender, weight: Weight) -> None:
        # A call larger than the whole bound is let in when nothing else is, or it would never be.
        pictures = self._pictures()
        full = bool(pictures) and pictures + weight.pictures > self._max_pictures
        if sender.work == "batch" and self._batch_pictures:
            full = full or self._batch_pictures + weight.pictures > _BATCH_SHARE * self._max_pictures
        if full:
            wait_s = self._batch_pictures * self._batch_picture_s if sender.work == "batch" else 0.0
            raise EmbedderOverloaded(
                f"{pictures} pictures are being embedded already: try again in a moment",
                retry_after_s=_spread(wait_s),
            )
        if sender.work == "batch":
            return
        own_s = self._at_work_s.get(sender.name, 0.0) * self._slowness / self._cores
        delay_s = self._delay_s(sender, weight.cpu_s)
        if own_s > _OWN_SHARE * self._max_delay_s or delay_s > self._max_delay_s:
            raise EmbedderOverloaded(
                f"this call's turn would come in about {delay_s:.1f} s: try again in a moment",
                retry_after_s=_spread(delay_s - self._max_delay_s),
            )

    def _check_heavy(self, sender: Sender) -> None:
        own_most = max(1, self._max_heavy // 2)
        if self._heavy.total() >= self._max_heavy or self._heavy[sender.name] >= own_most:
            raise EmbedderBusyWithHeavyWork(
                "as many searches with several views, explanations and very large pictures are at work as may be: try "
                "again in a moment, or search with a smaller picture and without these options",
                retry_after_s=_spread(0.0),
            )

    def _delay_s(self, sender: Sender, cpu_s: float) -> float:
        """Seconds until the turn of a call of `cpu_s` comes, after its sender's others."""
        own_s = self._at_work_s.get(sender.name, 0.0)
        others = (other_s for name, other_s in self._at_work_s.items() if name != sender.name)
        return (own_s + sum(min(other_s, own_s + cpu_s) for other_s in others)) * self._slowness / self._cores


def _spread(wait_s: float) -> float:
    """When to come back, so that not all do at once."""
    return max(_LEAST_RETRY_AFTER_S, wait_s * random.uniform(0.8, 1.4))  # noqa: S311 - spreads load, no secret
