"""Containers of the real servers, if a Docker engine and the image are available. Images are never pulled."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

import pytest

QDRANT_IMAGE = "qdrant/qdrant:v1.20.0"
REDIS_IMAGE = "redis:8-alpine"
_INSPECT_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class QdrantBackend:
    """A Qdrant under test: `local` or `server`."""

    name: str
    url: str


def require_image(image: str) -> str:
    """The name of the image. Skips the test, with the reason, if this machine does not have it."""
    docker = shutil.which("docker")
    if docker is None:
        pytest.skip("there is no docker command on this machine")
    try:
        found = subprocess.run(
            [docker, "image", "inspect", "--format", "{{.Id}}", image],
            capture_output=True, text=True, timeout=_INSPECT_TIMEOUT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        pytest.skip(f"docker does not answer within {_INSPECT_TIMEOUT_S:.0f} s")
    if found.returncode != 0:
        reason = found.stderr.strip().splitlines()[-1:] or ["it gave no reason"]
        pytest.skip(
            f"docker cannot run {image} ({reason[0]}); `docker pull {image}` makes this test run, and so does a server "
            "that is given (`harness.servers`)"
        )
    return image
