"""Open a file by a path in which no link is followed, in any folder of it, so that what was checked is what is read."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from functools import cache
from pathlib import Path
from typing import Final

_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe is opened without a writer
_FOLDER_FLAGS: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPENAT2: Final = 437  # of every architecture
_AT_FDCWD: Final = -100
_RESOLVE_NO_MAGICLINKS: Final = 0x02
_RESOLVE_NO_SYMLINKS: Final = 0x04


class _OpenHow(ctypes.Structure):
    """`struct open_how` of linux/openat2.h."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_regular(path: Path) -> int:
    """A descriptor to read the regular file at an absolute path without links.

    Raises OSError where a part of the path is a link (ELOOP or ENOTDIR) and where it is no regular file (EINVAL).
    """
    descriptor = _open(path)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return descriptor


def _open(path: Path) -> int:
    if sys.platform == "linux":
        try:
            return _openat2(path)
        except OSError as error:
            # A kernel before 5.6, or a sandbox that knows no such call.
            if error.errno not in (errno.ENOSYS, errno.EPERM):
                raise
    no_links = getattr(os, "O_NOFOLLOW_ANY", 0)  # of macOS
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
