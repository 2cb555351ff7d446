"""How pytest-xdist spreads the tests over its processes.

A file stays in one process, for its fixtures. The folders that share a running system stay in one too, so that the
system is started once.
"""

from __future__ import annotations

import os
from typing import Any, Final

from xdist.scheduler import LoadScopeScheduling

_SHARE_A_SYSTEM: Final = (
    "tests/browser",
    "tests/integration/embedder",
    "tests/integration/shop",
    "tests/integration/trainer",
)
# These run first, in this order: a long group that starts late leaves the other processes idle at the end.
_LONGEST: Final = (
    "tests/integration/test_readme_commands.py",
    "tests/browser",
    "tests/integration/shop",
    "tests/integration/test_demo.py",
    "tests/integration/trainer",
    "tests/integration/test_training_run.py",
    "tests/integration/test_indexer.py",
    "tests/contract/test_search_api_openapi.py",
    "tests/fault/test_indexing_survives.py",
    "tests/fault/test_indexing_crash_points.py",
    "tests/integration/test_six_backbones.py",
    "tests/integration/test_trainer.py",
    "tests/integration/test_training_jobs.py",
    "tests/integration/test_street_training.py",
    "tests/integration/test_benchmarks.py",
    "tests/integration/test_parser_training.py",
    "tests/integration/embedder",
    "tests/fault/test_random_kills.py",
    "tests/fault/test_local_qdrant_durability.py",
)
_THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class SystemScheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist carries no type information
    """Assigns all tests of a file, or of a folder that shares a system, to one process."""

    def __init__(self, config: Any, log: Any = None) -> None:
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def group_of(nodeid: str) -> str:
    """The file of a test, or the folder that shares a system."""
    file = nodeid.partition("::")[0]
    return next((folder for folder in _SHARE_A_SYSTEM if file.startswith(f"{folder}/")), file)


def rank_of(nodeid: str) -> int:
    """The place of a test's group in the order of the run. Equal for all groups that do not take long."""
    group = group_of(nodeid)
    return _LONGEST.index(group) if group in _LONGEST else len(_LONGEST)


def share_cores() -> None:
    """Let this process and its children compute with its share of the cores. Call it before torch is imported.

    Two networks with two threads each on two cores mostly wait for each other: a training takes twice the CPU time.
    """
    processes = os.environ.get("PYTEST_XDIST_WORKER_COUNT")
    if processes is None:
        return  # a run in one process has all cores; what started such processes must not set what they inherit
    threads = max(1, (os.cpu_count() or 1) // int(processes))
    for name in _THREAD_VARIABLES:
        os.environ.setdefault(name, str(threads))
