"""Shows or sets the version, which is the same in the workspace, its members and the images: `make version V=0.2.0`."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from packaging.version import InvalidVersion, Version

ROOT: Final = Path(__file__).resolve().parent.parent
WORKSPACE: Final = ROOT / "pyproject.toml"
# Where the version is, and what is around it.
_PROJECT: Final = re.compile(r'(?m)(^version = ")([^"]+)(")')
_IMAGES: Final = {
    "deploy/docker-compose.yml": re.compile(r"(\$\{IMAGE_TAG:-)([^}]+)(\})"),
    "deploy/.env.example": re.compile(r"(?m)(^#?\s?IMAGE_TAG=)(\S+)($)"),
}


def members() -> list[str]:
    """The folders of the members."""
    found: list[str] = tomllib.loads(WORKSPACE.read_text())["tool"]["uv"]["workspace"]["members"]
    return found


def current_version() -> str:
    found: str = tomllib.loads(WORKSPACE.read_text())["project"]["version"]
    return found


def places() -> Iterator[tuple[Path, re.Pattern[str]]]:
    """Each file that names the version, and how."""
    yield WORKSPACE, _PROJECT
    for member in members():
        yield ROOT / member / "pyproject.toml", _PROJECT
    for name, pattern in _IMAGES.items():
        yield ROOT / name, pattern


def named_versions() -> dict[Path, set[str]]:
    """The versions that each file names. They are all the same."""
    return {path: {found[2] for found in pattern.finditer(path.read_text())} for path, pattern in places()}


def set_version(text: str) -> None:
    """Write the version everywhere. Raises InvalidVersion."""
    version = str(Version(text))
    for path, pattern in places():
        path.write_text(pattern.sub(rf"\g<1>{version}\g<3>", path.read_text()))


def main(arguments: list[str]) -> int:
    if not arguments:
        sys.stdout.write(f"{current_version()}\n")
        return 0
    try:
        set_version(arguments[0])
    except InvalidVersion as error:
        sys.stderr.write(f"{error}; such as 0.2.0\n")
        return 2
    sys.stdout.write(f"{current_version()}; now run `make docs`, which names it in the OpenAPI documents\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
