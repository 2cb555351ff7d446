"""All collections and aliases on disk.

A collection exists from the moment its record is written until that file is removed. Anything else that a crash leaves
is removed at the next start. All aliases are in one small file that is replaced atomically, so a request with several
alias changes is applied completely or not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from pydantic import TypeAdapter
from qdrant_client.http import models

from vitrine.atomic_write import remove_leftovers, write_bytes
from vitrine.telemetry import get_logger
from vitrine_local.errors import StorageUnusable
from vitrine_local.qdrant.collection import RECORD_FILE, SHARDS_FOLDER, Collection
from vitrine_local.qdrant.disk import (
    NEW_COLLECTION_BYTES,
    Space,
    copy_of,
    unlink_durably,
    write_with_copy,
)
from vitrine_local.qdrant.engine import is_engine_failure
from vitrine_local.qdrant.errors import AlreadyExists, NotFound, ValidationFailed
from vitrine_local.qdrant.quarantine import Damage, Quarantine, rebuild_command
from vitrine_local.qdrant.record import CollectionRecord, changed_record, new_record
from vitrine_local.qdrant.shard_check import BUS_ERROR, damaged_shards

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,255}")
_ALIASES_FILE: Final = "aliases.json"
_COLLECTIONS_FOLDER: Final = "collections"
_ALIASES: Final = TypeAdapter(dict[str, str])
Parsed = TypeVar("Parsed")


class Store:
    """The collections by name, and the aliases. Use it from the event loop only."""

    def __init__(self, root: Path, *, reserve_bytes: int = 0) -> None:
        """`reserve_bytes` of the disk stay free. Call `open` before use."""
        self.space = Space(root, reserve_bytes=reserve_bytes)
        self._folder = root / _COLLECTIONS_FOLDER
        self._aliases_file = root / _ALIASES_FILE
        self._collections: dict[str, Collection] = {}
        self._aliases: dict[str, str] = {}
        self._quarantine = Quarantine(root)
        self._log = get_logger("local-qdrant")

    def open(self) -> None:
        """Load everything, move damaged data to the quarantine, and remove what a crash left incomplete.

        Raises StorageUnusable if a collection cannot be opened for another reason than damaged files.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self.space.release_ballast()
        for file in (self._aliases_file, copy_of(self._aliases_file)):
            remove_leftovers(file)
        records = dict(self._records())
        shards = {folder / SHARDS_FOLDER / record.shard: folder for folder, record in records.items()}
        damaged = {shards[shard]: reason for shard, reason in damaged_shards(list(shards)).items()}
        for folder, record in records.items():
            reason = damaged.get(folder)
            if reason is None:
                try:
                    self._collections[record.name] = Collection.load(folder, record)
                    continue
                except BaseException as error:
                    if not is_engine_failure(error):
                        raise
                    reason = str(error)
            elif reason.startswith(BUS_ERROR) and not self.space.has(NEW_COLLECTION_BYTES):
                raise StorageUnusable(f"the disk has no space to open the collection {record.name!r}: make room")
            self._set_aside_collection(folder, record.name, reason)
        self._open_aliases()

    def _records(self) -> Iterator[tuple[Path, CollectionRecord]]:
        """The folder and record of each collection on disk."""
        for folder in sorted(self._folder.iterdir()):
            file = folder / RECORD_FILE
            for written in (file, copy_of(file)):
                remove_leftovers(written)
            if not file.is_file():
                self._log.info("leftover_removal", folder=folder.name)
                shutil.rmtree(folder, ignore_errors=True)
                continue
            try:
                record = self._read_with_copy(file, CollectionRecord.model_validate_json, what="a collection's record")
            except ValueError as error:
                self._set_aside_collection(folder, None, f"{RECORD_FILE} cannot be read: {error}")
            else:
                yield folder, record

    def _open_aliases(self) -> None:
        """Read the aliases. Those of collections that are not served are dropped at the next change."""
        if not self._aliases_file.is_file():
            return
        try:
            listed = self._read_with_copy(self._aliases_file, _ALIASES.validate_json, what="the table of aliases")
        except ValueError as error:
            remedy = "activate the releases again: vitrine release list, then vitrine release activate RELEASE"
            self._quarantine.add(
                self._aliases_file, what="the table of aliases", reason=f"it cannot be read: {error}", remedy=remedy
            )
            return
        self._aliases = {alias: name for alias, name in listed.items() if name in self._collections}

    def _read_with_copy(self, file: Path, parse: Callable[[bytes], Parsed], *, what: str) -> Parsed:
        """The content of a file, from its copy if the file is damaged. Raises ValueError if both are damaged."""
        copy = copy_of(file)
        data = file.read_bytes()
        try:
            parsed = parse(data)
        except ValueError as error:
            if not copy.is_file():
                raise
            data = copy.read_bytes()
            parsed = parse(data)
            remedy = "nothing: it is restored from its copy"
            self._quarantine.add(file, what=what, reason=f"it cannot be read: {error}", remedy=remedy, healed=True)
            copy = file
        if copy is file or not copy.is_file():
            with contextlib.suppress(OSError):  # on a full disk: at the next start
                write_bytes(copy, data)
        return parsed

    def _set_aside_collection(self, folder: Path, name: str | None, reason: str) -> None:
        what = f"the collection {name!r}" if name else "a collection whose name is lost"
        self._quarantine.add(folder, what=what, reason=reason, remedy=rebuild_command(name), collection=name)

    def damages(self) -> list[Damage]:
        """The damaged data that was neither restored nor indexed again since."""
        return [
            damage
            for damage in self._quarantine.all()
            if not damage.healed and (damage.collection is None or damage.collection not in self._collections)
        ]

    def note_failure(self, name: str, error: BaseException) -> None:
        """Show in a collection's status that the engine failed in a call to it."""
        collection = self._collections.get(self._aliases.get(name, name))
        if collection is not None and not isinstance(error, Exception):
            collection.failure = (
                f"the engine failed: {error}. Its files may be damaged; {rebuild_command(collection.name)}"
            )

    def close(self) -> None:
        """Flush and close every collection."""
        for collection in self._collections.values():
            try:
                collection.close()
            except Exception as error:  # unflushed writes are in its log
                self._log.error("flush_failure", collection=collection.name, reason=str(error))

    def collections(self) -> list[Collection]:
        return [self._collections[name] for name in sorted(self._collections)]

    def exists(self, name: str) -> bool:
        return name in self._collections or name in self._aliases

    def get(self, name: str) -> Collection:
        """The collection with this name or alias. Raises NotFound."""
        collection = self._collections.get(self._aliases.get(name, name))
        if collection is None:
            raise NotFound(f"Collection `{name}` doesn't exist!")
        return collection

    def create(self, name: str, request: models.CreateCollection) -> None:
        """Create an empty collection. Raises AlreadyExists, ValidationFailed, Unsupported, DiskFull."""
        _check_name(name)
        self.space.require(NEW_COLLECTION_BYTES)
        if name in self._collections:
            raise AlreadyExists(f"Collection `{name}` already exists!")
        if name in self._aliases:
            raise AlreadyExists(f"Can't create collection with name {name}. Alias with the same name already exists")
        record = new_record(name, request, shard=uuid.uuid4().hex)
        folder = self._folder / uuid.uuid4().hex
        try:
            self._collections[name] = Collection.create(folder, record)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    async def update(self, name: str, request: models.UpdateCollection) -> None:
        """Change metadata, strict mode or optimizer thresholds. Raises NotFound, Unsupported."""
        collection = self.get(name)
        async with collection.writing():
            collection.save(changed_record(collection.record, request))

    async def delete(self, name: str) -> bool:
        """Delete a collection and its aliases. Returns False if there is no collection of this name."""
        collection = self._collections.get(name)
        if collection is None:
            return False
        async with collection.writing():
            unlink_durably(collection.folder / RECORD_FILE)
            del self._collections[name]
            collection.close()
        kept = {alias: target for alias, target in self._aliases.items() if target != name}
        if kept != self._aliases:
            self._save_aliases(kept)
        await asyncio.to_thread(shutil.rmtree, collection.folder, ignore_errors=True)
        return True

    def aliases(self) -> list[models.AliasDescription]:
        return [
            models.AliasDescription(alias_name=alias, collection_name=target)
            for alias, target in sorted(self._aliases.items())
        ]

    def change_aliases(self, actions: Iterable[models.AliasOperations]) -> None:
        """Apply all changes or none. Raises NotFound, AlreadyExists, ValidationFailed."""
        changed = dict(self._aliases)
        for action in actions:
            match action:
                case models.CreateAliasOperation(create_alias=create):
                    if create.collection_name not in self._collections:
                        raise NotFound(f"Collection `{create.collection_name}` doesn't exist!")
                    self._check_alias(create.alias_name)
                    changed[create.alias_name] = create.collection_name
                case models.DeleteAliasOperation(delete_alias=delete):
                    changed.pop(delete.alias_name, None)
                case models.RenameAliasOperation(rename_alias=rename):
                    if rename.old_alias_name not in changed:
                        raise NotFound(f"Alias {rename.old_alias_name} does not exists!")
                    self._check_alias(rename.new_alias_name)
                    changed[rename.new_alias_name] = changed.pop(rename.old_alias_name)
        if changed != self._aliases:
            self._save_aliases(changed)

    def _check_alias(self, alias: str) -> None:
        _check_name(alias)
        if alias in self._collections:
            raise AlreadyExists(f"Collection `{alias}` already exists!")

    def _save_aliases(self, aliases: dict[str, str]) -> None:
        write_with_copy(self._aliases_file, json.dumps(aliases, sort_keys=True).encode())
        self._aliases = aliases


def _check_name(name: str) -> None:
    if _NAME.fullmatch(name) is None:
        raise ValidationFailed("[name: a collection or alias name is 1 to 255 letters, digits, `.`, `_` and `-`]")
