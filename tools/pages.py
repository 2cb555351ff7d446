"""Pages of documentation generated from the code: tables of fields, and the command that writes or checks a page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from pydantic.fields import FieldInfo

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"


def field_table(fields: Mapping[str, FieldInfo], columns: Mapping[str, Callable[[str, FieldInfo], str]]) -> str:
    """A table with a row per field: the result of each of `columns`, and the description."""
    heads = [*columns, "meaning"]
    rows = [_row(heads), "|" + "---|" * len(heads) + "\n"]
    for name, field in fields.items():
        meaning = (field.description or "").replace("|", "\\|")
        rows.append(_row([*(column(name, field) for column in columns.values()), meaning]))
    return "".join(rows)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |\n"


def write_or_check(page: Path, render: Callable[[], str], *, description: str | None) -> int:
    """Write `page`, or with `--check` compare it. Returns the exit status: 1 if the page is stale."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="fail if the page is stale, write nothing")
    text = render()
    if not parser.parse_args().check:
        page.write_text(text)
        return 0
    if page.read_text() == text:
        return 0
    sys.stderr.write(f"{page.name} is stale: run 'make docs'\n")
    return 1
