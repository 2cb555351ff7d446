"""Read the trainer's reports from its folder: evaluations, maps, experiments and health reports. Reports outlive the
records of their jobs in Redis. The content of files is untrusted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from vitrine.errors import NotFound
from vitrine.safe_read import open_file, read_file

ReportKind = Literal["evaluation", "experiment", "map", "health"]
REPORT_FILE: Final = "report.json"
MAP_FILE: Final = "map.json"
HEALTH_FILE: Final = "health.json"
MAX_FILE_BYTES: Final = 64_000_000
_MAX_LISTED: Final = 100
_MAX_MEASURED: Final = 30
_REPORT_ID: Final = re.compile(r"[0-9a-z][0-9a-z-]{0,60}")
_FILE: Final = re.compile(r"(?:[A-Za-z0-9_-]{1,100}/)?[A-Za-z0-9_-]{1,100}\.(?P<suffix>html|json|csv|md|png)")
_TITLE: Final = re.compile(r'"title":\s*("(?:[^"\\]|\\.){1,300}")')
_TITLE_WITHIN_BYTES: Final = 1_000
MEDIA_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "md": "text/markdown; charset=utf-8",
    "png": "image/png",
}


@dataclass(frozen=True, slots=True)
class Report:
    """One report in the folder. `made_at_s` is in seconds since 1970; `title` may be empty."""

    id: str
    kind: ReportKind
    made_at_s: float
    title: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric of a release with its 95 % interval, if known, and its report."""

    measure: str
    mean: float
    low: float | None = None
    high: float | None = None
    report: str | None = None


def list_reports(folder: Path) -> tuple[Report, ...]:
    """The reports, newest first. Empty if the folder does not exist."""
    found = []
    try:
        entries = [entry for entry in folder.iterdir() if _REPORT_ID.fullmatch(entry.name)]
    except OSError:
        return ()
    for entry in entries:
        kind = _kind_of(entry)
        if kind is None:
            continue
        try:
            made_at_s = (entry / _file_of(kind)).stat().st_mtime
        except OSError:
            continue
        found.append(Report(entry.name, kind, made_at_s))
    newest = sorted(found, key=lambda report: -report.made_at_s)[:_MAX_LISTED]
    return tuple(replace(one, title=_title(folder / one.id / _file_of(one.kind))) for one in newest)


def read_document(folder: Path, report_id: str, name: str) -> dict[str, Any]:
    """One of a report's JSON files. Raises NotFound."""
    data, _ = report_file(folder, report_id, name)
    try:
        content = json.loads(data)
    except ValueError:
        raise NotFound("the report cannot be read: its file is damaged") from None
    if not isinstance(content, dict):
        raise NotFound("the report cannot be read: its file is damaged")
    return content


def report_file(folder: Path, report_id: str, name: str) -> tuple[bytes, str]:
    """A file of a report and its media type. Raises NotFound if it is not a regular file of a report."""
    match = _FILE.fullmatch(name)
    if _REPORT_ID.fullmatch(report_id) is None or match is None:
        raise NotFound("there is no such report")
    try:
        inside = (folder / report_id).resolve()
        path = (inside / name).resolve()
        if not path.is_relative_to(inside) or inside.parent != folder.resolve():
            raise NotFound("there is no such report")
        return read_file(path, max_bytes=MAX_FILE_BYTES), MEDIA_TYPES[match["suffix"]]
    except (OSError, ValueError):
        raise NotFound("there is no such report") from None


def measured_figures(folder: Path, *, measures: tuple[str, ...]) -> dict[str, tuple[Figure, ...]]:
    """By release, these metrics of its newest evaluation, for plain searches in the full gallery."""
    found: dict[str, tuple[Figure, ...]] = {}
    evaluations = [report for report in list_reports(folder) if report.kind == "evaluation"]
    for report in evaluations[:_MAX_MEASURED]:
        try:
            document = read_document(folder, report.id, REPORT_FILE)
        except NotFound:
            continue
        for line in document.get("lines", ()):
            if not isinstance(line, dict) or line.get("gallery") != "all" or line.get("way") != "plain":
                continue
            figures = _figures(line.get("measures"), measures, report.id)
            if figures:
                found.setdefault(str(line.get("release")), figures)
    return found


def _figures(measured: object, names: tuple[str, ...], report_id: str) -> tuple[Figure, ...]:
    if not isinstance(measured, Mapping):
        return ()
    figures = []
    for name in names:
        told = measured.get(name)
        if isinstance(told, Mapping) and isinstance(told.get("mean"), int | float):
            low, high = (told.get(end) if isinstance(told.get(end), int | float) else None for end in ("low", "high"))
            figures.append(Figure(name, float(told["mean"]), low, high, report_id))
    return tuple(figures)


def _file_of(kind: ReportKind) -> str:
    return {"map": MAP_FILE, "health": HEALTH_FILE}.get(kind, REPORT_FILE)


def _title(path: Path) -> str:
    """The title, read from the beginning of the file, which may have megabytes."""
    try:
        with open_file(path) as file:
            match = _TITLE.search(file.read(_TITLE_WITHIN_BYTES).decode(errors="ignore"))
        return str(json.loads(match[1])) if match else ""
    except (OSError, ValueError):
        return ""


def _kind_of(entry: Path) -> ReportKind | None:
    try:
        if (entry / MAP_FILE).is_file():
            return "map"
        if (entry / HEALTH_FILE).is_file():
            return "health"
        if (entry / REPORT_FILE).is_file():
            return "experiment" if entry.name.startswith("experiment-") else "evaluation"
    except OSError:
        return None
    return None
