"""Third-party files: the committed files match the table, include their licences, and are in the wheel."""

from __future__ import annotations

import hashlib
import io
import re
import subprocess
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from tools.vendor import PAGES, TABLE, TARGET, Package, VendoredFile, VendorMismatch, fetch, read_table, table_text

PACKAGES = read_table()


def test_every_committed_file_matches_the_table() -> None:
    listed = {f"{package.folder}/{file.name}": file.sha256 for package in PACKAGES for file in package.files}
    committed = {
        path.relative_to(TARGET).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in TARGET.rglob("*")
        if path.is_file()
    }
    assert committed == listed


def test_every_package_has_a_version_a_hash_and_its_licence() -> None:
    for package in PACKAGES:
        assert re.fullmatch(r"\d+\.\d+\.\d+", package.version)
        assert re.fullmatch(r"sha512-[A-Za-z0-9+/]{86}==", package.integrity)
        assert package.licence in {"MIT", "0BSD", "Apache-2.0"}
        assert "LICENSE.txt" in {file.name for file in package.files}


def test_the_table_is_written_in_the_format_it_is_read() -> None:
    assert table_text(PACKAGES) == TABLE.read_text()


def test_templates_use_only_vendored_files_that_exist() -> None:
    named = {
        match
        for template in (PAGES / "templates").rglob("*.html")
        for match in re.findall(r"vendor\('([^']+)', '([^']+)'\)", template.read_text())
    }
    there = {(package.name, file.name) for package in PACKAGES for file in package.files}
    assert named <= there


def test_the_wheel_contains_templates_and_static_files(tmp_path: Path) -> None:
    (built,) = WheelBuilder(str(PAGES.parents[1])).build(directory=str(tmp_path), versions=["standard"])
    names = set(zipfile.ZipFile(built).namelist())
    kept = [
        path.relative_to(PAGES.parents[1]).as_posix()
        for folder in ("templates", "static")
        for path in (PAGES / folder).rglob("*")
        if path.is_file()
    ]
    assert len(kept) > 20
    assert set(kept) <= names


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """A package of one file, with a fake `npm pack` that needs no network."""
    archive = tmp_path / "thing-1.0.0.tgz"
    with tarfile.open(archive, "w:gz") as members:
        member = tarfile.TarInfo("package/dist/thing.js")
        member.size = 3
        members.addfile(member, io.BytesIO(b"1;\n"))
        members.addfile(tarfile.TarInfo("package/dist"))

    def packed(arguments: list[str], **_: object) -> None:
        assert arguments[-1] == "thing@1.0.0"

    monkeypatch.setattr(subprocess, "run", packed)
    return Package("thing", "1.0.0", "", "MIT", (VendoredFile("dist/thing.js", "thing.js", ""),))


def test_downloads_are_checked_against_both_hashes(registry: Package, tmp_path: Path) -> None:
    locked, contents = fetch(registry, tmp_path, lock=True)
    assert contents == {"thing.js": b"1;\n"}
    assert fetch(locked, tmp_path) == (locked, contents)
    with pytest.raises(VendorMismatch, match="sha512-"):
        fetch(replace(locked, integrity="sha512-other"), tmp_path)
    with pytest.raises(VendorMismatch, match=r"dist/thing\.js has the hash"):
        fetch(replace(locked, files=registry.files), tmp_path)
