"""Products put or deleted through the API, kept beside the catalogue so that a later indexing carries them over.

Each product has one folder with one record, `record.json`, which is either the product or a tombstone; replacing that
file is the one step that counts, so a crash between any two steps leaves the state before or after, never a mixture.
A picture is written under a name of its content before the record names it, and removed after the record no longer
does. Changes to a dataset are made one at a time, across threads and processes; readers need no lock. A damaged record
counts for its own product alone (`vitrine.uploads.records`); the next change of that product takes its place.

    <uploads_dir>/<dataset>/<product>/record.json
    <uploads_dir>/<dataset>/<product>/<sha256>.jpg|.png|.webp
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from vitrine.catalogs.roots import resolve_picture
from vitrine.disk_space import free_bytes, is_full, require_space, storage_full
from vitrine.images.checks import SUFFIXES, check_image
from vitrine.products import (
    AttributeValue,
    Product,
    check_attribute_name,
    check_dataset_name,
    check_product_id,
    stored_name,
)
from vitrine.telemetry import get_logger
from vitrine.uploads.records import (
    RECORD,
    DamagedUpload,
    Record,
    RecordDamaged,
    check_value,
    describe_damage,
    folder_name,
    is_set_aside,
    make_way,
    read_record,
    set_aside_damage,
)

Origin = Literal["catalog", "upload"]

_LOCK: Final = ".lock"
_STARTED: Final = ".new-"  # the beginning of a file that is still being written
_DROPPED: Final = ".dropped-"  # the beginning of a dataset's folder that is being removed
_SETTING: Final = "VITRINE_UPLOADS_DIR"


@dataclass(frozen=True, slots=True)
class Uploads:
    """What was put into and deleted from a dataset, as one look finds it. `products` is by id and ordered by it."""

    products: Mapping[str, Product]
    deleted: frozenset[str]
    damaged: tuple[DamagedUpload, ...] = ()


class Overlay:
    """The local store of uploaded products. `uploads_dir` is made when the first product comes."""

    def __init__(self, uploads_dir: Path, *, reserve_bytes: int = 0) -> None:
        """`reserve_bytes` stay free on the disk: what would go below is not put."""
        self._root = uploads_dir.resolve()
        self._reserve_bytes = reserve_bytes
        self._damage_logged: set[Path] = set()

    @property
    def root(self) -> Path:
        """The folder that the pictures' paths are relative to, absolute."""
        return self._root

    def put(self, product: Product, picture: bytes) -> Product:
        """Store a product and its picture file, whose format is kept, in place of what is there of that id.

        Returns the product with `picture` as its path relative to the uploads folder. On return it is on the disk.
        Raises ParameterInvalid for a name, an id or a value that cannot be, ImageRejected for a file whose header is
        no picture's, and StorageFull; what is there stays as it was.
        """
        folder = self._folder(product.dataset, product.id)
        for name, value in product.attributes.items():
            check_value(check_attribute_name(name), value)
        suffix = SUFFIXES[check_image(picture).format]
        file_name = f"{hashlib.sha256(picture).hexdigest()[:32]}{suffix}"
        record = Record(
            dataset=product.dataset, product_id=product.id, picture=file_name, attributes=dict(product.attributes)
        )
        require_space(self._root, len(picture), reserve_bytes=self._reserve_bytes, setting=_SETTING)
        with self._full_disk_told(), self._changing(product.dataset):
            set_aside_damage(folder)
            _make_folder(folder)
            _write(folder / file_name, picture)
            _write(folder / RECORD, record.model_dump_json(indent=1).encode())
            _sweep(folder, keep=file_name)
        return self._product(record, folder)

    def delete(self, dataset: str, product_id: str) -> None:
        """Write a tombstone, so that the catalogue's product of this id counts as deleted, and remove the picture.

        It is small, and room is made by it, so the reserve is open to it. Raises StorageFull.
        """
        folder = self._folder(dataset, product_id)
        record = Record(dataset=dataset, product_id=product_id, picture=None, attributes={})
        with self._full_disk_told(), self._changing(dataset):
            set_aside_damage(folder)
            _make_folder(folder)
            _write(folder / RECORD, record.model_dump_json(indent=1).encode())
            _sweep(folder, keep=None)

    def restore(self, dataset: str, product_id: str) -> bool:
        """Remove a tombstone, so that the catalogue's product counts again. Returns False if there was none."""
        folder = self._folder(dataset, product_id)
        if not self.is_deleted(dataset, product_id):
            return False
        with self._changing(dataset):
            if not self.is_deleted(dataset, product_id):
                return False
            set_aside_damage(folder)
            (folder / RECORD).unlink(missing_ok=True)
            _sync_folder(folder)
        return True

    def drop(self, dataset: str) -> None:
        """Remove all that was put into or deleted from a dataset. What a crash leaves of it goes with the next drop."""
        top = self._root / check_dataset_name(dataset)
        if top.is_dir():
            with self._changing(dataset):
                top.rename(self._root / f"{_DROPPED}{secrets.token_hex(8)}")
                _sync_folder(self._root)
        for left in self._root.glob(f"{_DROPPED}*"):
            with suppress(FileNotFoundError):  # another drop removes it at the same moment
                shutil.rmtree(left)

    def counts(self) -> dict[str, tuple[int, int]]:
        """For each dataset that has any, the number of uploaded products and of deleted ones."""
        try:
            names = [entry.name for entry in os.scandir(self._root) if entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return {}
        found = {}
        for name in names:
            if name.startswith("."):
                continue
            deleted = [_is_tombstone(record) for _, record in self._records(name)]
            if deleted:
                found[name] = (len(deleted) - sum(deleted), sum(deleted))
        return found

    def get(self, dataset: str, product_id: str) -> Product | None:
        """The uploaded product; None if it is missing or deleted, or if its record is damaged."""
        folder = self._folder(dataset, product_id)
        record = self._read(folder)
        return self._product(record, folder) if isinstance(record, Record) and record.picture else None

    def is_deleted(self, dataset: str, product_id: str) -> bool:
        """Whether the last change to this id was a deletion."""
        record = self._read(self._folder(dataset, product_id))
        return record is not None and _is_tombstone(record)

    def uploads(self, dataset: str) -> Uploads:
        """All that was put into and deleted from a dataset, and the records that are damaged."""
        products, deleted, damaged = [], set(), []
        for folder, record in self._records(dataset):
            if isinstance(record, DamagedUpload):
                damaged.append(record)
                if record.deleted and record.product_id is not None:
                    deleted.add(record.product_id)
            elif record.picture is None:
                deleted.add(record.product_id)
            else:
                products.append(self._product(record, folder))
        by_id = {product.id: product for product in sorted(products, key=lambda product: product.id)}
        return Uploads(by_id, frozenset(deleted), tuple(sorted(damaged, key=lambda one: one.folder)))

    def products(self, dataset: str) -> tuple[Product, ...]:
        """Every uploaded product of a dataset, ordered by id."""
        return tuple(self.uploads(dataset).products.values())

    def tombstones(self, dataset: str) -> frozenset[str]:
        """The ids of a dataset that were deleted."""
        return self.uploads(dataset).deleted

    def picture_path(self, product: Product) -> Path:
        """The file of an uploaded product's picture. Raises as `resolve_picture` does."""
        return resolve_picture(self._root, product.picture)

    def _records(self, dataset: str) -> Iterator[tuple[Path, Record | DamagedUpload]]:
        top = self._root / check_dataset_name(dataset)
        try:
            folders = [entry.path for entry in os.scandir(top) if entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return
        for folder in map(Path, folders):
            record = None if is_set_aside(folder) else self._read(folder)
            if record is not None:
                yield folder, record

    def _read(self, folder: Path) -> Record | DamagedUpload | None:
        try:
            return read_record(folder)
        except RecordDamaged as error:
            damaged = describe_damage(folder, error)
            if folder not in self._damage_logged:  # an indexing looks many times
                self._damage_logged.add(folder)
                get_logger("overlay").warning("upload_damaged", product=damaged.product_id, detail=damaged.detail)
            return damaged

    def _folder(self, dataset: str, product_id: str) -> Path:
        return self._root / check_dataset_name(dataset) / folder_name(check_product_id(product_id))

    def _product(self, record: Record, folder: Path) -> Product:
        picture = f"{record.dataset}/{folder.name}/{record.picture}"
        # A record may be older than the reservation of a name.
        attributes: dict[str, AttributeValue] = {stored_name(name): value for name, value in record.attributes.items()}
        return Product(record.dataset, record.product_id, picture, attributes)

    @contextmanager
    def _full_disk_told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not is_full(error):
                raise
            free = free_bytes(self._root)
            raise storage_full(self._root, setting=_SETTING, free=free, reserve_bytes=self._reserve_bytes) from error

    @contextmanager
    def _changing(self, dataset: str) -> Iterator[None]:
        """Hold the dataset's lock. The kernel lets go of it when its holder dies."""
        top = self._root / dataset
        while (descriptor := _locked(top)) is None:
            continue
        try:
            yield
        finally:
            os.close(descriptor)


def merge(catalog_products: Iterable[Product], uploads: Uploads) -> list[tuple[Product, Origin]]:
    """A catalogue's products with the uploads over them, each with where it and its picture come from.

    An upload takes the place of the catalogue's product of its id, a deleted product is left out, and new uploads
    come last.
    """
    new = dict(uploads.products)
    # Of a very long id the folder's name is all that is known.
    hidden = {one.folder for one in uploads.damaged if one.deleted and one.product_id is None}
    merged: list[tuple[Product, Origin]] = []
    for product in catalog_products:
        upload = new.pop(product.id, None)
        if upload is not None:
            merged.append((upload, "upload"))
        elif product.id not in uploads.deleted and not (hidden and folder_name(product.id) in hidden):
            merged.append((product, "catalog"))
    merged.extend((upload, "upload") for upload in new.values())
    return merged


def _is_tombstone(record: Record | DamagedUpload) -> bool:
    return record.deleted if isinstance(record, DamagedUpload) else record.picture is None


def _locked(top: Path) -> int | None:
    """The descriptor that holds the lock of a dataset's folder, or None where the folder was dropped meanwhile."""
    _make_folder(top)
    try:
        descriptor = os.open(top / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # The lock of a folder that is no longer there keeps nobody out of the new one.
        if os.path.samestat(os.fstat(descriptor), (top / _LOCK).stat()):
            return descriptor
    except FileNotFoundError:
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _write(path: Path, data: bytes) -> None:
    """Put a file in place whole: written beside, on the disk, renamed, and the rename on the disk too."""
    make_way(path)
    started = path.with_name(f"{_STARTED}{path.name}")  # one writer at a time: the dataset's lock is held
    with started.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    started.replace(path)
    _sync_folder(path.parent)


def _sweep(folder: Path, *, keep: str | None) -> None:
    """Remove what the record does not name: the picture before it, and what a crash left."""
    for path in folder.iterdir():
        if path.name not in {RECORD, keep} and not is_set_aside(path) and not path.is_dir():
            path.unlink()


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
