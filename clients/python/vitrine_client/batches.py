"""Searches with many pictures, written to a file as they are answered.

A `.jsonl` file has a line for each query, a `.csv` file a row for each result. A query that is in the file already is
skipped, so a batch that was stopped goes on where it ended: with the same options, which the file does not hold. A
picture that cannot be searched with is one line with its error; any other error ends the batch.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self

from vitrine_client.api_errors import (
    BodyTooLarge,
    EmbeddingFailed,
    ImageMissing,
    ImageRejected,
    MediaTypeUnsupported,
    PictureCrashes,
    UploadNotFound,
    WorkTooLarge,
)
from vitrine_client.errors import PictureUnusable, VitrineError
from vitrine_client.models import SearchAnswer
from vitrine_client.pictures import Picture

DEFAULT_CONCURRENCY: Final = 4
PICTURE_SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".avif", ".heic", ".heif", ".gif", ".bmp", ".tif", ".tiff"}
)
COLUMNS: Final = (
    "query", "results", "rank", "id", "score", "confidence", "dataset", "image", "name", "attributes", "error",
)  # fmt: skip
# Errors of one picture. Any other would come again with the next one.
OF_ONE_PICTURE: Final = (
    BodyTooLarge,
    EmbeddingFailed,
    ImageMissing,
    ImageRejected,
    MediaTypeUnsupported,
    PictureCrashes,
    PictureUnusable,
    UploadNotFound,
    WorkTooLarge,
)


@dataclass(frozen=True, slots=True)
class Query:
    """A picture to search with. `name` stands for it in the output and is unique in a batch."""

    name: str
    picture: Picture


@dataclass(frozen=True, slots=True)
class QueryResult:
    """What a query was answered with: `answer`, or `error` if it was not."""

    query: str
    answer: SearchAnswer | None = None
    error: VitrineError | None = None


@dataclass(slots=True)
class BatchProgress:
    """Counts of queries. `skipped` were in the output already. `total` is None if it is not known."""

    total: int | None = None
    done: int = 0
    failed: int = 0
    skipped: int = 0


def queries_in(folder: str | os.PathLike[str]) -> list[Query]:
    """The pictures in a folder and the folders below it, in order, named by their path in it.

    Hidden files are left out. Raises PictureUnusable if the folder cannot be read or has no picture.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise PictureUnusable(f"{root} is no folder")
    found = sorted(
        path.relative_to(root)
        for path in root.rglob("*")
        if path.suffix.lower() in PICTURE_SUFFIXES and not _is_hidden(path.relative_to(root)) and path.is_file()
    )
    if not found:
        raise PictureUnusable(f"{root} has no picture (looked for {', '.join(sorted(PICTURE_SUFFIXES))})")
    return [Query(path.as_posix(), root / path) for path in found]


def as_queries(source: str | os.PathLike[str] | Iterable[Query | str | os.PathLike[str]]) -> Iterable[Query]:
    """The queries of a folder, or of an iterable of queries and paths."""
    if isinstance(source, str | os.PathLike):
        return queries_in(source)
    if isinstance(source, list | tuple):
        return [_as_query(one) for one in source]
    return (_as_query(one) for one in source)


class BatchOutput:
    """The file of a batch. It knows which queries it has; what an earlier run left half written is removed.

    A context manager. Raises ValueError for another suffix and for a file that is no output of a batch.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).expanduser()
        self._format = _format_of(self.path)
        self.names: set[str] = set()
        self._file: io.BufferedWriter | None = None

    def __enter__(self) -> Self:
        kept = b""
        if self.path.exists():
            before = self.path.read_bytes()
            kept, self.names = self._format.complete(before)
            if kept != before:
                _replace(self.path, kept)
        else:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("ab")
        if not kept:
            self._write(self._format.head())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, result: QueryResult) -> None:
        """Write a query's results, whole or, if the process ends meanwhile, in a way that `__enter__` mends."""
        self._write(self._format.rows(result))

    def _write(self, data: bytes) -> None:
        if self._file is None:
            raise ValueError("the output is not open: use it as a context manager")
        self._file.write(data)
        self._file.flush()


class _Format(Protocol):
    def head(self) -> bytes: ...

    def rows(self, result: QueryResult) -> bytes: ...

    def complete(self, data: bytes) -> tuple[bytes, set[str]]:
        """What is whole of a file, and the queries in it. Raises ValueError."""


