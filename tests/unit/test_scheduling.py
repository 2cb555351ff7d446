"""The spread of the tests over the processes of pytest-xdist."""

from __future__ import annotations

import os

import pytest
import torch

from harness.scheduling import group_of, rank_of


def test_a_process_of_several_computes_with_its_share_of_the_cores() -> None:
    processes = os.environ.get("PYTEST_XDIST_WORKER_COUNT")
    if processes is None:
        pytest.skip("this run has one process")
    assert os.environ["OMP_NUM_THREADS"] == str(max(1, (os.cpu_count() or 1) // int(processes)))
    assert torch.get_num_threads() == int(os.environ["OMP_NUM_THREADS"])


def test_a_folder_that_shares_a_system_is_one_group_and_starts_early() -> None:
    first, second = ("tests/browser/test_frame.py::test_a", "tests/browser/test_watch.py::test_b")
    assert group_of(first) == group_of(second) == "tests/browser"
    assert group_of("tests/unit/test_masks.py::test_a[x::y]") == "tests/unit/test_masks.py"
    assert rank_of(first) < rank_of("tests/unit/test_masks.py::test_a")
