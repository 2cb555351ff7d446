from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from vitrine.atomic_write import (
    atomic_folder,
    atomic_open,
    atomic_path,
    remove_leftovers,
    write_bytes,
    write_json,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")
    write_text(path, "näw")
    assert path.read_bytes() == "näw".encode()
    assert names(tmp_path) == ["file"]


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def write_part_of_a_stream() -> None:
        with atomic_open(path) as file:
            file.write(b"part")
            raise RuntimeError

    def write_part_of_a_file() -> None:
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"part")
            raise RuntimeError

    for write in (write_part_of_a_stream, write_part_of_a_file):
        with pytest.raises(RuntimeError):
            write()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_file_and_folder_are_flushed_unless_the_write_is_not_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink()))
    write_bytes(tmp_path / "file", b"", durable=False)
    assert flushed == []
    write_bytes(tmp_path / "file", b"")
    assert [path.parent for path in flushed] == [tmp_path, tmp_path.parent]


def test_a_private_file_is_private_from_its_first_byte(tmp_path: Path) -> None:
    with atomic_open(tmp_path / "secret", mode=0o600) as file:
        assert os.fstat(file.fileno()).st_mode & 0o777 == 0o600
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


def test_two_writers_of_one_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = [bytes([number]) * 100_000 for number in range(8)]
    threads = [threading.Thread(target=write_bytes, args=(path, content)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert names(tmp_path) == ["file"]


def test_json_has_no_nan(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    write_json(path, {"ä": 1.5})
    assert path.read_text("utf-8") == '{\n  "ä": 1.5\n}\n'
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_bytes()) == {"ä": 1.5}


def test_a_folder_appears_completely_or_not(tmp_path: Path) -> None:
    path = tmp_path / "parent" / "folder"

    def write_part() -> None:
        with atomic_folder(path) as temporary:
            (temporary / "file").write_bytes(b"part")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_part()
    assert names(path.parent) == []

    with atomic_folder(path) as temporary:
        (temporary / "inner").mkdir()
        (temporary / "inner" / "file").write_bytes(b"whole")
        assert not path.exists()
    assert (path / "inner" / "file").read_bytes() == b"whole"

    with pytest.raises(OSError, match="not empty"), atomic_folder(path) as temporary:
        (temporary / "file").write_bytes(b"second")
    assert names(path) == ["inner"]
    assert names(path.parent) == ["folder"]


def test_leftovers_of_killed_writers_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    (tmp_path / ".file.0123abcd.tmp").write_bytes(b"part")
    (tmp_path / ".file.4567abcd.tmp").mkdir()
    (tmp_path / ".file.4567abcd.tmp" / "inner").write_bytes(b"part")
    (tmp_path / ".other.0123abcd.tmp").write_bytes(b"part")
    write_bytes(path, b"whole")
    remove_leftovers(path)
    assert names(tmp_path) == [".other.0123abcd.tmp", "file"]
