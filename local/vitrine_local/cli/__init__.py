"""The `vitrine` command. Exit codes: 0 if the command did what was asked, 1 if not, 2 if the command line is wrong, 130
if it was interrupted by Ctrl-C.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line, by default that of the process, and return its exit code."""
    from vitrine_local.cli.app import run

    return run(argv)
