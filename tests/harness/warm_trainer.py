"""The trainer with one pool process for all its jobs.

The real trainer runs each job in a new process, which imports torch for it: seconds of CPU time for jobs that otherwise
take less than one. Run by `python -m harness.warm_trainer`.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from vitrine.jobs import celery


def main() -> int:
    celery.TRAIN = replace(celery.TRAIN, tasks_per_process=None)  # type: ignore[misc]
    from trainer.__main__ import main as run_trainer  # reads the profile when it runs

    return run_trainer()


if __name__ == "__main__":
    sys.exit(main())
