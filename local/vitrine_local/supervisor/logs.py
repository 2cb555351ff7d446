"""What the services say: every line goes to `logs/<service>.log` as it came, and readable, with the service's name
before it, to the screen.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import re
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from rich.console import Console
from rich.text import Text

from vitrine.terminal import printable

TAIL_LINES: Final = 30
MAX_LOG_FILE_BYTES: Final = 16 * 2**20
SUPERVISOR: Final = "vitrine"

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "warn": 30, "error": 40, "critical": 50, "exception": 40}
_LEVEL_STYLES: Final = {10: "dim", 20: "green", 30: "yellow", 40: "bold red", 50: "bold red"}
_SERVICE_STYLES: Final = ("cyan", "magenta", "blue", "yellow", "green", "bright_cyan", "bright_magenta")
# Told by the line's place on the screen, or of no use to a person.
_UNSHOWN: Final = frozenset({"event", "level", "timestamp", "service", "logger", "exception", "stack"})
_CONTROLS: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class LogLine:
    """One record, readable. `more` are the lines of a traceback."""

    text: str
    level: int = 20
    time: str = ""
    fields: str = ""
    more: tuple[str, ...] = ()

    @property
    def level_name(self) -> str:
        return next((name for name, level in _LEVELS.items() if level == self.level), "")


def read_line(line: str) -> LogLine:
    """A line of a service's output: one JSON object, or any text."""
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
        fields=" ".join(f"{name}={_value(value)}" for name, value in record.items() if name not in _UNSHOWN),
        more=tuple(trace.splitlines()),
    )


class LogFile:
    """A file that is appended to and set aside as `<name>.1` when it grows past `max_bytes`.

    It never fails: lines for which the disk has no room are lost, and how many is said once there is room again.
    """

    def __init__(self, path: Path, *, max_bytes: int = MAX_LOG_FILE_BYTES) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._file: BinaryIO | None = None
        self._bytes = 0
        self._lost_lines = 0

    def write(self, line: str) -> None:
        try:
            if self._lost_lines:
                self._append(f"({self._lost_lines} lines are missing here: they could not be written)")
                self._lost_lines = 0
            self._append(line)
        except OSError:
            self._lost_lines += 1

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _append(self, line: str) -> None:
        if self._file is not None and self._bytes >= self._max_bytes:
            self._file.close()
            self._file = None
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        if self._file is None:
            self._file = self._path.open("ab", buffering=0)
            self._bytes = self._file.tell()
        data = f"{line}\n".encode(errors="replace")
        written = self._file.write(data)
        self._bytes += written
        if written < len(data):  # the room ended within the line
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class LogScreen:
    """The services' lines on a console, from `min_level` up, each with its service before it."""

    def __init__(self, console: Console, *, min_level: str = "info") -> None:
        self._console = console
        self._min_level = _LEVELS[min_level]
        self.name_services(())

    def name_services(self, services: tuple[str, ...]) -> None:
        """Make the names one column, each in a colour of its own."""
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
        """One line, never wrapped."""
        self._console.print(text, soft_wrap=True, highlight=False)

    def _prefix(self, service: str) -> Text:
        style = self._styles.get(service, "bold")
        return Text.assemble((f"{service:<{self._width}}", style), (" | ", "dim"))


class ServiceLog:
    """All that one service says: to its file and the screen, the last lines kept for when it fails."""

    def __init__(self, service: str, *, folder: Path, screen: LogScreen) -> None:
        self._service = service
        self._file = LogFile(folder / f"{service}.log")
        self._screen = screen
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)

    def add(self, line: str) -> None:
        self._file.write(line)
        if line.strip():
            self._tail.append(line)
            self._screen.show(self._service, read_line(line))

    def show_tail(self) -> None:
        """Show the last lines again, whatever their level, for a service that failed."""
        for line in self._tail:
            read = read_line(line)
            shown = f"{read.text}  {read.fields}".rstrip()
            for part in (shown, *read.more):
                self._screen.write(Text(f"    {printable(part)}"))

    def close(self) -> None:
        self._file.close()


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str):
        return value if re.fullmatch(r"[^\s=\"]+", value) else json.dumps(value, ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False, default=str)
