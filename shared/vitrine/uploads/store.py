"""Products that were put or deleted through the API. They are stored apart from the catalogue and survive reindexing.

Each product has a folder with one `record.json`, which is the product or a tombstone. Replacing that file is the atomic
step of every change, so a crash leaves the state before or after, never a mixture. A picture is named by its content;
it is written before the record refers to it, and removed after no record does. Changes to a dataset are serialised
across threads and processes by a lock; readers need none. The next change of a product replaces a damaged record
(`vitrine.uploads.records`).

    <uploads_dir>/<dataset>/<product>/record.json
    <uploads_dir>/<dataset>/<product>/<sha256>.jpg|.png|.webp|.heic|…
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from vitrine.atomic_write import sync_folder, write_bytes
from vitrine.catalogs.roots import resolve_picture
from vitrine.disk_space import free_bytes, is_full, require_space, storage_full
from vitrine.images.checks import check_image
from vitrine.images.formats import SUFFIXES
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
_DROPPED: Final = ".dropped-"  # the prefix of a dataset's folder that is being removed
_SETTING: Final = "VITRINE_UPLOADS_DIR"


@dataclass(frozen=True, slots=True)
class Uploads:
    """A snapshot of a dataset's uploads: `products` by id, in the order of the ids, and the ids of `deleted` ones."""

    products: Mapping[str, Product]
    deleted: frozenset[str]
    damaged: tuple[DamagedUpload, ...] = ()


