"""The pictures that a call takes, and how their bytes are read."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import BinaryIO, Final

from vitrine_client.errors import PictureUnusable

MAX_LINK_BYTES: Final = 20 * 2**20
LINK_TIMEOUT_S: Final = 20.0
MAX_REDIRECTS: Final = 5
_SCHEMES: Final = ("http://", "https://")


@dataclass(frozen=True, slots=True)
class Upload:
    """A picture that the server keeps for a while, by the id that `upload` returned."""

    id: str


@dataclass(frozen=True, slots=True)
class Link:
    """A picture that this client downloads and then sends. The server fetches no links.

    At most `max_bytes` are read, and `timeout_s` is for the whole download. The API key is not sent along. Any host is
    asked, also one of the own network: give no links of strangers.
    """

    url: str
    max_bytes: int = MAX_LINK_BYTES
    timeout_s: float = LINK_TIMEOUT_S


# A path (as text or Path), the bytes of a file, an open binary file, or one of the classes above.
Picture = str | PathLike[str] | bytes | BinaryIO | Upload | Link


def read_picture(picture: str | PathLike[str] | bytes | BinaryIO) -> bytes:
    """The bytes of a picture. Raises PictureUnusable."""
    if isinstance(picture, bytes | bytearray | memoryview):
        return bytes(picture)
    if isinstance(picture, str) and picture.lower().startswith(_SCHEMES):
        raise PictureUnusable(f"{picture} is a link: write Link({picture!r}) to have this client fetch it")
    if isinstance(picture, str | PathLike):
        path = Path(fspath(picture)).expanduser()
        try:
            return path.read_bytes()
        except OSError as error:
            raise PictureUnusable(f"the picture {path} cannot be read: {error.strerror or error}") from error
    try:
        data = picture.read()
    except (OSError, ValueError) as error:
        raise PictureUnusable(f"the open file cannot be read: {error}") from error
    if not isinstance(data, bytes):
        raise PictureUnusable("the open file gives text: open it in binary mode, `open(path, 'rb')`")
    return data
