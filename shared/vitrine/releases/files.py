"""Reading the files of a release, or weights from a caller. They are data from outside: a pipe in their place
would hold its reader up for ever, a device never ends, and a link leads out of the folder.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import BinaryIO, Final

from vitrine.catalogs.opening import open_regular

_CHUNK_BYTES: Final = 1 << 20


def open_file(path: Path) -> BinaryIO:
    """Open a regular file to read. Raises FileNotFoundError, and OSError for a link, a pipe, a device or a folder."""
    return os.fdopen(open_regular(path.parent.resolve() / path.name), "rb")


def file_bytes(path: Path) -> int:
    """The size of a regular file. Raises as `open_file` does."""
    with open_file(path) as file:
        return os.fstat(file.fileno()).st_size


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, as hex. Raises as `open_file` does."""
    digest = hashlib.sha256()
    with open_file(path) as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def read_file(path: Path, *, max_bytes: int) -> bytes:
    """A whole file. Raises as `open_file` does, and ValueError where it is larger than `max_bytes`."""
    with open_file(path) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"{path.name} is larger than {max_bytes} bytes")
    return data
