"""Fairness among callers: a queue that serves lanes in turn, and an estimate of the work before a call."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """First come, first served within a lane, and the lanes take turns. Not thread-safe: the owner has a lock.

    A caller with many items waits behind its own items, not others behind them.
    """

    def __init__(self) -> None:
        self._lanes: OrderedDict[Hashable, deque[T]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, lane: Hashable, item: T) -> None:
        self._lanes.setdefault(lane, deque()).append(item)
        self._count += 1

    def take(self, fits: Callable[[T], bool]) -> T | None:
        """Remove the first item that fits, from the next lane that has one, or return None.

        Only the first item of a lane is looked at. The lane's next turn comes after all other lanes.
        """
        for lane, items in self._lanes.items():
            if fits(items[0]):
                item = items.popleft()
                self._count -= 1
                if items:
                    self._lanes.move_to_end(lane)
                else:
                    del self._lanes[lane]
                return item
        return None

    def first(self) -> T | None:
        """The next item, or None."""
        return next(iter(self._lanes.values()))[0] if self._lanes else None

    def count(self, fits: Callable[[T], bool], *, enough: int) -> int:
        """The number of items that fit, at most `enough`. A lane's first item represents all of its items."""
        found = 0
        for items in self._lanes.values():
            if fits(items[0]):
                found += len(items)
                if found >= enough:
                    break
        return min(found, enough)

    def drain(self) -> Iterator[T]:
        """Remove and yield all items."""
        lanes, self._lanes, self._count = self._lanes, OrderedDict(), 0
        for items in lanes.values():
            yield from items


class PriorityTurns:
    """Two priorities: the first goes first, but after `max_in_a_row` of it the other is due."""

    def __init__(self, max_in_a_row: int) -> None:
        self._max_in_a_row = max_in_a_row
        self._in_a_row = 0

    def other_is_due(self) -> bool:
        return self._in_a_row >= self._max_in_a_row

    def took(self, *, first: bool, other_waits: bool) -> None:
        self._in_a_row = self._in_a_row + 1 if first and other_waits else 0


def fair_backlog(loads: Mapping[str, float], caller: str, cost: float) -> float:
    """The work that comes before a further item of `caller` in a fair queue.

    `loads` has each caller's waiting work, and `cost` is that of the item, in the same unit. All of the caller's own
    work comes first, and of every other caller at most as much as the caller has with the item.
    """
    own = loads.get(caller, 0.0)
    return own + sum(min(load, own + cost) for name, load in loads.items() if name != caller)
