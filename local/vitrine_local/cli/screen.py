"""What the commands write: results on standard output, everything else on standard error. On a terminal there is
colour; anywhere else there are plain lines, and nothing moves. Nothing that a terminal obeys is written as it came.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vitrine.terminal import printable, printable_json

_PLAIN_WIDTH = 400


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table. A `cut` column is shortened where the screen is narrow; the others are never."""

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
        """A line about what is going on."""
        self.notes.print(Text(printable(text), style=style), soft_wrap=True)

    def error(self, text: str) -> None:
        """Why the thing asked for did not happen."""
        self.notes.print(Text.assemble(("error: ", "bold red"), printable(text)), soft_wrap=True)

    def json(self, value: Any) -> None:
        """The result for a program."""
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


def plain_if_no_terminal(console: Console) -> Console:
    """The same console, wide enough for every line where there is no screen to be narrow."""
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
