"""Quarantine: damaged data is moved to a dated folder with a note, never deleted, so that the rest can be served.

<storage>/damaged/<date>-<number>/<what was moved>
<storage>/damaged/<date>-<number>/damage.json
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from vitrine.atomic_write import sync_folder, write_bytes
from vitrine.qdrant.naming import model_of_release, parse_collection_name
from vitrine.telemetry import get_logger

_FOLDER: Final = "damaged"
_NOTE: Final = "damage.json"
_MAX_REASON_CHARS: Final = 500


class Damage(BaseModel):
    """`damage.json`.

    collection: the one that is not served because of this, if its name is known.
    healed: the data was restored from its copy, so no remedy is needed.
    """

    model_config = ConfigDict(frozen=True)

    what: str
    reason: str
    at: str
    folder: str
    collection: str | None = None
    remedy: str
    healed: bool = False

    @property
    def description(self) -> str:
        return f"{self.what} was damaged and is set aside in {self.folder} ({self.reason})"


class Quarantine:
    """The damaged data of a storage folder."""

    def __init__(self, storage: Path) -> None:
        self._folder = storage / _FOLDER

    def add(
        self,
        path: Path,
        *,
        what: str,
        reason: str,
        remedy: str,
        collection: str | None = None,
        healed: bool = False,
    ) -> None:
        """Move a file or folder to the quarantine and log it. Never raises OSError.

        A `healed` file is copied instead, because it is about to be replaced. If the move fails, for example on a full
        disk, the file stays where it is, unused, until the next start.
        """
        log = get_logger("local-qdrant")
        now = datetime.now(UTC)
        try:
            folder = self._new_folder(now)
            damage = Damage(
                what=what,
                reason=reason[:_MAX_REASON_CHARS],
                at=now.isoformat(timespec="seconds"),
                folder=str(folder),
                collection=collection,
                remedy=remedy,
                healed=healed,
            )
            write_bytes(folder / _NOTE, damage.model_dump_json(indent=1).encode())
            if healed:
                shutil.copyfile(path, folder / path.name)
            else:
                path.rename(folder / path.name)
            for changed in (folder, self._folder, path.parent):
                sync_folder(changed)
        except OSError as error:
            log.error("damage", detail=f"{what} is damaged ({reason})", remedy=remedy, not_set_aside=str(error))
        else:
            log.error("damage", detail=damage.description, remedy=remedy)

    def all(self) -> Iterator[Damage]:
        """Everything in the quarantine, oldest first."""
        if not self._folder.is_dir():
            return
        for folder in sorted(self._folder.iterdir()):
            try:
                yield Damage.model_validate_json((folder / _NOTE).read_bytes())
            except (OSError, ValidationError):  # a user's own file, or a move that a crash interrupted
                continue

    def _new_folder(self, now: datetime) -> Path:
        self._folder.mkdir(exist_ok=True)
        for number in range(1, 10_000):
            folder = self._folder / f"{now:%Y%m%d-%H%M%S}-{number}"
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
        raise FileExistsError(f"{self._folder} contains no free name")


def rebuild_command(collection: str | None) -> str:
    """The advice how to rebuild a collection."""
    parsed = parse_collection_name(collection) if collection else None
    if parsed is None:
        return "index the dataset again: vitrine index --dataset NAME --model MODEL, with the catalogue's folder"
    dataset, release_id = parsed
    return (
        f"index the dataset again: vitrine index --dataset {dataset} --model {model_of_release(release_id)} "
        f"--release {release_id}, with the catalogue's folder"
    )
