"""Tells a service that hangs from one that is slow: it asks the service again and again, and looks at whether the
process does anything.

Only time that was spent asking counts as silence, so neither a machine that slept nor a supervisor that was stopped
takes a healthy service for a hung one. A process that uses the processor, say for a picture that takes long, is given
three times as long as one that stands still.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from vitrine_local.supervisor.probes import Probe

INTERVAL_S: Final = 2.0
ASK_TIMEOUT_S: Final = 4.0
_BUSY_PATIENCE: Final = 3.0
# Of a core: what a process that only waits uses is far below.
_BUSY_SHARE: Final = 0.1
_SILENT_ASKS: Final = 2  # one lost answer is no news


class Liveness:
    """Watches one process."""

    def __init__(
        self, probe: Probe, *, pid: int, hung_after_s: float, interval_s: float = INTERVAL_S,
        ask_timeout_s: float = ASK_TIMEOUT_S,
    ) -> None:  # fmt: skip
        self._probe = probe
        self._pid = pid
        self._hung_after_s = hung_after_s
        self._interval_s = interval_s
        self._ask_timeout_s = ask_timeout_s

    async def watch(self, *, on_silent: Callable[[str], None], on_answer: Callable[[], None]) -> str:
        """Return why the process is to be killed, once it has been silent for too long.

        `on_silent` is called when it stops answering, `on_answer` when it answers after that.
        """
        silent_s, asks = 0.0, 0
        used_s = cpu_s(self._pid)
        while True:
            began_s = time.monotonic()
            await asyncio.sleep(self._interval_s)
            missing = await self._ask()
            if missing is None:
                if asks >= _SILENT_ASKS:
                    on_answer()
                silent_s, asks, used_s = 0.0, 0, cpu_s(self._pid)
                continue
            asks += 1
            silent_s += min(time.monotonic() - began_s, self._interval_s + self._ask_timeout_s)
            if asks == _SILENT_ASKS:
                on_silent(missing)
            if is_hung(
                silent_s=silent_s, used_s=_difference(used_s, cpu_s(self._pid)), hung_after_s=self._hung_after_s
            ):
                return f"no answer for {silent_s:.0f} s: {missing}"

    async def _ask(self) -> str | None:
        try:
            async with asyncio.timeout(self._ask_timeout_s):
                return await self._probe(self._pid)
        except TimeoutError:
            return f"no answer within {self._ask_timeout_s:g} s"
        except Exception as defect:  # a probe's own defect is no reason to end the supervisor
            return f"{type(defect).__name__}: {defect}"


def is_hung(*, silent_s: float, used_s: float | None, hung_after_s: float) -> bool:
    """Has a process hung that gave no answer for `silent_s` and used `used_s` of a core in that time?

    `used_s` is None where the system does not say; then it gets the time of a process that works.
    """
    works = used_s is None or used_s >= _BUSY_SHARE * silent_s
    return silent_s >= hung_after_s * (_BUSY_PATIENCE if works else 1.0)


def _difference(before_s: float | None, after_s: float | None) -> float | None:
    return None if before_s is None or after_s is None else after_s - before_s


def cpu_s(pid: int) -> float | None:
    """Seconds of processor time that the process has used; None where the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
