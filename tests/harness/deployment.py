"""The deployment files, parsed for the tests that compare them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

REPOSITORY: Final = Path(__file__).resolve().parents[2]
DEPLOY: Final = REPOSITORY / "deploy"
COMPOSE_TEXT: Final = (DEPLOY / "docker-compose.yml").read_text()
COMPOSE: Final[Mapping[str, Any]] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: Final[Mapping[str, Any]] = COMPOSE["services"]
DOCKERFILE: Final = (DEPLOY / "Dockerfile").read_text()
BALANCER: Final = (DEPLOY / "haproxy.cfg").read_text()
ENV_EXAMPLE: Final = (DEPLOY / ".env.example").read_text()

_REQUIRED = re.compile(r"\$\{(\w+):\?")
_DEFAULTED = re.compile(r"\$\{(\w+):-([^}]*)\}")


def required_variables() -> set[str]:
    """The variables that the compose file requires."""
    return set(_REQUIRED.findall(COMPOSE_TEXT))


def defaulted_variables() -> dict[str, str]:
    """The optional variables of the compose file, with their defaults."""
    return dict(_DEFAULTED.findall(COMPOSE_TEXT))


def documented_settings() -> dict[str, set[str]]:
    """The variables of `docs/configuration.md` by heading: a service's name, or `Shared by all services`."""
    settings: dict[str, set[str]] = {}
    heading = ""
    for line in (REPOSITORY / "docs/configuration.md").read_text().splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ")
            settings[heading] = set()
        elif line.startswith("| `"):
            settings[heading] |= set(re.findall(r"`(\w+)`", line.split("|")[1]))
    return settings


def package_of(service: str) -> str | None:
    """The service of this project that runs under a name of the compose file; None for third-party services."""
    build = SERVICES[service].get("build")
    return None if build is None else str(build["args"]["SERVICE"])


def environment_of(service: str) -> dict[str, str]:
    return {name: str(value) for name, value in SERVICES[service].get("environment", {}).items()}
