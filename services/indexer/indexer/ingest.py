"""From planned products to stored points: read each picture, leave alone what is stored already, embed the rest with
exactly the release of the collection, and store it. A picture that cannot be used costs itself and is told by id.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from indexer.adding import added_times
from indexer.parts import Parts
from indexer.plans import Planned
from indexer.smoothing import Smoothing
from indexer.vectors import Point
from vitrine.catalogs.roots import allowed_roots, read_picture, resolve_catalog_root
from vitrine.embedding.wire import MAX_CALLER_CHARS
from vitrine.errors import (
    CatalogRootRefused,
    CollectionNotFound,
    DeadlineExpired,
    EmbeddingFailed,
    ImageRejected,
    PictureNotFound,
)
from vitrine.jobs import BatchOutcome, JobFault
from vitrine.products import ADDED_AT_FIELD
from vitrine.qdrant.fields import fitted

# Well below what an embedder takes in one body, with room for the largest picture.
REQUEST_MAX_BYTES: Final = 64_000_000
_UNREADABLE: Final = "picture_unreadable"


@dataclass(slots=True)
class _Read:
    planned: Planned
    data: bytes
    payload: dict[str, Any]


@dataclass(slots=True)
class _Tally:
    done: int = 0
    skipped: int = 0
    faults: list[JobFault] = field(default_factory=list)


def request_slices(sizes_bytes: Sequence[int], *, max_bytes: int = REQUEST_MAX_BYTES) -> Iterator[slice]:
    """Pictures of these sizes, in order, in as few requests as `max_bytes` allows; one that is larger goes alone."""
    start = total_bytes = 0
    for position, size_bytes in enumerate(sizes_bytes):
        if position > start and total_bytes + size_bytes > max_bytes:
            yield slice(start, position)
            start, total_bytes = position, 0
        total_bytes += size_bytes
    if start < len(sizes_bytes):
        yield slice(start, len(sizes_bytes))


class Ingest:
    """Stores products in one collection, in the vectors of one release. `took_s`: the seconds of each stage so far."""

    def __init__(
        self,
        parts: Parts,
        *,
        dataset: str,
        release_id: str,
        collection: str,
        root: Path | None,
        source: str | None = None,
    ) -> None:
        self._parts = parts
        self._dataset = dataset
        self._collection = collection
        self._release_id = release_id
        self._smoothing = Smoothing.of(dataset, parts.releases.manifest(release_id), parts.vectors)
        # A collection of the same release, whose vectors are taken over where the picture is the same.
        self._source = source if self._smoothing is None else None
        facts = parts.vectors.describe(collection)
        self._fields = {} if facts is None else facts.fields
        self._root = None if root is None else resolve_catalog_root(root, allowed_roots(parts.settings))
        self.took_s: dict[str, float] = {}

    def store(self, planned: Sequence[Planned]) -> BatchOutcome:
        """Store up to 256 products. Raises Unavailable, ReleaseNotFound and CollectionNotFound; storing again what was
        stored changes nothing.
        """
        tally = _Tally()
        with self._timed("read"):
            read = [one for one in (self._read(item, tally) for item in planned) if one is not None]
        with self._timed("compare"):
            wanted = self._unlike_stored(read, tally)
        for part in request_slices([len(one.data) for one in wanted]):
            self._embed(wanted[part], tally)
        return BatchOutcome(done=tally.done, skipped=tally.skipped, faults=tuple(tally.faults))

    def _embed(self, wanted: Sequence[_Read], tally: _Tally) -> None:
        """Embed and store so many in one request. What is stored stays, whatever comes of the rest."""
        try:
            with self._timed("embed"):
                # A product put through the API does not wait behind a whole catalogue's pictures.
                caller = "products" if self._root is None else self._collection
                results = self._parts.embedder.embed_batch(
                    [one.data for one in wanted], release_id=self._release_id, caller=caller[-MAX_CALLER_CHARS:]
                )
        except DeadlineExpired:
            # A large network on a small machine: half as many may be done in time.
            if len(wanted) == 1:
                raise
            half = len(wanted) // 2
            self._embed(wanted[:half], tally)
            self._embed(wanted[half:], tally)
            return
        points: list[Point] = []
        for one, result in zip(wanted, results, strict=True):
            if isinstance(result, ImageRejected | EmbeddingFailed):
                tally.faults.append(_fault(one.planned, result.code, result.detail))
            elif not np.isfinite(result).all():
                tally.faults.append(_fault(one.planned, EmbeddingFailed.code, "the picture's vector is not finite"))
            else:
                points.append(Point(one.planned.product.point_id, np.asarray(result, dtype=np.float32), one.payload))
        if points and self._smoothing is not None:
            with self._timed("augment"):
                points = self._smoothing.smooth(self._parts.vectors, points)
        if points:
            with self._timed("store"):
                self._parts.vectors.upsert(self._collection, points)
            tally.done += len(points)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started_s = time.monotonic()
        try:
            yield
        finally:
            self.took_s[stage] = self.took_s.get(stage, 0.0) + time.monotonic() - started_s

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
        except OSError as error:
            detail = f"the picture {product.picture[:200]!r} cannot be read ({type(error).__name__})"
            tally.faults.append(_fault(planned, _UNREADABLE, detail))
            return None
        attributes, _ = fitted(product.attributes, self._fields)
        payload = {
            **replace(product, attributes=attributes).payload(),
            "origin": planned.origin,
            "picture_sha256": hashlib.sha256(data).hexdigest(),
        }
        return _Read(planned, data, payload)

    def _unlike_stored(self, read: list[_Read], tally: _Tally) -> list[_Read]:
        """Those whose picture is stored neither here nor in the source. Attributes that differ are replaced."""
        if not read:
            return []
        stored = self._parts.vectors.payloads(self._collection, [one.planned.product.point_id for one in read])
        self._note_times(read, stored)
        wanted = []
        for one in read:
            point_id = one.planned.product.point_id
            payload = stored.get(point_id)
            changed = payload is None or payload.get("picture_sha256") != one.payload["picture_sha256"]
            # An augmented vector is another where its neighbours are.
            if changed or self._smoothing is not None:
                wanted.append(one)
                continue
            if payload != one.payload:
                self._parts.vectors.replace_payload(self._collection, point_id, one.payload)
            tally.skipped += 1
        return self._unlike_source(wanted, tally)

    def _note_times(self, read: list[_Read], stored: Mapping[str, dict[str, Any]]) -> None:
        """Say in each payload when its product was added."""
        ids = [one.planned.product.point_id for one in read]
        others = [self._source] if self._source is not None else []
        if len(stored) < len(ids):
            servings = (one for one in self._parts.vectors.servings() if one.dataset == self._dataset)
            others += [one.collection for one in servings if one.collection not in (self._collection, *others)]
        times = added_times(self._parts, ids, stored, elsewhere=others)
        for one in read:
            if one.planned.product.point_id in times:
                one.payload[ADDED_AT_FIELD] = times[one.planned.product.point_id]

    def _unlike_source(self, wanted: list[_Read], tally: _Tally) -> list[_Read]:
        """Those whose picture the source does not have. The vectors of the others are taken over."""
        if self._source is None or not wanted:
            return wanted
        ids = [one.planned.product.point_id for one in wanted]
        try:
            stored = {point.id: point for point in self._parts.vectors.points(self._source, ids)}
        except CollectionNotFound:  # removed by hand: all is embedded then
            return wanted
        points, left = [], []
        for one in wanted:
            point = stored.get(one.planned.product.point_id)
            if point is None or point.payload.get("picture_sha256") != one.payload["picture_sha256"]:
                left.append(one)
            else:
                points.append(replace(point, payload=one.payload))
        if points:
            self._parts.vectors.upsert(self._collection, points)
            tally.skipped += len(points)
        return left


def _fault(planned: Planned, kind: str, detail: str) -> JobFault:
    return JobFault(product_id=planned.product.id, kind=kind, detail=detail)
