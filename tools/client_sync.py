"""The synchronous half of the client, made from the asynchronous one: the same code without `await`."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGE: Final = ROOT / "clients" / "python" / "vitrine_client"
_REPLACED: Final = (
    (r"\basync (def|with|for)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\bAsync(?=[A-Z])", ""),
    (r"\b__a(enter|exit)__\b", r"__\1__"),
    (r"\b(?:a(?=(?:close|read|iter_lines|iter_bytes|closing)\b))", ""),
    (r"\bAwaitable\[(\w+)\]", r"\1"),
    (r"\basynccontextmanager\b", "contextmanager"),
    (r"\basyncio\.sleep\b", "time.sleep"),
    (r"\bimport asyncio\b", "import time"),
    (r"\basyncio\b", "time"),
    (r"\b_async\b", "_sync"),
    (r"\basynchronous\b", "synchronous"),
    (r"\ban ((?:synchronous|Vitrine))\b", r"a \1"),
)


def sync_modules() -> dict[Path, Callable[[], str]]:
    """The modules of `_sync`, with the function that renders each."""
    return {
        PACKAGE / "_sync" / source.name: partial(_render, source)
        for source in sorted((PACKAGE / "_async").glob("*.py"))
    }


def formatted(text: str) -> str:
    """`text` in the house format, with sorted imports."""
    for command in (("check", "--fix-only", "--quiet", "--select", "I,F401,UP037"), ("format", "--quiet")):
        text = subprocess.run(
            [Path(sys.executable).with_name("ruff"), *command, "--stdin-filename", PACKAGE / "generated.py", "-"],
            input=text,
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
        ).stdout
    return text


def _render(source: Path) -> str:
    text = source.read_text()
    for pattern, replacement in _REPLACED:
        text = re.sub(pattern, replacement, text)
    return formatted(f"# Generated from _async/{source.name} by `make docs`.\n{text}")
