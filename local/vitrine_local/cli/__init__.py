"""The `vitrine` command. Its exit code is 0 only when the thing asked for happened: 1 says that it did not, 2 that the
command line is wrong, 3 that no search API answers.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from vitrine.errors import ParameterInvalid, VitrineError
from vitrine_local.errors import EXIT_FAILED, EXIT_USAGE, LocalError

EXIT_INTERRUPTED = 130


def main() -> None:
    """The entry point of the installed command."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. Errors a user can meet become one line on standard error."""
    from vitrine_local.cli.app import app  # noqa: PLC0415 - the commands' libraries load only for a command

    try:
        app(args=list(arguments), prog_name="vitrine")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except VitrineError as error:
        sys.stderr.write(f"error: {error.detail}\n")
        return _exit_code(error)
    return 0


def _exit_code(error: VitrineError) -> int:
    if isinstance(error, LocalError):
        return error.exit_code
    return EXIT_USAGE if isinstance(error, ParameterInvalid) else EXIT_FAILED
