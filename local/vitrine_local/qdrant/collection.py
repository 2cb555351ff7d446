"""One open collection: the engine's shard, its record on disk, and the single file of writes.

Reads go straight to the engine. Writes go one after another through `writing`; while an optimizer works on a copy,
they are also recorded, so that the copy can be brought up to date before it takes the shard's place.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import qdrant_edge as edge
from qdrant_client.http import models

from vitrine_local.qdrant.disk import sync_folder, write_twice
from vitrine_local.qdrant.engine_config import engine_config
from vitrine_local.qdrant.errors import NotFound, engine_errors
from vitrine_local.qdrant.record import (
    DEFAULT_DELETED_THRESHOLD,
    DEFAULT_VACUUM_MIN_VECTORS,
    CollectionRecord,
)
from vitrine_local.qdrant.space import allocate
from vitrine_local.qdrant.strict_mode import StrictMode

RECORD_FILE: Final = "collection.json"
SHARDS_FOLDER: Final = "shards"
_LOG_FOLDER: Final = "wal"
_BYTES_PER_KB: Final = 1024
_FLOAT32_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class Change:
    """An operation, and how many points it writes anew and so takes out of the search graph."""

    operation: edge.UpdateOperation
    moved: int = 0


class Collection:
    """A collection that is served. Made by `create` or `load`; not for use after `close`."""

    def __init__(self, folder: Path, record: CollectionRecord, shard: edge.EdgeShard) -> None:
        self.folder = folder
        self.record = record
        self.optimizing = False
        self.optimizer_error: str | None = None
        # What the engine failed with in a call that should have worked: its files may be damaged.
        self.failure: str | None = None
        self.last_write_at_s = float("-inf")
        self.unflushed = False
        self._shard = shard
        self._closed = False
        self._writing = asyncio.Lock()
        self._operations = 0
        self._recorded: list[edge.UpdateOperation] | None = None
        # Points written since the last optimizer took its copy: the engine's own count of indexed vectors includes
        # replaced ones. After a start nobody knows, so all may be.
        self._moved = shard.info().points_count
        self._moved_before_copy = 0
        self._deleted = 0
        self._schema = _schema(shard)

    @classmethod
    def create(cls, folder: Path, record: CollectionRecord) -> Collection:
        """Make a collection on disk. It exists once its record is written, which is the last thing done."""
        shard_folder = folder / SHARDS_FOLDER / record.shard
        shard_folder.mkdir(parents=True)
        with engine_errors():
            shard = edge.EdgeShard.create(str(shard_folder), engine_config(record.engine_options()))
            shard.flush()
        allocate(shard_folder)
        for made in (shard_folder, shard_folder.parent, folder.parent):
            sync_folder(made)
        collection = cls(folder, record, shard)
        collection.save(record)
        return collection

    @classmethod
    def load(cls, folder: Path, record: CollectionRecord) -> Collection:
        """Open what is on disk, then remove what an optimizer left: the shard folders that the record does not name."""
        collection = cls(folder, record, edge.EdgeShard.load(str(folder / SHARDS_FOLDER / record.shard)))
        for shard_folder in (folder / SHARDS_FOLDER).iterdir():
            if shard_folder.name != record.shard:
                shutil.rmtree(shard_folder, ignore_errors=True)
        return collection

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def shard(self) -> edge.EdgeShard:
        """The engine, for reads on the event loop only. Raises NotFound after the collection was deleted."""
        if self._closed:
            raise NotFound(f"Collection `{self.name}` doesn't exist!")
        return self._shard

    @property
    def schema(self) -> dict[str, models.PayloadSchemaType]:
        """The type of each indexed field."""
        return self._schema

    @property
    def strict_mode(self) -> StrictMode:
        schema = {field: kind.value for field, kind in self._schema.items()}
        return StrictMode(self.record.strict_mode_config, schema)

    def save(self, record: CollectionRecord) -> None:
        """Write a record and make it this collection's."""
        write_twice(self.folder / RECORD_FILE, record.model_dump_json(exclude_none=True, by_alias=True).encode())
        self.record = record

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Hold the collection's writes."""
        async with self._writing:
            _ = self.shard
            yield

    async def write(self, build: Callable[[], Change]) -> int:
        """Build an operation, with everything before it applied, and apply it. On disk when this returns: the engine
        writes its log without waiting for the disk, so the wait is here.

        Returns the operation's number.
        """
        async with self.writing():
            with engine_errors():
                change = build()
                points_before = self._shard.info().points_count
                self._shard.update(change.operation)
            if self._recorded is not None:
                self._recorded.append(change.operation)
            self._moved += change.moved
            self._deleted += max(0, points_before - self._shard.info().points_count)
            self._operations += 1
            self.unflushed = True
            self.last_write_at_s = time.monotonic()
            number = self._operations
            await asyncio.to_thread(_make_durable, self.folder / SHARDS_FOLDER / self.record.shard)
            return number

    def refresh_schema(self) -> None:
        """Read the indexed fields again, after one was made or removed."""
        self._schema = _schema(self.shard)

    def flush(self) -> None:
        """Write what is in memory to the shard's files."""
        self._shard.flush()
        self.unflushed = False

    @property
    def unindexed(self) -> int:
        """Vectors that may have no search graph, at most."""
        return min(self._moved, self.shard.info().points_count)

    @property
    def needs_optimizer(self) -> bool:
        """Whether enough vectors have no search graph, or enough of the points are deleted ones."""
        threshold_kb = self.record.indexing_threshold_kb
        unindexed_bytes = self.unindexed * self.record.dim * _FLOAT32_BYTES
        if threshold_kb and unindexed_bytes > threshold_kb * _BYTES_PER_KB:
            return True
        options = self.record.optimizers_config or models.OptimizersConfigDiff()
        share, least = options.deleted_threshold, options.vacuum_min_vector_number
        all_points = self.shard.info().points_count + self._deleted
        return self._deleted >= max(
            DEFAULT_VACUUM_MIN_VECTORS if least is None else least,
            (DEFAULT_DELETED_THRESHOLD if share is None else share) * all_points,
            1,
        )

    async def copy(self, name: str) -> None:
        """Copy the shard to a folder of that name and begin to record writes. Only writes wait for the copy."""
        async with self.writing():
            self.flush()
            shards = self.folder / SHARDS_FOLDER
            await asyncio.to_thread(shutil.copytree, shards / self.record.shard, shards / name)
            self._recorded = []
            self._moved_before_copy = self._moved

    async def adopt(self, name: str) -> str:
        """Bring the optimized copy up to date and serve it. Returns the name of the folder it replaces.

        Whatever goes wrong before the record is written leaves the collection as it was.
        """
        async with self.writing():
            shard = edge.EdgeShard.load(str(self.folder / SHARDS_FOLDER / name))
            for operation in self._recorded or ():
                shard.update(operation)
                await asyncio.sleep(0)
            shard.flush()
            await asyncio.to_thread(_sync_tree, self.folder / SHARDS_FOLDER / name)
            await asyncio.to_thread(allocate, self.folder / SHARDS_FOLDER / name)
            replaced, old = self.record.shard, self._shard
            self.save(self.record.model_copy(update={"shard": name}))
            self._shard = shard
            self.unflushed = False
            old.close()
            self.refresh_schema()
            self.settle()
        return replaced

    def settle(self) -> None:
        """What was there when the copy was taken is in order."""
        self._moved -= self._moved_before_copy
        self._moved_before_copy = self._deleted = 0

    def forget_copy(self) -> None:
        """Stop recording writes."""
        self._recorded = None

    def close(self) -> None:
        """Flush and let go of the files."""
        if not self._closed:
            self._closed = True
            try:
                self.flush()
            finally:
                self._shard.close()


def _schema(shard: edge.EdgeShard) -> dict[str, models.PayloadSchemaType]:
    return {field: data_type(info) for field, info in shard.info().payload_schema.items()}


def data_type(info: edge.PayloadIndexInfo) -> models.PayloadSchemaType:
    """An index's type in the client's terms."""
    return models.PayloadSchemaType(str(info.data_type).rpartition(".")[2].lower())


def _make_durable(shard: Path) -> None:
    """Have the engine's log on disk, the names of its segments included. A segment at rest costs nothing."""
    allocate(shard)
    folder = shard / _LOG_FOLDER
    for segment in folder.iterdir():
        with contextlib.suppress(FileNotFoundError), segment.open("rb") as file:  # renamed meanwhile: it is full
            os.fsync(file.fileno())
    sync_folder(folder)


def _sync_tree(folder: Path) -> None:
    for parent, _, files in os.walk(folder):
        for name in files:
            with (Path(parent) / name).open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(parent))
