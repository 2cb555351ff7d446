"""From planned products to stored points: read each picture, leave alone what is stored already, embed the rest with
exactly the release of the collection, and store it. A picture that cannot be used costs itself and is told by id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from indexer.parts import Parts
from indexer.plans import Planned
from indexer.vectors import Point
from vitrine.catalogs.roots import allowed_roots, read_picture, resolve_catalog_root
from vitrine.errors import CatalogRootRefused, EmbeddingFailed, ImageRejected, PictureNotFound
from vitrine.jobs import BatchOutcome, JobFault


@dataclass(slots=True)
class _Read:
    planned: Planned
    data: bytes
    payload: dict[str, Any]


@dataclass(slots=True)
class _Tally:
    skipped: int = 0
    faults: list[JobFault] = field(default_factory=list)


class Ingest:
    """Stores products in one collection, in the vectors of one release."""

    def __init__(self, parts: Parts, *, collection: str, release_id: str, root: Path | None) -> None:
        self._parts = parts
        self._collection = collection
        self._release_id = release_id
        self._root = None if root is None else resolve_catalog_root(root, allowed_roots(parts.settings))

    def store(self, planned: Sequence[Planned]) -> BatchOutcome:
        """Store up to 256 products. Raises Unavailable, ReleaseNotFound and CollectionNotFound; storing again what was
        stored changes nothing.
        """
        tally = _Tally()
        read = [one for one in (self._read(item, tally) for item in planned) if one is not None]
        wanted = self._unlike_stored(read, tally)
        points: list[Point] = []
        if wanted:
            results = self._parts.embedder.embed_batch([one.data for one in wanted], release_id=self._release_id)
            for one, result in zip(wanted, results, strict=True):
                if isinstance(result, ImageRejected | EmbeddingFailed):
                    tally.faults.append(_fault(one.planned, result.code, result.detail))
                else:
                    vector = np.asarray(result, dtype=np.float32)
                    points.append(Point(one.planned.product.point_id, vector, one.payload))
        if points:
            self._parts.vectors.upsert(self._collection, points)
        return BatchOutcome(done=len(points), skipped=tally.skipped, faults=tuple(tally.faults))

    def _read(self, planned: Planned, tally: _Tally) -> _Read | None:
        product = planned.product
        try:
            if planned.origin == "upload":
                data = read_picture(self._parts.overlay.root, product.picture)
            elif self._root is None:
                raise PictureNotFound("the product's catalogue is not known")
            else:
                data = read_picture(self._root, product.picture)
        except (ImageRejected, PictureNotFound, CatalogRootRefused) as error:
            tally.faults.append(_fault(planned, error.code, error.detail))
            return None
        payload = {
            **product.payload(),
            "origin": planned.origin,
            "picture_sha256": hashlib.sha256(data).hexdigest(),
        }
        return _Read(planned, data, payload)

    def _unlike_stored(self, read: list[_Read], tally: _Tally) -> list[_Read]:
        """Those whose picture is not stored yet. Where only attributes differ, they are replaced."""
        if not read:
            return []
        stored = self._parts.vectors.payloads(self._collection, [one.planned.product.point_id for one in read])
        wanted = []
        for one in read:
            point_id = one.planned.product.point_id
            payload = stored.get(point_id)
            if payload is None or payload.get("picture_sha256") != one.payload["picture_sha256"]:
                wanted.append(one)
                continue
            if payload != one.payload:
                self._parts.vectors.replace_payload(self._collection, point_id, one.payload)
            tally.skipped += 1
        return wanted


def _fault(planned: Planned, kind: str, detail: str) -> JobFault:
    return JobFault(product_id=planned.product.id, kind=kind, detail=detail)
