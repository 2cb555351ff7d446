"""A queue of lanes, which takes from one lane after the other: a sender with many items waits behind its own."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """First come, first served within a lane; the lanes take turns. Not thread-safe: its owner has a lock."""

    def __init__(self) -> None:
        self._lanes: OrderedDict[Hashable, deque[T]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, lane: Hashable, item: T) -> None:
        self._lanes.setdefault(lane, deque()).append(item)
        self._count += 1

    def take(self, fits: Callable[[T], bool]) -> T | None:
        """The next lane's first item that fits, or None; that lane's next turn comes after all the others'."""
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
        """The item whose turn it is."""
        return next(iter(self._lanes.values()))[0] if self._lanes else None

    def count(self, fits: Callable[[T], bool], *, enough: int) -> int:
        """How many items fit, as far as `enough`. A lane's first item speaks for all of it."""
        found = 0
        for items in self._lanes.values():
            if fits(items[0]):
                found += len(items)
                if found >= enough:
                    break
        return min(found, enough)

    def drain(self) -> Iterator[T]:
        """Everything that waits, taken out."""
        lanes, self._lanes, self._count = self._lanes, OrderedDict(), 0
        for items in lanes.values():
            yield from items


class Turns:
    """Which of two classes of work is next: the first one, but after `most` of it in a row the other has a turn."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._in_a_row = 0

    def other_is_due(self) -> bool:
        return self._in_a_row >= self._most

    def took(self, *, first: bool, other_waits: bool) -> None:
        self._in_a_row = self._in_a_row + 1 if first and other_waits else 0
