"""The commands of README, run unchanged in a folder of their own, one after the other, on the system they start."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.processes import Process, free_port
from harness.waiting import wait_until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PORT_OF_README = "8000"


def commands() -> Iterator[str]:
    """Every command of every shell block, without comments and with continued lines joined."""
    for block in BLOCK.findall(README):
        for line in block.replace("\\\n", " ").splitlines():
            command = re.sub(r"\s+# .*", "", line).strip()
            if command and not command.startswith("#"):
                yield command


COMMANDS = list(commands())
TARGETS = [command for command in COMMANDS if command.startswith("make ")]
BENCHMARKS = [command for command in COMMANDS if "-m benchmarks." in command]
COMPOSE = [command for command in COMMANDS if command.startswith("docker ")]
LIVE = [command for command in COMMANDS if command not in {*TARGETS, *BENCHMARKS, *COMPOSE}]


@dataclass
class Reader:
    """Runs the commands of README in `folder`, with a free port in place of the one in README."""

    folder: Path
    port: int = field(default_factory=free_port)
    up: Process | None = None

    @property
    def env(self) -> Mapping[str, str]:
        path = f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
        # Beside other tests a trainer of low priority gets no CPU time.
        return {**os.environ, "PATH": path, "COLUMNS": "120", "VITRINE_LOWER_PRIORITY": "false"}

    def start(self, command: str) -> None:
        """Start the system, as in its own terminal, and wait for the line that it is ready."""
        self.up = up = Process(
            ["bash", "-c", f"cd {self.folder} && exec {self.on_port(command)}"],
            log=self.folder / "up.txt",
            env=self.env,
        )
        ready = f"ready: http://127.0.0.1:{self.port}"

        def says_so() -> bool:
            assert up.running(), up.tail()
            return ready in up.log.read_text().splitlines()

        wait_until(says_so, what=ready)

    def run(self, command: str) -> str:
        """Run a command, which must succeed, and return its output."""
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.on_port(command)],
            cwd=self.folder, env=self.env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, f"{command}\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout

    def on_port(self, command: str) -> str:
        return command.replace(PORT_OF_README, str(self.port))


def test_the_readme_has_commands_of_every_kind() -> None:
    assert {"make demo", "make test"} <= set(TARGETS)
    assert any(command.startswith("vitrine up") for command in LIVE)
    assert any(command.startswith("curl") for command in LIVE)
    assert BENCHMARKS


@pytest.mark.parametrize("command", TARGETS)
def test_every_make_target_in_it_exists(command: str) -> None:
    """The demonstration itself is run by test_demo, and `make test` is this run."""
    planned = subprocess.run(
        ["bash", "-c", command.replace("make ", "make --dry-run ")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert planned.returncode == 0, planned.stderr


@pytest.mark.parametrize("command", BENCHMARKS)
def test_every_benchmark_in_it_knows_its_options(command: str) -> None:
    """Other tests run the benchmarks on little data; the figures of README need the real catalogue."""
    module = re.search(r"benchmarks\.\w+", command)
    assert module is not None
    helped = subprocess.run(
        [ROOT / ".venv/bin/python", "-m", module[0], "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for option in re.findall(r"(?<=\s)--[a-z-]+", command):
        assert option in helped.stdout, f"{module[0]} does not know {option}"


def test_the_commands_work_one_after_the_other(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed, and README's calls of the HTTP API use it")
    for name in (".venv", "recipes", "experiments"):
        (tmp_path / name).symlink_to(ROOT / name)
    reader = Reader(tmp_path)
    said = {}
    try:
        for command in LIVE:
            if command.startswith("vitrine up"):
                reader.start(command)
            else:
                said[command] = reader.run(command)
        assert reader.up is not None
        assert reader.up.running(), reader.up.tail()
    finally:
        if reader.up is not None:
            reader.up.terminate()
    searches = {command: text for command, text in said.items() if command.startswith("vitrine search")}
    looks = [text for command, text in searches.items() if "--regions" in command]
    # The garment is cut out of the picture, so the product itself is among the first, but not always the very first.
    assert looks
    assert all(re.search(r"^ *[1-3] +10007 ", text, re.MULTILINE) for text in looks), looks
    searches = {command: text for command, text in searches.items() if "--regions" not in command}
    assert searches
    assert all(re.search(r"^ *1 +(dresses-)?10007 ", text, re.MULTILINE) for text in searches.values()), searches
    answers = [text for command, text in said.items() if command.startswith("curl") and "/api/search" in command]
    assert answers
    assert all('"success":true' in text for text in answers), answers
