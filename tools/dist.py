"""Builds the wheels of all members into `dist`, and that of `vitrine-search`, which depends on all of them in the same
version: `pip install --find-links dist vitrine-search` installs the system and the command `vitrine`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path
from typing import Final

from packaging.metadata import Metadata
from packaging.requirements import Requirement

from tools.version import ROOT, WORKSPACE, current_version, members

NAME: Final = "vitrine-search"
_README: Final = """# Vitrine

Visual search for fashion catalogues: find the products of a catalogue that look like a picture.

    pip install vitrine-search
    vitrine demo --once    # draws a catalogue, indexes it and searches it; nothing is downloaded
    vitrine up             # starts every service on this machine

It needs Python 3.11 to 3.14 and a Redis server. On Linux (x86-64) with Python 3.11 and 3.12 the server comes with the
installation; elsewhere one on the PATH, or the one that REDIS_URL names, is used.
"""


def build(folder: Path) -> list[Path]:
    """Build every wheel into `folder`, which is emptied first. Raises SystemExit if one has invalid metadata."""
    shutil.rmtree(folder, ignore_errors=True)
    for member in members():
        _build(ROOT / member, folder)
    with tempfile.TemporaryDirectory() as source:
        _write_metapackage(Path(source))
        _build(Path(source), folder)
    wheels = sorted(folder.glob("*.whl"))
    for wheel in wheels:
        _check(wheel)
    (folder / ".gitignore").unlink(missing_ok=True)
    return wheels


def metadata_of(wheel: Path) -> Metadata:
    """The metadata of a wheel. Raises ExceptionGroup if it is invalid."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Metadata.from_email(archive.read(name), validate=True)


def _write_metapackage(folder: Path) -> None:
    project = tomllib.loads(WORKSPACE.read_text())["project"]
    version = current_version()
    pinned = [f"{Requirement(text)}=={version}" for text in project["dependencies"]]
    # JSON texts and lists are TOML too.
    fields = {
        "name": NAME,
        "version": version,
        "description": project["description"],
        "readme": "README.md",
        "requires-python": project["requires-python"],
        "dependencies": pinned,
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in fields.items()]
    (folder / "README.md").write_text(_README)
    (folder / "pyproject.toml").write_text(
        "\n".join(
            [
                '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n\n[project]',
                *lines,
                "\n[tool.hatch.build.targets.wheel]\nbypass-selection = true\n",
            ]
        )
    )


def _build(source: Path, folder: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    command = ("build", "--quiet", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", folder)
    subprocess.run([uv, *command, source], check=True, cwd=ROOT)


def _check(wheel: Path) -> None:
    try:
        metadata = metadata_of(wheel)
    except ExceptionGroup as errors:
        raise SystemExit(f"{wheel.name}: {'; '.join(map(str, errors.exceptions))}") from None
    if str(metadata.version) != current_version():
        raise SystemExit(f"{wheel.name}: the version is not {current_version()}: run `make version V=...`")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="the folder, by default dist")
    out: Path = parser.parse_args().out
    for wheel in build(out.resolve()):
        sys.stdout.write(f"{wheel}\n")
    sys.stdout.write(f"to publish them: uv publish {out}/*.whl\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
