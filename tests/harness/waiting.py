"""Waiting for something to come true, with a deadline, instead of sleeping for a guessed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

POLL_S: Final = 0.02
# What has not come true by then hangs. No test passes or fails by how fast the machine is or what else runs on it, so a
# deadline is far above what a busy machine needs, and says nothing about speed.
HUNG_AFTER_S: Final = 600


def wait_until(condition: Callable[[], T], *, deadline_s: float = HUNG_AFTER_S, what: str = "the condition") -> T:
    """Return the first truthy answer of `condition`. An exception counts as not yet; the last one is shown.

    `deadline_s` may ask for more patience than HUNG_AFTER_S; for less there is no reason.
    """
    deadline_s = max(deadline_s, HUNG_AFTER_S)
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
