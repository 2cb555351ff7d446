"""The pictures of a product while it is indexed: their files, their vectors, and the faults of those without.

A picture that cannot be used costs only itself. A product without its first picture has the next one as its face, and
one without any is rejected.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from indexer.plan import PlannedProduct
from indexer.vectors import Point
from vitrine.errors import CatalogRootRefused, ImageRejected, PictureNotFound
from vitrine.jobs import JobFault
from vitrine.products import ADDED_AT_FIELD, AttributeValue
from vitrine.types import Vectors

# More are left out: a product's vectors are stored and read together.
MAX_PICTURES: Final = 64
_SHA256: Final = "picture_sha256"
_SHA256S: Final = "pictures_sha256"
_UNREADABLE: Final = "picture_unreadable"
_LEFT_OUT: Final = "picture_left_out"
_SHOWN_FAULTS: Final = 3


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture file, by its path in the catalogue."""

    path: str
    data: bytes
    sha256: str


@dataclass(slots=True)
class ReadProduct:
    """A product with the pictures that could be read. `vectors` has those of its pictures that are known, by SHA-256.

    `embedded` says whether any of them is new.
    """

    planned: PlannedProduct
    pictures: list[Picture] = field(default_factory=list)
    vectors: dict[str, Vectors] = field(default_factory=dict)
    faults: list[JobFault] = field(default_factory=list)
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    members: Mapping[str, Any] = field(default_factory=dict)  # of the payload, that filters need
    added_at_ms: int | None = None
    embedded: bool = False

    @property
    def point_id(self) -> str:
        return self.planned.product.point_id

    @property
    def sizes_bytes(self) -> int:
        return sum(len(one.data) for one in self.pictures)

    @property
    def sha256s(self) -> list[str]:
        return [one.sha256 for one in self.pictures]

    @property
    def missing(self) -> list[Picture]:
        """The pictures without a vector, each once."""
        return list({one.sha256: one for one in self.pictures if one.sha256 not in self.vectors}.values())

    def reuse(self, point: Point) -> None:
        """Take over the vectors of those pictures that a stored point has."""
        wanted = set(self.sha256s)
        known = zip(sha256s_of(point.payload), point.vectors, strict=False)
        self.vectors |= {sha256: vector for sha256, vector in known if sha256 in wanted}

    def reject(self, picture: Picture, kind: str, detail: str) -> None:
        """Leave a picture out, wherever the product has it."""
        for one in [one for one in self.pictures if one.sha256 == picture.sha256]:
            self.pictures.remove(one)
            self.note(one.path, kind, detail)

    def note(self, path: str, kind: str, detail: str) -> None:
        """Record the fault of a picture, with its path where the product has several."""
        named = f"the picture {path[:200]!r}: {detail}" if self.planned.product.more_pictures else detail
        self.faults.append(JobFault(product_id=self.planned.product.id, kind=kind, detail=named))

    def rejection(self) -> JobFault:
        """The fault of a product none of whose pictures can be used."""
        first, *others = self.faults
        if not others:
            return first
        shown = "; ".join(one.detail for one in self.faults[:_SHOWN_FAULTS])
        more = f"; and {len(self.faults) - _SHOWN_FAULTS} more" if len(self.faults) > _SHOWN_FAULTS else ""
        detail = f"none of its {len(self.planned.product.pictures)} pictures can be used: {shown}{more}"
        return JobFault(product_id=first.product_id, kind=first.kind, detail=detail)

    def payload(self) -> dict[str, Any]:
        """The payload of the product's point, with the pictures that are left."""
        face, *others = self.pictures
        product = replace(
            self.planned.product,
            picture=face.path,
            more_pictures=tuple(one.path for one in others),
            attributes=self.attributes,
        )
        payload = {**product.payload(), **self.members, "origin": self.planned.origin, _SHA256: face.sha256}
        if others:
            payload[_SHA256S] = self.sha256s
        if self.added_at_ms is not None:
            payload[ADDED_AT_FIELD] = self.added_at_ms
        return payload

    def point(self) -> Point:
        return Point(self.point_id, np.stack([self.vectors[one.sha256] for one in self.pictures]), self.payload())


def sha256s_of(payload: Mapping[str, Any]) -> list[str]:
    """The SHA-256 of each picture of a stored point, the face first."""
    several = payload.get(_SHA256S)
    if isinstance(several, list):
        return [str(one) for one in several]
    one = payload.get(_SHA256)
    return [] if one is None else [str(one)]


def read_product(planned: PlannedProduct, paths: Iterable[str], read: Callable[[str], bytes]) -> ReadProduct:
    """Read the pictures of a product, with the faults of those that cannot be read."""
    found = ReadProduct(planned)
    for number, path in enumerate(paths):
        if number == MAX_PICTURES:
            found.note(path, _LEFT_OUT, f"it and those after it are left out: a product has at most {MAX_PICTURES}")
            break
        try:
            data = read(path)
        except (ImageRejected, PictureNotFound, CatalogRootRefused) as error:
            found.note(path, error.code, error.detail)
        except OSError as error:
            found.note(path, _UNREADABLE, f"the picture {path[:200]!r} cannot be read ({type(error).__name__})")
        else:
            found.pictures.append(Picture(path, data, hashlib.sha256(data).hexdigest()))
    return found
