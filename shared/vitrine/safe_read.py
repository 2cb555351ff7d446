"""Read files that users and other programs put in place: catalogues, pictures, uploads, releases.

No link in the path is followed, so the file that was checked is the file that is read. A pipe, which would block its
reader, and a device, which never ends, are refused.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import stat
import sys
from functools import cache
from pathlib import Path
from typing import BinaryIO, Final

_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # opening a pipe does not wait for a writer
_FOLDER_FLAGS: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPENAT2: Final = 437  # the same on every architecture
_AT_FDCWD: Final = -100
_RESOLVE_NO_MAGICLINKS: Final = 0x02
_RESOLVE_NO_SYMLINKS: Final = 0x04
_CHUNK_BYTES: Final = 1 << 20


class _OpenHow(ctypes.Structure):
    """`struct open_how` of linux/openat2.h."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_regular(path: Path) -> BinaryIO:
    """Open the regular file at an absolute path without links.

    Raises FileNotFoundError, and OSError if a part of the path is a link (ELOOP or ENOTDIR) or if the file is not a
    regular file (EINVAL).
    """
    descriptor = _open(path)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def open_file(path: Path) -> BinaryIO:
    """Open a regular file whose folder may be reached by links. Raises as `open_regular` does."""
    return open_regular(path.parent.resolve() / path.name)


def file_bytes(path: Path) -> int:
    """The size of a file. Raises as `open_file` does."""
    with open_file(path) as file:
        return os.fstat(file.fileno()).st_size


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, as hex. Raises as `open_file` does."""
    digest = hashlib.sha256()
    with open_file(path) as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def read_file(path: Path, *, max_bytes: int) -> bytes:
    """The content of a file. Raises as `open_file` does, and ValueError if it is larger than `max_bytes`."""
    with open_file(path) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"{path.name} is larger than {max_bytes} bytes")
    return data


def _open(path: Path) -> int:
    if sys.platform == "linux":
        try:
            return _openat2(path)
        except OSError as error:
            # A kernel before 5.6, or a sandbox that blocks the call.
            if error.errno not in (errno.ENOSYS, errno.EPERM):
                raise
    no_links = getattr(os, "O_NOFOLLOW_ANY", 0)  # macOS
    return os.open(path, _FLAGS | no_links) if no_links else _open_by_folders(path)


def _openat2(path: Path) -> int:
    how = _OpenHow(flags=_FLAGS, resolve=_RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS)
    descriptor: int = _syscall()(
        ctypes.c_long(_OPENAT2),
        ctypes.c_int(_AT_FDCWD),
        ctypes.c_char_p(os.fsencode(path)),
        ctypes.byref(how),
        ctypes.c_size_t(ctypes.sizeof(how)),
    )
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))
    return descriptor


@cache
def _syscall() -> ctypes._NamedFuncPointer:
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    return call


def _open_by_folders(path: Path) -> int:
    folder = os.open(path.anchor, _FOLDER_FLAGS)
    try:
        for name in path.parts[1:-1]:
            inner = os.open(name, _FOLDER_FLAGS, dir_fd=folder)
            os.close(folder)
            folder = inner
        return os.open(path.name, _FLAGS, dir_fd=folder)
    finally:
        os.close(folder)
