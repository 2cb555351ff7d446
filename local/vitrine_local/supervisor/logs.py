"""Log files and console output. Each line of a service goes unchanged to `logs/<service>.log`, and in readable form,
after the service's name, to the console.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import re
import sys
from collections import deque
from dataclasses import dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from vitrine.terminal import printable

TAIL_LINES: Final = 30
MAX_LOG_FILE_BYTES: Final = 16 * 2**20
SUPERVISOR: Final = "vitrine"

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "warn": 30, "error": 40, "critical": 50, "exception": 40}
_LEVEL_STYLES: Final = {10: "dim", 20: "green", 30: "yellow", 40: "bold red", 50: "bold red"}
_SERVICE_STYLES: Final = ("cyan", "magenta", "blue", "yellow", "green", "bright_cyan", "bright_magenta")
# Shown elsewhere in the line, or of no use to a person.
_HIDDEN_FIELDS: Final = frozenset({"event", "level", "timestamp", "service", "logger", "exception", "stack"})
_CONTROLS: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class LogLine:
    """One log record for the console. `more` holds the lines of a traceback."""

    text: str
    level: int = 20
    time: str = ""
    fields: str = ""
    more: tuple[str, ...] = ()

    @property
    def level_name(self) -> str:
        return next((name for name, level in _LEVELS.items() if level == self.level), "")


def parse_line(line: str) -> LogLine:
    """Parse a line of a service's output: a JSON log record, or any other text."""
    clean = _CONTROLS.sub("", line).rstrip()
    if not clean.startswith("{"):
        return LogLine(clean)
    try:
        record = json.loads(clean)
    except ValueError:
        return LogLine(clean)
    if not isinstance(record, dict) or "event" not in record:
        return LogLine(clean)
    timestamp = str(record.get("timestamp", ""))
    trace = f"{record.get('exception', '')}\n{record.get('stack', '')}".strip()
    return LogLine(
        text=str(record["event"]),
        level=_LEVELS.get(str(record.get("level", "info")).lower(), 20),
        time=timestamp[11:19] if timestamp[10:11] == "T" else "",
        fields=" ".join(f"{name}={_value(value)}" for name, value in record.items() if name not in _HIDDEN_FIELDS),
        more=tuple(trace.splitlines()),
    )


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str):
        return value if re.fullmatch(r"[^\s=\"]+", value) else json.dumps(value, ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False, default=str)


class LogFile(RotatingFileHandler):
    """A log file that is renamed to `<name>.1` when it reaches `max_bytes`.

    `write` never raises. Lines that cannot be written, for example on a full disk, are counted, and the count is
    written once there is room again.
    """

    def __init__(self, path: Path, *, max_bytes: int = MAX_LOG_FILE_BYTES) -> None:
        super().__init__(path, maxBytes=max_bytes, backupCount=1, encoding="utf-8", errors="replace", delay=True)
        self._lost_lines = 0
        self._failed = False

    def write(self, line: str) -> None:
        if self._lost_lines and self._append(f"({self._lost_lines} lines are missing here: they could not be written)"):
            self._lost_lines = 0
        if self._lost_lines or not self._append(line):
            self._lost_lines += 1

    def _append(self, line: str) -> bool:
        self._failed = False
        self.handle(logging.makeLogRecord({"msg": line}))
        return not self._failed

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - logging's signature
        """Close the file, so that the rest of its buffer is not written later. The next line opens it again."""
        self._failed = True
        with contextlib.suppress(OSError):
            self.close()


class LogConsole:
    """Prints the services' lines of at least `min_level`, each after the name of its service."""

    def __init__(self, console: Console, *, min_level: str = "info") -> None:
        self._console = console
        self._min_level = _LEVELS[min_level]
        self.name_services(())

    def name_services(self, services: tuple[str, ...]) -> None:
        """Set the width of the name column, and a color for each service."""
        self._width = max(len(name) for name in (*services, SUPERVISOR))
        self._styles = dict(zip(services, itertools.cycle(_SERVICE_STYLES), strict=False))

    def show(self, service: str, line: LogLine) -> None:
        if line.level < self._min_level:
            return
        text = Text()
        if line.time:
            text.append(f"{printable(line.time)} ", style="dim")
        if line.level != _LEVELS["info"]:
            text.append(f"{line.level_name} ", style=_LEVEL_STYLES[line.level])
        text.append(printable(line.text), style="bold" if line.level >= _LEVELS["error"] else "")
        if line.fields:
            text.append(f"  {printable(line.fields)}", style="dim")
        self.write(self._prefix(service) + text)
        for extra in line.more:
            self.write(self._prefix(service) + Text(f"    {printable(extra)}", style="dim"))

    def write(self, text: Text) -> None:
        """Print one line without wrapping it."""
        self._console.print(text, soft_wrap=True, highlight=False)

    def _prefix(self, service: str) -> Text:
        style = self._styles.get(service, "bold")
        return Text.assemble((f"{service:<{self._width}}", style), (" | ", "dim"))


class ServiceLog:
    """Writes the output of one service to its file and the console, and keeps the last lines."""

    def __init__(self, service: str, *, folder: Path, console: LogConsole) -> None:
        self._service = service
        self._file = LogFile(folder / f"{service}.log")
        self._console = console
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)

    def add(self, line: str) -> None:
        self._file.write(line)
        if line.strip():
            self._tail.append(line)
            self._console.show(self._service, parse_line(line))

    def show_tail(self) -> None:
        """Print the last lines again, whatever their level."""
        for line in self._tail:
            parsed = parse_line(line)
            shown = f"{parsed.text}  {parsed.fields}".rstrip()
            for part in (shown, *parsed.more):
                self._console.write(Text(f"    {printable(part)}"))

    def close(self) -> None:
        self._file.close()


class SteadyConsole(Console):
    """A console that goes silent when standard output is closed, instead of ending the program.

    The services must keep running when the terminal that watches them goes away.
    """

    def on_broken_pipe(self) -> None:
        self.quiet = True
        # Other writes to standard output, for example at exit, must not fail either.
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)
