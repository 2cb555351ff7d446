"""The folders where catalogues may be, and the safe way from a picture's relative path to its file.

Every path from a request, a job or a CSV goes through this module. Links are resolved, and a path outside its root is
refused before anything reveals whether it exists.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Final

from vitrine.catalogs.downloads import Downloads, is_link
from vitrine.errors import CatalogNotFound, CatalogRootRefused, ImageRejected, PictureNotFound, SettingsInvalid
from vitrine.images.checks import DEFAULT_LIMITS
from vitrine.safe_read import open_regular
from vitrine.settings import CommonSettings

_MAX_ROOTS_FILE_BYTES: Final = 1_000_000


def allowed_roots(settings: CommonSettings) -> tuple[Path, ...]:
    """The configured roots and those of the roots file, which is read at each call.

    In the file, blank lines and lines that begin with `#` are ignored; a missing file adds nothing. Raises
    SettingsInvalid if it cannot be read or is too large: a truncated line would name another, wider folder.
    """
    roots = list(settings.catalog_roots)
    if settings.catalog_roots_file is not None:
        try:
            with settings.catalog_roots_file.open("rb") as file:
                data = file.read(_MAX_ROOTS_FILE_BYTES + 1)
        except FileNotFoundError:
            data = b""
        except OSError as error:
            raise SettingsInvalid(f"the file of catalogue roots cannot be read: {error.strerror}") from error
        if len(data) > _MAX_ROOTS_FILE_BYTES:
            raise SettingsInvalid(f"the file of catalogue roots has more than {_MAX_ROOTS_FILE_BYTES} bytes")
        lines = os.fsdecode(data).splitlines()
        roots += [Path(line.strip()) for line in lines if line.strip() and not line.lstrip().startswith("#")]
    return tuple(dict.fromkeys(roots))


def resolve_catalog_root(root: str | Path, allowed: Iterable[Path]) -> Path:
    """The folder `root`, with its links resolved. It must be an allowed folder or inside one.

    Raises CatalogRootRefused if it is not, whether or not it exists, and CatalogNotFound if it is not a folder.
    """
    try:
        resolved = Path(root).resolve()
        permitted = any(resolved.is_relative_to(folder.resolve()) for folder in allowed)
        is_folder = permitted and resolved.is_dir()
    except (OSError, ValueError, RuntimeError) as error:  # a NUL in the path, a loop of links, too long a name
        raise CatalogRootRefused(f"the catalogue folder {_shown(root)} is not a usable path") from error
    if not permitted:
        raise CatalogRootRefused(
            f"the catalogue folder {_shown(root)} is outside the allowed catalogue roots; "
            "add its folder to VITRINE_CATALOG_ROOTS"
        )
    if not is_folder:
        raise CatalogNotFound(f"there is no catalogue folder {_shown(root)}")
    return resolved


def resolve_picture(root: Path, picture: str) -> Path:
    """The file of a picture, given by its path relative to `root` with forward slashes. The result has no links.

    `root` is absolute and without links, as `resolve_catalog_root` returns it. Raises CatalogRootRefused if the path or
    a link in it leads out of the root, or if the root has become a link, and PictureNotFound if there is no regular
    file.
    """
    relative = PurePosixPath(picture)
    if not picture or "\0" in picture or "\\" in picture or relative.is_absolute() or ".." in relative.parts:
        raise CatalogRootRefused(f"the picture path {_shown(picture)} is not a path inside the catalogue")
    try:
        base = root.resolve()
        resolved = (base / relative).resolve()
        is_file = resolved.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # too long a name, not UTF-8, a loop of links
        raise PictureNotFound(f"there is no picture {_shown(picture)}") from error
    if base != root:
        raise CatalogRootRefused(f"the catalogue folder {_shown(root)} was replaced by a link to another folder")
    if not resolved.is_relative_to(base):
        raise CatalogRootRefused(f"the picture {_shown(picture)} is a link out of the catalogue")
    if not is_file:
        raise PictureNotFound(f"there is no picture {_shown(picture)}")
    return resolved


def read_picture(
    root: Path, picture: str, *, downloads: Downloads | None = None, max_bytes: int = DEFAULT_LIMITS.max_bytes
) -> bytes:
    """The bytes of a picture: a file below `root`, or one of `downloads` if it is a link.

    Raises as `resolve_picture` does, and ImageRejected("bytes_exceeded") if the file is larger than `max_bytes`. A file
    or folder that is replaced by a link, a pipe or a device between the check and the read is refused.
    """
    if downloads is not None and is_link(picture):
        return downloads.read(picture, max_bytes=max_bytes)
    path = resolve_picture(root, picture)
    try:
        file = open_regular(path)
    except OSError as error:
        raise PictureNotFound(f"the picture {_shown(picture)} cannot be opened as a regular file") from error
    with file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ImageRejected("bytes_exceeded", f"the picture file has more than {max_bytes} bytes")
    return data


def _shown(path: str | Path) -> str:
    return repr(str(path)[:200])