class UploadStore:
    """The uploaded and deleted products of all datasets, in a local folder that is created on first use.

    `put` keeps `reserve_bytes` of the disk free.
    """

    def __init__(self, uploads_dir: Path, *, reserve_bytes: int = 0) -> None:
        self._root = uploads_dir.resolve()
        self._reserve_bytes = reserve_bytes
        self._damage_logged: set[Path] = set()

    @property
    def root(self) -> Path:
        """The absolute folder that the paths of pictures are relative to."""
        return self._root

    def put(self, product: Product, picture: bytes, more_pictures: Sequence[bytes] = ()) -> Product:
        """Store a product and its picture files durably, in place of an earlier one with the same id.

        Returns the product with its pictures as paths relative to `root`. Raises ParameterInvalid for an invalid name,
        id or value, ImageRejected if a file has no valid picture header, and StorageFull. After an error the earlier
        product is unchanged.
        """
        folder = self._folder(product.dataset, product.id)
        for name, value in product.attributes.items():
            check_value(check_attribute_name(name), value)
        files = {_file_name(data): data for data in (picture, *more_pictures)}
        face, *others = files
        record = Record(
            dataset=product.dataset,
            product_id=product.id,
            picture=face,
            more_pictures=others,
            attributes=dict(product.attributes),
            variant_of=None if product.variant_of is None else check_product_id(product.variant_of),
        )
        size_bytes = sum(map(len, files.values()))
        require_space(self._root, size_bytes, reserve_bytes=self._reserve_bytes, setting=_SETTING)
        with self._reporting_full_disk(), self._changing(product.dataset):
            set_aside_damage(folder)
            _make_folder(folder)
            for name, data in files.items():
                _write(folder / name, data)
            _write(folder / RECORD, record.to_json())
            _sweep(folder, keep=files)
        return self._product(record, folder)

    def delete(self, dataset: str, product_id: str) -> None:
        """Delete a product: write a tombstone, which also hides the catalogue's product, and remove the picture.

        May use the disk reserve, because it frees space. Raises StorageFull.
        """
        folder = self._folder(dataset, product_id)
        record = Record(dataset=dataset, product_id=product_id, picture=None, attributes={})
        with self._reporting_full_disk(), self._changing(dataset):
            set_aside_damage(folder)
            _make_folder(folder)
            _write(folder / RECORD, record.to_json())
            _sweep(folder, keep=())

    def restore(self, dataset: str, product_id: str) -> bool:
        """Remove a tombstone, so that the catalogue's product is used again. Returns False if there was none."""
        folder = self._folder(dataset, product_id)
        if not self.is_deleted(dataset, product_id):
            return False
        with self._changing(dataset):
            if not self.is_deleted(dataset, product_id):
                return False
            set_aside_damage(folder)
            (folder / RECORD).unlink(missing_ok=True)
            sync_folder(folder)
        return True

    def drop(self, dataset: str) -> None:
        """Remove all uploads and tombstones of a dataset, and leftovers of a `drop` that was interrupted."""
        top = self._root / check_dataset_name(dataset)
        if top.is_dir():
            with self._changing(dataset):
                top.rename(self._root / f"{_DROPPED}{secrets.token_hex(8)}")
                sync_folder(self._root)
        for left in self._root.glob(f"{_DROPPED}*"):
            with suppress(FileNotFoundError):  # a concurrent drop removed it
                shutil.rmtree(left)

    def counts(self) -> dict[str, tuple[int, int]]:
        """The number of uploaded and of deleted products of each dataset that has any."""
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

    def has_any(self, dataset: str) -> bool:
        """Whether a product of the dataset was ever put or deleted. Quicker than `counts`."""
        return (self._root / check_dataset_name(dataset)).is_dir()

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
        """The uploaded and deleted products of a dataset, and its damaged records."""
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
        """The ids of the deleted products of a dataset."""
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
            if folder not in self._damage_logged:  # logged once; indexing reads it many times
                self._damage_logged.add(folder)
                get_logger("uploads").warning("upload_damaged", product=damaged.product_id, detail=damaged.detail)
            return damaged

    def _folder(self, dataset: str, product_id: str) -> Path:
        return self._root / check_dataset_name(dataset) / folder_name(check_product_id(product_id))

    def _product(self, record: Record, folder: Path) -> Product:
        picture, *others = (f"{record.dataset}/{folder.name}/{name}" for name in record.files)
        # The record may have been written before a name became reserved.
        attributes: dict[str, AttributeValue] = {stored_name(name): value for name, value in record.attributes.items()}
        return Product(record.dataset, record.product_id, picture, attributes, tuple(others), record.variant_of)

    @contextmanager
    def _reporting_full_disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not is_full(error):
                raise
            free = free_bytes(self._root)
            raise storage_full(self._root, setting=_SETTING, free=free, reserve_bytes=self._reserve_bytes) from error

    @contextmanager
    def _changing(self, dataset: str) -> Iterator[None]:
        """Hold the dataset's lock. The kernel releases it if the process dies."""
        top = self._root / dataset
        while (descriptor := _locked(top)) is None:
            continue
        try:
            yield
        finally:
            os.close(descriptor)


def merge(catalog_products: Iterable[Product], uploads: Uploads) -> list[tuple[Product, Origin]]:
    """Combine a catalogue's products with the uploads. The second item says where a product and its picture come from.

    An upload replaces the catalogue's product with its id, deleted products are left out, and new uploads come last.
    """
    new = dict(uploads.products)
    # For very long ids only the folder's name is known.
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
    """A descriptor that holds the lock of a dataset's folder, or None if the folder was dropped meanwhile."""
    _make_folder(top)
    try:
        descriptor = os.open(top / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # A lock in a removed folder does not protect the new folder.
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
    make_way(path)
    write_bytes(path, data)


def _file_name(picture: bytes) -> str:
    return f"{hashlib.sha256(picture).hexdigest()[:32]}{SUFFIXES[check_image(picture).format]}"


def _sweep(folder: Path, *, keep: Collection[str]) -> None:
    """Remove files that the record does not refer to: earlier pictures, and leftovers of a crash."""
    for path in folder.iterdir():
        if path.name not in {RECORD, *keep} and not is_set_aside(path) and not path.is_dir():
            path.unlink()


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)
