"""The storage of releases: one immutable folder for each release, on disk or on any storage that fsspec supports.

A release appears whole or not at all. On disk its folder is written under a temporary name, flushed and renamed. Object
storage has no rename: there the manifest is written last, and a folder without one is not a release. The hash of each
file is checked before use.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, Final

import fsspec
from fsspec.implementations.local import LocalFileSystem

from vitrine.atomic_write import atomic_folder
from vitrine.errors import ReleaseCorrupt, ReleaseNotFound, ReleaseOfOtherKind
from vitrine.qdrant.naming import RELEASE_ID, model_of_release
from vitrine.releases.manifest import (
    MAX_MANIFEST_BYTES,
    MAX_WEIGHTS_BYTES,
    Manifest,
    ParserManifest,
    parse_manifest,
)
from vitrine.safe_read import file_bytes, file_sha256, read_file

# The model of the parsers that recipes/parser.toml trains.
PARSER_MODEL: Final = "vitrine-parser"
MANIFEST_FILE: Final = "manifest.json"
WEIGHTS_FILE: Final = "weights.safetensors"
PROJECTION_FILE: Final = "projection.safetensors"
CLASSIFIER_FILE: Final = "classifier.safetensors"
# The lineage (`vitrine.releases.lineage`). Older releases have none.
SPLIT_FILE: Final = "split.safetensors"
# Files of the training for people to read: the recipe, the split, curves and tables.
TRAINING_FOLDER: Final = "training"
_MAX_TRAINING_FILE_BYTES: Final = 64_000_000


class ReleaseStore:
    """The releases under an fsspec URL. `cache_dir` holds local copies of releases on remote storage."""

    def __init__(self, url: str, *, cache_dir: Path) -> None:
        self._fs: Any
        self._fs, root = fsspec.core.url_to_fs(url)
        self._root = PurePosixPath(root)
        self._on_disk = isinstance(self._fs, LocalFileSystem)
        self._cache_dir = cache_dir

    @property
    def folder(self) -> Path | None:
        """The folder of the releases; None on remote storage."""
        return Path(self._root) if self._on_disk else None

    def ids(self) -> list[str]:
        """The ids of all releases, sorted."""
        self._fs.invalidate_cache()
        try:
            names = [PurePosixPath(name).name for name in self._fs.ls(str(self._root), detail=False)]
        except FileNotFoundError:
            return []
        candidates = [name for name in names if RELEASE_ID.fullmatch(name)]
        return sorted(name for name in candidates if self._fs.exists(self._path(name, MANIFEST_FILE)))

    def manifest(self, release_id: str) -> Manifest:
        """The manifest of a release that embeds pictures.

        Raises ReleaseNotFound, ReleaseCorrupt, and ReleaseOfOtherKind for a parser.
        """
        return Manifest.parse(self._manifest_bytes(release_id), release_id=release_id)

    def parser_manifest(self, release_id: str) -> ParserManifest:
        """The manifest of a parser. Raises ReleaseNotFound, ReleaseCorrupt, and ReleaseOfOtherKind for any other."""
        found = self.any_manifest(release_id)
        if isinstance(found, ParserManifest):
            return found
        raise ReleaseOfOtherKind(f"release {release_id!r} embeds pictures and finds no garments: name a parser")

    def any_manifest(self, release_id: str) -> Manifest | ParserManifest:
        """The manifest of a release of either kind. Raises ReleaseNotFound, ReleaseCorrupt."""
        return parse_manifest(self._manifest_bytes(release_id), release_id=release_id)

    def _manifest_bytes(self, release_id: str) -> bytes:
        """Raises ReleaseNotFound, ReleaseCorrupt."""
        try:
            model_of_release(release_id)
            return self._read(self._path(release_id, MANIFEST_FILE), max_bytes=MAX_MANIFEST_BYTES)
        except ReleaseCorrupt:
            raise
        except Exception as error:
            if isinstance(error, FileNotFoundError | NotADirectoryError) or not RELEASE_ID.fullmatch(release_id):
                raise ReleaseNotFound(f"there is no release {release_id[:140]!r}") from error
            raise

    def newest(self, model: str) -> str | None:
        """The release of `model` that was stored last; None if there is none."""
        own = [release_id for release_id in self.ids() if model_of_release(release_id) == model]
        return max(own, key=lambda release_id: (self._stored_at(release_id), release_id), default=None)

    def local_folder(self, release_id: str) -> Path:
        """A local folder with the release, downloaded if necessary, with the hash of each file checked.

        Raises ReleaseNotFound, ReleaseCorrupt.
        """
        manifest = self.any_manifest(release_id)
        if self._on_disk:
            folder = Path(self._path(release_id))
        else:
            folder = self._cache_dir / release_id
            if not (folder / MANIFEST_FILE).exists():
                self._place(folder, lambda aside: self._fetch(release_id, aside))
        for name, expected in _hashes(manifest).items():
            try:
                # The size is checked first: hashing an endless file would never end.
                fits = file_bytes(folder / name) <= _max_bytes(manifest, name)
                found = file_sha256(folder / name) if fits else None
            except FileNotFoundError as error:
                raise ReleaseCorrupt(f"release {release_id!r} lacks its {name}; restore it or make it again") from error
            except OSError as error:
                raise ReleaseCorrupt(_not_regular(release_id, name, error)) from error
            if found != expected:
                if not self._on_disk:
                    _discard(folder)
                raise ReleaseCorrupt(
                    f"the {name} of release {release_id!r} does not have the hash of its manifest; "
                    "restore it or make the release again"
                )
        return folder

    def training_file(self, release_id: str, name: str) -> bytes | None:
        """A file of the release's training; None if there is no file of that name."""
        try:
            return self._read(self._path(release_id, f"{TRAINING_FOLDER}/{name}"), max_bytes=_MAX_TRAINING_FILE_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def publish(
        self,
        manifest: Manifest | ParserManifest,
        *,
        weights: Path,
        projection: Path | None = None,
        classifier: Path | None = None,
        split: Path | None = None,
        training: Path | None = None,
    ) -> str:
        """Store a release and return its id. Storing a stored release again changes nothing.

        The manifest holds the hashes of the files. A parser has no projection. `training` is a folder of files to
        store with the release.
        """
        release_id = manifest.release_id
        if release_id in self.ids():
            return release_id
        files = {WEIGHTS_FILE: weights}
        if projection is not None:
            files[PROJECTION_FILE] = projection
        if classifier is not None:
            files[CLASSIFIER_FILE] = classifier
        if split is not None:
            files[SPLIT_FILE] = split
        if training is not None:
            files |= {f"{TRAINING_FOLDER}/{path.name}": path for path in sorted(training.iterdir()) if path.is_file()}

        def fill(aside: Path) -> None:
            for name, source in files.items():
                (aside / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(source, aside / name)
            (aside / MANIFEST_FILE).write_bytes(manifest.canonical_json())

        if self._on_disk:
            self._place(Path(self._path(release_id)), fill)
            return release_id
        for name, source in files.items():
            self._fs.makedirs(str(PurePosixPath(self._path(release_id, name)).parent), exist_ok=True)
            self._fs.put_file(str(source), self._path(release_id, name))
        self._fs.pipe_file(self._path(release_id, MANIFEST_FILE), manifest.canonical_json())
        return release_id

    def _read(self, path: str, *, max_bytes: int) -> bytes:
        """A small file of a release. Raises FileNotFoundError, and ReleaseCorrupt if it is irregular or too large."""
        file = PurePosixPath(path)
        try:
            if self._on_disk:
                return read_file(Path(path), max_bytes=max_bytes)
            size_bytes = self._fs.size(path)
            if size_bytes is not None and size_bytes > max_bytes:
                raise ValueError(f"{file.name} is larger than {max_bytes} bytes")
            data: bytes = self._fs.cat_file(path)
        except (FileNotFoundError, NotADirectoryError):
            raise
        except ValueError as error:
            raise ReleaseCorrupt(f"release {file.parent.name!r} cannot be read: {error}") from error
        except OSError as error:
            if not self._on_disk:
                raise
            raise ReleaseCorrupt(_not_regular(file.parent.name, file.name, error)) from error
        return data

    def _path(self, release_id: str, name: str | None = None) -> str:
        path = self._root / release_id
        return str(path / name if name else path)

    def _stored_at(self, release_id: str) -> float:
        stored = self._fs.modified(self._path(release_id, MANIFEST_FILE))
        return float(stored.timestamp())

    def _fetch(self, release_id: str, aside: Path) -> None:
        manifest = self.any_manifest(release_id)
        for name in (*_hashes(manifest), MANIFEST_FILE):
            size_bytes = self._fs.size(self._path(release_id, name))
            if size_bytes is not None and size_bytes > _max_bytes(manifest, name):
                raise ReleaseCorrupt(f"the {name} of release {release_id!r} is larger than its manifest says")
            self._fs.get_file(self._path(release_id, name), str(aside / name))

    @staticmethod
    def _place(folder: Path, fill: Callable[[Path], None]) -> None:
        """Create `folder` with what `fill` writes, atomically. If another process is first, its folder stays."""
        try:
            with atomic_folder(folder) as aside:
                fill(aside)
        except OSError:
            if not (folder / MANIFEST_FILE).exists():
                raise


def _discard(folder: Path) -> None:
    """Remove a local copy. It is renamed first, so that no process, also after a kill, finds a part of it."""
    aside = folder.parent / f".{folder.name}.{uuid.uuid4().hex}.tmp"
    with suppress(FileNotFoundError):  # another process was first
        folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def _max_bytes(manifest: Manifest | ParserManifest, name: str) -> int:
    return manifest.weights.size_bytes if name == WEIGHTS_FILE else MAX_WEIGHTS_BYTES


def _not_regular(release_id: str, name: str, error: OSError) -> str:
    return (
        f"the {name} of release {release_id[:140]!r} cannot be read ({error.strerror or type(error).__name__}): "
        "it must be a regular file, not a link, a pipe or a device"
    )


def _hashes(manifest: Manifest | ParserManifest) -> dict[str, str]:
    """The files of a release and their hashes."""
    if isinstance(manifest, ParserManifest):
        return {WEIGHTS_FILE: manifest.weights.sha256}
    hashes = {
        WEIGHTS_FILE: manifest.weights.sha256,
        PROJECTION_FILE: manifest.projection.sha256,
        CLASSIFIER_FILE: manifest.classifier_sha256,
        SPLIT_FILE: manifest.split_sha256,
    }
    return {name: expected for name, expected in hashes.items() if expected is not None}
