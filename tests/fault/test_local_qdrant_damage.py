"""Damaged files of the local Qdrant are set aside and reported, and the rest is served."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import qdrant_edge
from qdrant_client import QdrantClient, models

from harness.disks import fill, mounted_disk
from harness.processes import LocalQdrant
from vitrine.qdrant.client import open_qdrant
from vitrine_local.errors import StorageUnusable
from vitrine_local.qdrant.engine import engine_config
from vitrine_local.qdrant.record import new_record
from vitrine_local.qdrant.shard_check import damaged_shards
from vitrine_local.qdrant.store import Store

VECTORS = models.VectorParams(size=2, distance=models.Distance.COSINE)
HURT, WHOLE = "shop--tiny-0123456789", "shop--other-0123456789"
POINTS = 50


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage with two collections, each with an alias."""
    folder = tmp_path_factory.mktemp("stored")
    server = LocalQdrant(folder)
    client = open_qdrant(server.url)
    for name in (HURT, WHOLE):
        client.create_collection(name, vectors_config=VECTORS, metadata={"of": name})
        batch = models.Batch(
            ids=list(range(POINTS)),
            vectors=[[1.0, float(number)] for number in range(POINTS)],
            payloads=[{"number": number} for number in range(POINTS)],
        )
        client.upsert(name, batch, wait=True)
        create = models.CreateAlias(collection_name=name, alias_name=f"alias.{name}")
        client.update_collection_aliases([models.CreateAliasOperation(create_alias=create)])
    client.close()
    assert server.terminate() == 0
    return folder / "storage"


class Damaged:
    """A copy of the storage to damage, and the server to start on it."""

    def __init__(self, folder: Path, stored: Path) -> None:
        self.folder = folder
        self.storage = folder / "storage"
        shutil.copytree(stored, self.storage)
        self.server: LocalQdrant | None = None

    @property
    def collection_folder(self) -> Path:
        """The folder of the collection to damage."""
        records = self.storage.glob("collections/*/collection.json")
        [record] = [path for path in records if json.loads(path.read_bytes())["name"] == HURT]
        return record.parent

    def start(self) -> QdrantClient:
        self.server = LocalQdrant(self.folder)
        return open_qdrant(self.server.url)

    def stop(self) -> None:
        if self.server is not None:
            self.server.kill()


@pytest.fixture
def damaged(tmp_path: Path, stored: Path) -> Iterator[Damaged]:
    copy = Damaged(tmp_path, stored)
    yield copy
    copy.stop()


def issues(client: QdrantClient) -> list[dict[str, Any]]:
    answer: Any = client.http.beta_api.get_issues()
    found: list[dict[str, Any]] = answer["result"]["issues"]
    return found


def scribble(file: Path) -> None:
    """Overwrite the beginning of a file with random bytes."""
    with file.open("r+b") as opened:
        opened.write(os.urandom(4096))


def break_record(folder: Path) -> None:
    (folder / "collection.json").write_text('{"name": "sho')
    (folder / "collection.copy.json").write_bytes(b"")


def scribble_log(folder: Path) -> None:
    scribble(next(folder.glob("shards/*/wal/open-1")))


def scribble_segment(folder: Path) -> None:
    scribble(next(folder.glob("shards/*/segments/*/segment.json")))


def empty_payload(folder: Path) -> None:
    """The engine opens the shard, but fails to read a point."""
    next(folder.glob("shards/*/segments/*/payload_storage/page_0.dat")).write_bytes(b"")


def empty_status_of_vectors(folder: Path) -> None:
    """The engine panics when it opens the shard."""
    next(folder.glob("shards/*/segments/*/vector_storage/vectors/status.dat")).write_bytes(b"")


def remove_shard(folder: Path) -> None:
    shutil.rmtree(next(folder.glob("shards/*")))


