"""Uploads under crashes and concurrent writers: every change is stored completely or not made."""

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.upload_files import files, picture, product
from harness.waiting import HUNG_AFTER_S
from vitrine.uploads.store import UploadStore


@pytest.fixture
def upload_store(tmp_path: Path) -> UploadStore:
    return UploadStore(tmp_path / "uploads")


KILLED = """
import os, signal, sys
from pathlib import Path
from vitrine.uploads.store import UploadStore
from vitrine.products import Product

calls = last = 0
def counted(real):
    def call(*arguments, **options):
        global calls
        calls += 1
        if calls > last:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)
    return call

folder, what, old, new = Path(sys.argv[1]), sys.argv[2], *(Path(path).read_bytes() for path in sys.argv[3:])
for last in range(40):
    upload_store = UploadStore(folder / str(last))
    upload_store.put(Product("shop", "1", "", {"gender": "Men"}), old)
    child = os.fork()
    if child == 0:
        os.fsync, Path.replace, Path.unlink = counted(os.fsync), counted(Path.replace), counted(Path.unlink)
        if what == "delete":
            upload_store.delete("shop", "1")
        else:
            upload_store.put(Product("shop", "1", "", {"season": "Fall"}), new)
        os._exit(0)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(ended)
    if ended != -signal.SIGKILL:
        break
"""


def killed_at_each_step(folder: Path, what: str) -> int:
    """Change a product in a process that is killed after one step, after two, and so on, each in its own store.

    Returns the number of stores. In the last one the change was completed.
    """
    (folder / "old.png").write_bytes(picture(1))
    (folder / "new.png").write_bytes(picture(2))
    command = [sys.executable, "-c", KILLED, str(folder), what, str(folder / "old.png"), str(folder / "new.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=HUNG_AFTER_S)
    *killed, finished = map(int, done.stdout.split())
    assert set(killed) == {-signal.SIGKILL}
    assert finished == 0, done.stderr
    return len(killed) + 1


@pytest.mark.parametrize("what", ["put", "delete"])
def test_a_kill_between_any_two_steps_leaves_the_old_or_the_new_state(tmp_path: Path, what: str) -> None:
    states: list[str] = []
    for step in range(killed_at_each_step(tmp_path, what)):
        upload_store = UploadStore(tmp_path / str(step))
        found = upload_store.get("shop", "1")
        if found is not None and found.attributes == {"gender": "Men"}:
            states.append("before")
            assert upload_store.picture_path(found).read_bytes() == picture(1)
        elif what == "delete":
            states.append("after")
            assert found is None
            assert upload_store.is_deleted("shop", "1")
        else:
            states.append("after")
            assert found is not None
            assert found.attributes == {"season": "Fall"}
            assert upload_store.picture_path(found).read_bytes() == picture(2)
        # The next change is not blocked by leftovers of the crash, and removes them.
        again = upload_store.put(product(usage="Party"), picture(3))
        assert upload_store.products("shop") == (again,)
        assert len(files(upload_store)) == 3, files(upload_store)
    assert states[0] == "before"
    assert states[-2:] == ["after", "after"], "the change counts before its last step"
    assert states == sorted(states, reverse=True), "once the change counts it stays"


def test_concurrent_writers_do_not_damage_each_others_records(upload_store: UploadStore) -> None:
    def work(number: int) -> None:
        upload_store.put(product(str(number % 4), size=number), picture(number))
        if number % 5 == 0:
            upload_store.delete("shop", str(number % 4))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(40)))
    kept = upload_store.products("shop")
    assert len(kept) + len(upload_store.tombstones("shop")) == 4
    for item in kept:
        size = item.attributes["size"]
        assert isinstance(size, int)
        assert upload_store.picture_path(item).read_bytes() == picture(size)
    assert len(files(upload_store)) == 1 + 4 + len(kept)


def test_a_reader_never_sees_an_incomplete_record(upload_store: UploadStore) -> None:
    upload_store.put(product(size=0, note="x" * 5000), picture(0))
    with ThreadPoolExecutor(1) as threads:
        writing = threads.submit(
            lambda: [upload_store.put(product(size=number, note="x" * 5000), picture(number)) for number in range(40)]
        )
        reads = 0
        while not writing.done() or reads == 0:
            found = upload_store.get("shop", "1")
            assert found is not None
            assert len(str(found.attributes["note"])) == 5000
            reads += 1
        writing.result()
