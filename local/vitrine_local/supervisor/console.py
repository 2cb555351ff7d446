"""A console that outlives its screen: when the reader of standard output goes away, it falls silent instead of ending
the program, because services must not stop for want of somebody who watches them.
"""

from __future__ import annotations

import os
import sys

from rich.console import Console


class SteadyConsole(Console):
    """Rich's console, but for its answer to a closed pipe."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        # Whatever else is written to standard output, at exit for instance, must not fail either.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
