"""Background work: builds search graphs once enough vectors have none, and flushes collections without recent writes.

The engine's optimizer would block the process for seconds. So it runs in a child process on a copy of the shard, while
searches and writes go on. If the child succeeds, the new writes are applied to the copy, and it replaces the shard.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
import time
import uuid
from typing import Final

from vitrine.telemetry import get_logger
from vitrine_local.qdrant.collection import SHARDS_FOLDER, Collection
from vitrine_local.qdrant.disk import length_bytes
from vitrine_local.qdrant.engine import is_engine_failure
from vitrine_local.qdrant.errors import QdrantError
from vitrine_local.qdrant.optimizer_process import NOTHING_TO_DO
from vitrine_local.qdrant.store import Store

_CHILD: Final = "vitrine_local.qdrant.optimizer_process"
_INTERVAL_S: Final = 0.25
_IDLE_S: Final = 1.0
_BACKLOG_POINTS: Final = 50_000
_FLUSH_AFTER_S: Final = 5.0
_RETRY_AFTER_S: Final = 30.0


class Optimizer:
    """Checks all collections a few times a second and works on one at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._log = get_logger("local-qdrant")
        self._not_before_s: dict[str, float] = {}

    async def run(self) -> None:
        """Run until cancelled. The child is then killed, and nothing is lost."""
        while True:
            space = self._store.space
            if space.flush_is_due:
                for collection in self._store.collections():
                    self._flush(collection)
                space.flushed()
            for collection in self._store.collections():
                if collection.closed:
                    continue
                if self._is_due(collection):
                    await self._optimize(collection)
                elif collection.unflushed and _idle_s(collection) >= _FLUSH_AFTER_S:
                    self._flush(collection)
            space.create_ballast()
            await asyncio.sleep(_INTERVAL_S)

    def _flush(self, collection: Collection) -> None:
        """Flush, unless the disk is full: unflushed writes are in the log, and the flush can wait."""
        if collection.closed or not collection.unflushed:
            return
        if time.monotonic() < self._not_before_s.get(collection.record.shard, 0.0):
            return
        try:
            self._store.space.require()
            collection.flush()
        except BaseException as error:
            if not is_engine_failure(error):
                raise
            self._note_failure(collection, error)

    def _note_failure(self, collection: Collection, error: BaseException) -> None:
        """Show the failure in the collection's status, and skip the collection for a while."""
        collection.optimizer_error = str(error)
        self._not_before_s[collection.record.shard] = time.monotonic() + _RETRY_AFTER_S
        defect = None if isinstance(error, QdrantError | ChildFailed) else error
        self._log.error("optimization_failure", collection=collection.name, reason=str(error), exc_info=defect)

    def _is_due(self, collection: Collection) -> bool:
        if not collection.needs_optimizer or time.monotonic() < self._not_before_s.get(collection.record.shard, 0.0):
            return False
        return _idle_s(collection) >= _IDLE_S or collection.unindexed >= _BACKLOG_POINTS

    async def _optimize(self, collection: Collection) -> None:
        started_at_s = time.monotonic()
        log = self._log.bind(collection=collection.name)
        shards = collection.folder / SHARDS_FOLDER
        unwanted = uuid.uuid4().hex
        collection.optimizing = True
        try:
            # The copy, and the result of the same size.
            self._store.space.require(2 * length_bytes(shards / collection.record.shard))
            await collection.copy(unwanted)
            changed = await self._run_child(collection, str(shards / unwanted))
            if changed:
                unwanted = await collection.adopt(unwanted)
            else:
                collection.reset_counts()
            collection.optimizer_error = None
            log.info("optimization", changed=changed, took_s=round(time.monotonic() - started_at_s, 2))
        except BaseException as error:
            if not is_engine_failure(error):
                raise
            if not collection.closed:  # if closed, it was deleted meanwhile together with its folder
                self._note_failure(collection, error)
        finally:
            collection.forget_copy()
            collection.optimizing = False
            shutil.rmtree(shards / unwanted, ignore_errors=True)

    async def _run_child(self, collection: Collection, folder: str) -> bool:
        """Run the child process. Returns whether it changed the copy. Raises ChildFailed."""
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", _CHILD, folder, str(os.getpid()),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            _, errors = await child.communicate(json.dumps(collection.record.engine_options()).encode())
        finally:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
        if child.returncode not in (0, NOTHING_TO_DO):
            last_output = errors.decode(errors="replace").strip()[-500:]
            raise ChildFailed(f"the optimizer process ended with {child.returncode}: {last_output}")
        return child.returncode == 0


class ChildFailed(Exception):
    """The optimizer process failed."""


def _idle_s(collection: Collection) -> float:
    return time.monotonic() - collection.last_write_at_s