class _JsonLines:
    """A line for each query: `query`, and `results` with `dataset`, `model` and `release`, or `error`."""

    def head(self) -> bytes:
        return b""

    def rows(self, result: QueryResult) -> bytes:
        line: dict[str, Any] = {"query": result.query}
        if result.answer is not None:
            line |= result.answer.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"success"})
        if result.error is not None:
            line["error"] = result.error.as_dict()
        return json.dumps(line, ensure_ascii=False).encode() + b"\n"

    def complete(self, data: bytes) -> tuple[bytes, set[str]]:
        names: set[str] = set()
        whole = data[: data.rfind(b"\n") + 1]
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                names.add(json.loads(line)["query"])
            except (ValueError, KeyError, TypeError):
                raise ValueError(f"line {number} is not of a batch of searches") from None
        return whole, names


class _Csv:
    """A row for each result; a query without any has one row with an empty rank."""

    def head(self) -> bytes:
        return _csv_row(COLUMNS)

    def rows(self, result: QueryResult) -> bytes:
        found = result.answer.results if result.answer is not None else []
        if not found:
            error = f"{result.error.detail} ({result.error.code})" if result.error is not None else ""
            return _csv_row((result.query, 0, *[""] * (len(COLUMNS) - 3), error))
        return b"".join(
            _csv_row(
                (
                    result.query,
                    len(found),
                    rank,
                    one.id,
                    f"{one.score:.6f}",
                    "" if one.confidence is None else one.confidence,
                    one.dataset,
                    one.image,
                    one.attributes.get("name", ""),
                    json.dumps(one.attributes, ensure_ascii=False),
                    "",
                )
            )
            for rank, one in enumerate(found, start=1)
        )

    def complete(self, data: bytes) -> tuple[bytes, set[str]]:
        if self.head().startswith(data):
            return b"" if data != self.head() else data, set()
        text = data.decode(errors="replace")
        rows = list(csv.reader(io.StringIO(text, newline="")))
        if tuple(rows[0]) != COLUMNS:
            raise ValueError(f"its columns are not {', '.join(COLUMNS)}")
        if not text.endswith("\r\n"):
            rows.pop()
        of_query: dict[str, list[list[str]]] = {}
        for row in rows[1:]:
            if len(row) == len(COLUMNS) and row[1].isdigit():
                of_query.setdefault(row[0], []).append(row)
        whole = {name: some for name, some in of_query.items() if len(some) == max(int(some[0][1]), 1)}
        kept = [row for some in whole.values() for row in some]
        if text.endswith("\r\n") and len(kept) == len(rows) - 1:
            return data, set(whole)
        return self.head() + b"".join(map(_csv_row, kept)), set(whole)


@dataclass(slots=True)
class BatchPlan:
    """The queries of a batch that are still to be asked, counted as they are taken."""

    source: Iterable[Query]
    output: BatchOutput
    on_progress: Callable[[BatchProgress], object] | None = None
    progress: BatchProgress = field(default_factory=BatchProgress)

    def __post_init__(self) -> None:
        self.progress.total = len(self.source) if isinstance(self.source, list | tuple) else None

    def waiting(self) -> Iterator[Query]:
        for query in self.source:
            if query.name in self.output.names:
                self.progress.skipped += 1
                self._show()
                continue
            self.output.names.add(query.name)
            yield query

    def record(self, result: QueryResult) -> None:
        """Write what a query was answered with. Raises its error if it would meet the other queries too."""
        if result.error is not None and not isinstance(result.error, OF_ONE_PICTURE):
            raise result.error
        self.output.write(result)
        if result.error is None:
            self.progress.done += 1
        else:
            self.progress.failed += 1
        self._show()

    def _show(self) -> None:
        if self.on_progress is not None:
            self.on_progress(self.progress)


def _format_of(path: Path) -> _Format:
    match path.suffix.lower():
        case ".jsonl" | ".ndjson":
            return _JsonLines()
        case ".csv":
            return _Csv()
    raise ValueError(f"{path} is written as .jsonl or .csv: give it one of these suffixes")


def _csv_row(cells: Iterable[object]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()


def _as_query(one: Query | str | os.PathLike[str]) -> Query:
    return one if isinstance(one, Query) else Query(os.fspath(one), one)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _replace(path: Path, data: bytes) -> None:
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(data)
    new.replace(path)
