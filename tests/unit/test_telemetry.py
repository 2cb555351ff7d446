"""The log output of the services on standard error."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

FAILING = """
from vitrine.telemetry import configure_logging

log = configure_logging("embedder", log_format={log_format!r})

def call(api_key):
    raise ValueError("no such thing")

try:
    call("".join(["hush", "hush"]))
except ValueError as error:
    log.error("call_failure", exc_info=error)
"""


def logged(log_format: str) -> str:
    """The log of a failed call, from its own process because logging is configured once per process."""
    ended = subprocess.run(
        [sys.executable, "-c", FAILING.format(log_format=log_format)], capture_output=True, text=True, check=True
    )
    assert ended.stdout == ""
    return ended.stderr


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_failure_is_logged_with_its_traceback_and_without_the_values_of_variables(log_format: str) -> None:
    said = logged(log_format)
    assert "call_failure" in said
    assert "ValueError: no such thing" in said
    assert "in call" in said
    assert "hushhush" not in said


def test_a_json_log_line_has_service_level_and_time() -> None:
    line = json.loads(logged("json"))
    assert (line["event"], line["service"], line["level"]) == ("call_failure", "embedder", "error")
    assert line["timestamp"].endswith("Z")
