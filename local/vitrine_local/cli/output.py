"""What the commands write: results on standard output, everything else on standard error. A terminal gets colours and a
progress bar, anything else plain lines. Control characters in values are escaped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from vitrine.jobs.record import JobRecord
from vitrine.terminal import printable, printable_json

_PLAIN_WIDTH: Final = 400
_LINE_EVERY_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table. A `cut` column is shortened on a narrow screen; the others are folded."""

    name: str
    right: bool = False
    cut: bool = False


class Screen:
    """Standard output and standard error."""

    def __init__(self, out: Console | None = None, notes: Console | None = None) -> None:
        self.out = out or plain_if_no_terminal(Console(highlight=False))
        self.notes = notes or plain_if_no_terminal(Console(stderr=True, highlight=False))

    def say(self, text: str = "", *, style: str = "") -> None:
        """A line of the result."""
        self.out.print(Text(printable(text), style=style), soft_wrap=True)

    def note(self, text: str, *, style: str = "") -> None:
        """A line about what the command is doing."""
        self.notes.print(Text(printable(text), style=style), soft_wrap=True)

    def error(self, text: str) -> None:
        """Why the command failed."""
        self.notes.print(Text.assemble(("error: ", "bold red"), printable(text)), soft_wrap=True)

    def json(self, value: Any) -> None:
        """The result as JSON."""
        self.out.print(Text(printable_json(value)), soft_wrap=True)

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> None:
        """The result as a table."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for column in columns:
            table.add_column(
                column.name,
                justify="right" if column.right else "left",
                no_wrap=column.cut,
                overflow="ellipsis" if column.cut else "fold",
            )
        for row in rows:
            table.add_row(*(Text("" if cell is None else printable(str(cell))) for cell in row))
        self.out.print(table)


class ProgressDisplay:
    """Progress of a long operation: a bar on a terminal, elsewhere a line for each phase and every few seconds.

    A context manager. `title` names the operation, e.g. "indexing"; `what` is counted, e.g. "pictures".
    """

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
        self._shown_s = clock()
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
        """Show the progress in a job's record."""
        progress = record.progress
        counted = progress.done + progress.failed + progress.skipped
        self.show(counted if progress.course is None else progress.course, progress.total, phase=record.phase)

    def show(self, done: int, total: int | None, *, phase: str = "") -> None:
        """Show that `done` of `total` (None: not known yet) are done in `phase`."""
        now_s = self._clock()
        changed = phase != self._phase
        if changed:
            self._phase, self._phase_began_s, self._phase_began_done = phase, now_s, done
        rate = self._rate(done, now_s)
        if self._bar is not None and self._task is not None:
            name = f"{self._title}: {phase}" if phase else self._title
            self._bar.update(self._task, description=printable(name), completed=done, total=total, rate=rate)
        elif changed or now_s - self._shown_s >= _LINE_EVERY_S:
            self._shown_s = now_s
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


def plain_if_no_terminal(console: Console) -> Console:
    """The same console; wide enough for every line if it is not a terminal."""
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    return console


def one_line(text: str) -> str:
    """`text` without line breaks."""
    return " ".join(text.split())


def count(number: int, what: str, plural: str | None = None) -> str:
    """`1 product`, `1,000 products`."""
    return f"{number:,} {what if number == 1 else plural or f'{what}s'}"


def duration(seconds: float) -> str:
    """`4.2 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest_s = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest_s} s"
    return f"{minutes // 60} h {minutes % 60} min"


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
