"""The `vitrine` command. Its exit code is 0 only when the thing asked for happened: 1 says that it did not, 2 that the
command line is wrong, 130 that Ctrl-C ended it.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line, by default the process's own, and return its exit code."""
    from vitrine_local.cli.app import run

    return run(argv)
