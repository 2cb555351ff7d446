"""The configuration page lists the settings that the services read."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_page_of_settings_is_current() -> None:
    command = [sys.executable, "-m", "tools.configuration_table", "--check"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["embedder", "indexer", "trainer", "search_api"])
def test_every_setting_has_a_description(module: str) -> None:
    settings = importlib.import_module(f"{module}.settings").Settings
    unexplained = [name for name, field in settings.model_fields.items() if not field.description]
    assert unexplained == []
