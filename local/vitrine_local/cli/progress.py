"""How far a long thing is: a bar on a terminal, and elsewhere a line when its phase changes and every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from vitrine.jobs import JobRecord
from vitrine.terminal import printable
from vitrine_local.cli.screen import Screen

_LINE_EVERY_S = 5.0


class ProgressDisplay:
    """A context. `title` is what is going on, e.g. "indexing"; `what` is what is counted, e.g. "pictures"."""

    def __init__(
        self, screen: Screen, title: str, *, what: str = "pictures", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._screen = screen
        self._title = title
        self._what = what
        self._clock = clock
        self._phase = ""
        self._phase_began_s = clock()
        self._phase_began_done = 0
        self._told_s = clock()
        self._bar = _bar(screen) if screen.notes.is_terminal else None
        self._task = self._bar.add_task(title, total=None, rate="") if self._bar else None

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show_job(self, record: JobRecord) -> None:
        """A job's record."""
        progress = record.progress
        counted = progress.done + progress.failed + progress.skipped
        self.show(counted if progress.course is None else progress.course, progress.total, phase=record.phase)

    def show(self, done: int, total: int | None, *, phase: str = "") -> None:
        """`done` of `total` (None: not known yet) are done in `phase`."""
        now_s = self._clock()
        changed = phase != self._phase
        if changed:
            self._phase, self._phase_began_s, self._phase_began_done = phase, now_s, done
        rate = self._rate(done, now_s)
        if self._bar is not None and self._task is not None:
            name = f"{self._title}: {phase}" if phase else self._title
            self._bar.update(self._task, description=printable(name), completed=done, total=total, rate=rate)
        elif changed or now_s - self._told_s >= _LINE_EVERY_S:
            self._told_s = now_s
            self._screen.note(": ".join(part for part in (self._title, phase, self._amount(done, total, rate)) if part))

    def _rate(self, done: int, now_s: float) -> str:
        seconds = now_s - self._phase_began_s
        since = done - self._phase_began_done
        return f"{since / seconds:.1f} {self._what}/s" if seconds > 0.5 and since > 0 else ""

    def _amount(self, done: int, total: int | None, rate: str) -> str:
        if total is None and not done:
            return ""
        amount = f"{done:,}" if total is None else f"{done:,} of {total:,}"
        return f"{amount} {self._what}" + (f", {rate}" if rate else "")


def _bar(screen: Screen) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(),
        console=screen.notes,
        transient=True,
    )
