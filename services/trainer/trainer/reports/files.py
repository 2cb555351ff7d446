"""Writing a report's files: each appears whole or not at all, and the same figures give the same bytes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def write_json(path: Path, document: object, *, indent: int | None = 2) -> None:
    """Raises ValueError for a number that JSON does not have, NaN or an infinity."""
    text = json.dumps(document, indent=indent, ensure_ascii=False, allow_nan=False) + "\n"
    _write_aside(path, lambda aside: aside.write_text(text, encoding="utf-8"))


def write_png(path: Path, figure: Figure) -> None:
    """The figure as it is, at its own resolution. The PNG names neither the program nor the time."""
    # Not figure.savefig, which heeds the process's settings for saving.
    canvas = FigureCanvasAgg(figure)
    _write_aside(path, lambda aside: canvas.print_png(aside, metadata={"Software": None}))  # type: ignore[no-untyped-call]


def _write_aside(path: Path, write: Callable[[Path], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.tmp")
    write(aside)
    with aside.open("rb") as file:
        os.fsync(file.fileno())
    aside.replace(path)
