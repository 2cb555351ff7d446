"""Downloads the third-party files of the web pages that `vendor.toml` lists, from the npm registry, and checks their
hashes. To change a version, edit it in the table, run with `--lock`, which writes the new hashes, and review the diff.
The product itself downloads nothing.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from tools.pages import DOCS

PAGES: Final = DOCS.parent / "services" / "search-api" / "search_api" / "pages"
TABLE: Final = PAGES / "vendor.toml"
TARGET: Final = PAGES / "static" / "vendor"
_HEAD: Final = """\
# Third-party files of the web pages, downloaded by `make vendor` from the npm registry. `integrity` is npm's hash of
# the package, `sha256` the hash of each file. tests/unit/test_vendor.py checks the committed files.
"""


class VendorMismatch(Exception):
    """A downloaded file does not match the table."""


@dataclass(frozen=True, slots=True)
class VendoredFile:
    """One file: its path in the package, its local name, and its hash."""

    source: str
    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Package:
    """One version of a package. `licence` is an SPDX identifier."""

    name: str
    version: str
    integrity: str
    licence: str
    files: tuple[VendoredFile, ...]

    @property
    def folder(self) -> str:
        return f"{self.name}-{self.version}"


def read_table(path: Path = TABLE) -> tuple[Package, ...]:
    """The packages of a table."""
    table = tomllib.loads(path.read_text())
    return tuple(
        Package(
            entry["name"],
            entry["version"],
            entry["integrity"],
            entry["licence"],
            tuple(VendoredFile(**file) for file in entry["file"]),
        )
        for entry in table["package"]
    )


def table_text(packages: tuple[Package, ...]) -> str:
    """The table of `packages`."""
    parts = [_HEAD]
    for package in packages:
        facts = {name: getattr(package, name) for name in ("name", "version", "integrity", "licence")}
        parts.append("\n[[package]]\n" + _assignments(facts))
        parts += [
            "\n[[package.file]]\n" + _assignments({"source": file.source, "name": file.name, "sha256": file.sha256})
            for file in package.files
        ]
    return "".join(parts)


def _assignments(values: Mapping[str, Any]) -> str:
    return "".join(f'{name} = "{value}"\n' for name, value in values.items())


def fetch(package: Package, folder: Path, *, lock: bool = False) -> tuple[Package, dict[str, bytes]]:
    """Download a package to `folder`. Returns it with its actual hashes, and its files by local name.

    Raises CalledProcessError if npm fails and, unless `lock` is set, VendorMismatch if a hash differs.
    """
    subprocess.run(
        ["npm", "pack", "--silent", "--pack-destination", str(folder), f"{package.name}@{package.version}"],  # noqa: S607
        check=True,
        stdout=subprocess.DEVNULL,
    )
    archive = folder / f"{package.folder}.tgz"
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if not lock and integrity != package.integrity:
        raise VendorMismatch(f"{package.name} {package.version} has {integrity}, the table says {package.integrity}")
    contents: dict[str, bytes] = {}
    locked = []
    with tarfile.open(archive) as members:
        for file in package.files:
            member = members.extractfile(f"package/{file.source}")
            if member is None:
                raise VendorMismatch(f"{package.name} {package.version}: {file.source} is not a regular file")
            contents[file.name] = member.read()
            digest = hashlib.sha256(contents[file.name]).hexdigest()
            if not lock and digest != file.sha256:
                raise VendorMismatch(f"{package.name} {package.version}: {file.source} has the hash {digest}")
            locked.append(replace(file, sha256=digest))
    return replace(package, integrity=integrity, files=tuple(locked)), contents


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lock", action="store_true", help="write the hashes of the downloaded files")
    lock = parser.parse_args().lock
    fetched = []
    with tempfile.TemporaryDirectory() as folder:
        fetched = [fetch(package, Path(folder), lock=lock) for package in read_table()]
    if TARGET.exists():
        shutil.rmtree(TARGET)
    for package, contents in fetched:
        for name, data in contents.items():
            path = TARGET / package.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    if lock:
        TABLE.write_text(table_text(tuple(package for package, _ in fetched)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
