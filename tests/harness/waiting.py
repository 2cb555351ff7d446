"""Waiting for something to come true, with a deadline, instead of sleeping for a guessed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.02


def wait_until(condition: Callable[[], T], *, deadline_s: float = 30.0, what: str = "the condition") -> T:
    """Return the first truthy answer of `condition`. An exception counts as not yet; the last one is shown."""
    give_up_at_s = time.monotonic() + deadline_s
    last: object = None
    while time.monotonic() < give_up_at_s:
        try:
            answer = condition()
        except Exception as error:
            last = error
        else:
            if answer:
                return answer
            last = answer
        time.sleep(POLL_S)  # a poll with a deadline
    raise AssertionError(f"{what} did not come true within {deadline_s} s; last: {last!r}")
