"""One open collection: the engine's shard, its record on disk, and its serialized writes.

Reads go directly to the engine. Writes run one at a time, under `writing`. While an optimizer works on a copy of the
shard, they are also recorded, and applied to the copy before it replaces the shard.
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
from typing import Any, Final, cast

import qdrant_edge as edge
from qdrant_client.http import models

from vitrine.atomic_write import sync_folder
from vitrine_local.qdrant.disk import allocate, write_with_copy
from vitrine_local.qdrant.engine import engine_config, engine_errors
from vitrine_local.qdrant.errors import NotFound
from vitrine_local.qdrant.record import (
    DEFAULT_DELETED_THRESHOLD,
    DEFAULT_VACUUM_MIN_VECTORS,
    CollectionRecord,
)
from vitrine_local.qdrant.strict_mode import StrictMode

RECORD_FILE: Final = "collection.json"
SHARDS_FOLDER: Final = "shards"
_LOG_FOLDER: Final = "wal"
_BYTES_PER_KB: Final = 1024
_FLOAT32_BYTES: Final = 4
_SAMPLE_POINTS: Final = 100


@dataclass(frozen=True, slots=True)
class Change:
    """An operation, the number of points it rewrites and so removes from the search graph, and their vectors if new."""

    operation: edge.UpdateOperation
    rewritten: int = 0
    vectors: int = 0


class Collection:
    """An open collection. Make one with `create` or `load`; do not use it after `close`."""

    def __init__(self, folder: Path, record: CollectionRecord, shard: edge.EdgeShard) -> None:
        self.folder = folder
        self.record = record
        self.optimizing = False
        self.optimizer_error: str | None = None
        # The engine's failure in a call that should have worked: its files may be damaged.
        self.failure: str | None = None
        self.last_write_at_s = float("-inf")
        self.unflushed = False
        self._shard = shard
        self._closed = False
        self._writing = asyncio.Lock()
        self._operations = 0
        self._recorded: list[edge.UpdateOperation] | None = None
        # Points written since the last optimizer took its copy. The engine's own count of indexed vectors includes
        # replaced ones. Unknown after a start, so all points count.
        self._rewritten = shard.info().points_count
        self._rewritten_before_copy = 0
        self._deleted = 0
        self._vectors_per_point = _vectors_per_point(shard) if record.has_vector_lists else 1.0
        self._schema = _schema(shard)

    @classmethod
    def create(cls, folder: Path, record: CollectionRecord) -> Collection:
        """Create a collection on disk. Its record is written last; from then on the collection exists."""
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
        """Open a collection on disk, then remove the shard folders that an interrupted optimizer left."""
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
        """The engine's shard. Use it only for reads and on the event loop. Raises NotFound after a deletion."""
        if self._closed:
            raise NotFound(f"Collection `{self.name}` doesn't exist!")
        return self._shard

    @property
    def schema(self) -> dict[str, models.PayloadSchemaType]:
        """The index type of each indexed field."""
        return self._schema

    @property
    def strict_mode(self) -> StrictMode:
        schema = {field: kind.value for field, kind in self._schema.items()}
        return StrictMode(self.record.strict_mode_config, schema)

    def save(self, record: CollectionRecord) -> None:
        """Store a new record."""
        write_with_copy(self.folder / RECORD_FILE, record.model_dump_json(exclude_none=True, by_alias=True).encode())
        self.record = record

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Hold the lock on the collection's writes. Raises NotFound."""
        async with self._writing:
            _ = self.shard
            yield

    async def write(self, build: Callable[[], Change]) -> int:
        """Apply the operation that `build` returns. `build` runs after all earlier operations are applied.

        Returns the operation's number, once the operation is on disk: the engine itself does not wait for that.
        """
        async with self.writing():
            with engine_errors():
                change = build()
                points_before = self._shard.info().points_count
                self._shard.update(change.operation)
            if self._recorded is not None:
                self._recorded.append(change.operation)
            self._rewritten += change.rewritten
            if change.vectors and self.record.has_vector_lists:
                before = max(points_before, change.rewritten)
                share = change.rewritten / before
                self._vectors_per_point += (change.vectors / change.rewritten - self._vectors_per_point) * share
            self._deleted += max(0, points_before - self._shard.info().points_count)
            self._operations += 1
            self.unflushed = True
            self.last_write_at_s = time.monotonic()
            number = self._operations
            await asyncio.to_thread(_make_durable, self.folder / SHARDS_FOLDER / self.record.shard)
            return number

    def refresh_schema(self) -> None:
        """Read the indexed fields again, after an index was created or deleted."""
        self._schema = _schema(self.shard)

    def flush(self) -> None:
        """Write the data in memory to the shard's files."""
        self._shard.flush()
        self.unflushed = False

    @property
    def unindexed(self) -> int:
        """Upper bound of the number of points without a search graph."""
        return min(self._rewritten, self.shard.info().points_count)

    @property
    def needs_optimizer(self) -> bool:
        """Whether enough vectors have no search graph, or enough points are deleted."""
        threshold_kb = self.record.indexing_threshold_kb
        unindexed_bytes = self.unindexed * self._vectors_per_point * self.record.dim * _FLOAT32_BYTES
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
        """Copy the shard to the folder `name` and start to record writes. Writes wait for the copy, reads do not."""
        async with self.writing():
            self.flush()
            shards = self.folder / SHARDS_FOLDER
            await asyncio.to_thread(shutil.copytree, shards / self.record.shard, shards / name)
            self._recorded = []
            self._rewritten_before_copy = self._rewritten

    async def adopt(self, name: str) -> str:
        """Apply the recorded writes to the optimized copy and serve it. Returns the name of the replaced folder.

        On any failure before the record is written the collection stays as it was.
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
            self.reset_counts()
        return replaced

    def reset_counts(self) -> None:
        """Reset the counts of rewritten and deleted points to what happened since the copy."""
        self._rewritten -= self._rewritten_before_copy
        self._rewritten_before_copy = self._deleted = 0

    def forget_copy(self) -> None:
        """Stop recording writes."""
        self._recorded = None

    def close(self) -> None:
        """Flush and close the files."""
        if not self._closed:
            self._closed = True
            try:
                self.flush()
            finally:
                self._shard.close()


def _vectors_per_point(shard: edge.EdgeShard) -> float:
    """The mean number of vectors of a point, by a sample; 1 without points."""
    found, _ = shard.scroll(edge.ScrollRequest(limit=_SAMPLE_POINTS, with_payload=False, with_vector=True))
    counts = [len(cast(list[Any], record.vector)) for record in found]
    return sum(counts) / len(counts) if counts else 1.0


def _schema(shard: edge.EdgeShard) -> dict[str, models.PayloadSchemaType]:
    return {field: data_type(info) for field, info in shard.info().payload_schema.items()}


def data_type(info: edge.PayloadIndexInfo) -> models.PayloadSchemaType:
    """The client's type of an index."""
    return models.PayloadSchemaType(str(info.data_type).rpartition(".")[2].lower())


def _make_durable(shard: Path) -> None:
    """Flush the engine's log to disk, including the names of its segments. An unchanged segment costs nothing."""
    allocate(shard)
    folder = shard / _LOG_FOLDER
    for segment in folder.iterdir():
        # A segment is renamed once it is full.
        with contextlib.suppress(FileNotFoundError), segment.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)


def _sync_tree(folder: Path) -> None:
    for parent, _, files in os.walk(folder):
        for name in files:
            with (Path(parent) / name).open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(parent))