@pytest.mark.parametrize(
    "damage",
    [
        break_record,
        scribble_log,
        scribble_segment,
        empty_payload,
        empty_status_of_vectors,
        remove_shard,
    ],
)
def test_a_damaged_collection_is_set_aside_and_the_other_is_served(
    damaged: Damaged, damage: Callable[[Path], None]
) -> None:
    folder = damaged.collection_folder
    damage(folder)
    # The engine cleans up its logs and journals when it opens them.
    kept = {"collection.json", "chunk_0.mmap", "page_0.dat", "segment.json", "tracker.dat", "open-1"}
    files = {path.relative_to(folder) for path in folder.rglob("*") if path.name in kept}
    client = damaged.start()
    assert [one.name for one in client.get_collections().collections] == [WHOLE]
    assert client.count(f"alias.{WHOLE}", exact=True).count == POINTS
    assert [one.alias_name for one in client.get_aliases().aliases] == [f"alias.{WHOLE}"]
    [issue] = issues(client)
    [aside] = (damaged.storage / "damaged").glob(f"*/{folder.name}")
    assert str(aside.parent) in issue["description"]
    assert files <= {path.relative_to(aside) for path in aside.rglob("*")}, "nothing is deleted"
    remedy = issue["solution"]["refactor"]
    known = damage is not break_record
    assert ("vitrine index --dataset shop --model tiny --release tiny-0123456789" in remedy) is known
    assert "vitrine index --dataset" in remedy
    assert damaged.server is not None
    assert remedy in damaged.server.tail(), "the log names it too"
    if known:
        client.create_collection(HURT, vectors_config=VECTORS)
        assert issues(client) == []
    client.close()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\x00"])
def test_a_damaged_file_is_restored_from_its_copy(damaged: Damaged, content: bytes) -> None:
    record, aliases = damaged.collection_folder / "collection.json", damaged.storage / "aliases.json"
    record.write_bytes(content)
    aliases.write_bytes(content)
    client = damaged.start()
    assert client.get_collection(HURT).config.metadata == {"of": HURT}
    assert client.count(f"alias.{HURT}", exact=True).count == POINTS
    assert issues(client) == []
    kept = {
        path.name: path.read_bytes() for path in (damaged.storage / "damaged").glob("*/*") if path.name != "damage.json"
    }
    assert kept == {"collection.json": content, "aliases.json": content}
    client.close()


def test_without_the_alias_table_collections_are_served_under_their_own_names(damaged: Damaged) -> None:
    for name in ("aliases.json", "aliases.copy.json"):
        (damaged.storage / name).write_bytes(b"")
    client = damaged.start()
    assert client.get_aliases().aliases == []
    assert client.count(HURT, exact=True).count == POINTS
    [issue] = issues(client)
    assert "table of aliases" in issue["description"]
    assert "vitrine release activate" in issue["solution"]["refactor"]
    client.close()


def test_an_older_storage_without_copies_gets_them(damaged: Damaged) -> None:
    copies = [damaged.collection_folder / "collection.copy.json", damaged.storage / "aliases.copy.json"]
    for copy in copies:
        copy.unlink()
    damaged.start().close()
    assert all(copy.is_file() for copy in copies)


@pytest.mark.skipif(sys.platform != "linux", reason="what a full disk does to a memory map is Linux's")
def test_a_shard_that_crashes_the_process_is_found_and_a_full_disk_is_not_damage(tmp_path: Path, stored: Path) -> None:
    whole = list(stored.glob("collections/*/shards/*"))
    with mounted_disk(tmp_path / "disk", size="16m") as disk:
        # The engine's vector file is larger than the disk, and opening it touches all of it.
        shard = disk / "shard"
        shard.mkdir()
        record = new_record("bare", models.CreateCollection(vectors=VECTORS), shard="shard")
        made = qdrant_edge.EdgeShard.create(str(shard), engine_config(record.engine_options()))
        points = [qdrant_edge.Point(number, [1.0, float(number)], {}) for number in range(POINTS)]
        made.update(qdrant_edge.UpdateOperation.upsert_points(points, None, None))
        made.flush()
        made.close()
        filling = fill(disk)
        os.truncate(filling, filling.stat().st_size - 2**20)
        found = damaged_shards([whole[0], shard, whole[1]])
        assert list(found) == [shard]
        assert found[shard].startswith("signal 7")
        filling.unlink()
        storage = disk / "storage"
        folder = storage / "collections" / "bare"
        (folder / "shards").mkdir(parents=True)
        shard.rename(folder / "shards" / "shard")
        (folder / "collection.json").write_text(record.model_dump_json(exclude_none=True, by_alias=True))
        fill(disk)
        for _ in range(2):  # first without any space, then with a little
            with pytest.raises(StorageUnusable, match=r"no space to open|No space left"):
                Store(storage).open()
            os.truncate(filling, filling.stat().st_size - 2**20)
        assert folder.is_dir()
