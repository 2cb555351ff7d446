"""Pages of documentation made from the code: tables of fields, and the command that writes a page or checks it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from pydantic.fields import FieldInfo

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"


def field_table(fields: Mapping[str, FieldInfo], columns: Mapping[str, Callable[[str, FieldInfo], str]]) -> str:
    """A row for each field: what each of `columns` says of it, and its description."""
    heads = [*columns, "meaning"]
    rows = [_row(heads), "|" + "---|" * len(heads) + "\n"]
    for name, field in fields.items():
        meaning = (field.description or "").replace("|", "\\|")
        rows.append(_row([*(say(name, field) for say in columns.values()), meaning]))
    return "".join(rows)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |\n"


def write_or_check(page: Path, render: Callable[[], str], *, description: str | None) -> int:
    """The exit status of a command that writes `page`, or with `--check` says whether it is up to date."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="fail when the page is stale, write nothing")
    text = render()
    if not parser.parse_args().check:
        page.write_text(text)
        return 0
    if page.read_text() == text:
        return 0
    sys.stderr.write(f"{page.name} is stale: run 'make docs'\n")
    return 1
