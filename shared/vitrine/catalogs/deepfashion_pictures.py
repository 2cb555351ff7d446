"""The pictures of a DeepFashion benchmark: where a listed path lies on disk, and the product id it gives.

The lists name pictures `img/...`. Their archive is unpacked beside the lists' folders or in `Img`, and some hold the
pictures in full size as `img_highres`. Paths are handled without the leading `img/`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from vitrine.catalogs.pictures import Found, PictureIndex

LISTED_FOLDER: Final = "img/"
# The first of these that has a picture counts.
PICTURE_FOLDERS: Final = ("img", "Img/img", "img_highres", "Img/img_highres")
MAX_ID_CHARS: Final = 200  # what check_product_id allows
_DIGEST_BYTES: Final = 5


class BenchmarkPictures:
    """The pictures below one root, which is free of links."""

    def __init__(self, root: Path) -> None:
        self._index = PictureIndex(root)
        self._folders = [folder for folder in PICTURE_FOLDERS if (root / folder).is_dir()] or ["img"]

    def find(self, below: str) -> tuple[Found, str]:
        """Whether the picture is there and safe, with its path relative to the root."""
        found: Found = "missing"
        for folder in self._folders:
            picture = f"{folder}/{below}"
            found = self._index.find(picture)
            if found != "missing":
                return found, picture
        return found, f"{LISTED_FOLDER}{below}"


class PictureIds:
    """The product ids given so far.

    An id is as its reader wishes it, unless that is too long or another picture has it: then the end is a digest of
    the path, so that the id depends on nothing but the pictures listed before.
    """

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}

    def for_picture(self, below: str, wish: str) -> str:
        """The id of a picture; the same path has the same one."""
        if len(wish) <= MAX_ID_CHARS and self._owners.setdefault(wish, below) == below:
            return wish
        digest = hashlib.blake2b(below.encode(errors="replace"), digest_size=_DIGEST_BYTES).hexdigest()
        return f"{wish[: MAX_ID_CHARS - len(digest) - 1]}-{digest}"


def below_listed_folder(path: str) -> str:
    """A listed path without the `img/` that they all begin with."""
    return path.removeprefix(LISTED_FOLDER)


def file_stem(name: str) -> str:
    """A picture's file name without its ending."""
    stem, dot, _ = name.rpartition(".")
    return stem if dot and stem else name
