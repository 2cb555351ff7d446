"""From planned products to stored points: read the pictures, skip what is already stored, embed and store the rest.

Vectors come from exactly the release of the collection. A picture that cannot be used costs only itself, and becomes a
fault with the product's id.
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

from indexer.dependencies import Dependencies
from indexer.gallery_augmentation import GalleryAugmentation
from indexer.plan import IndexTarget, PlannedProduct
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
from vitrine.jobs.celery import Message, Task
from vitrine.jobs.runner import EMBEDDER, VECTOR_STORE, Attempt
from vitrine.kinds import convert_attributes, paths_member
from vitrine.products import ADDED_AT_FIELD
from vitrine.telemetry import get_logger

# Well below the embedder's limit of a body, with room for the largest picture.
REQUEST_MAX_BYTES: Final = 64_000_000
_UNREADABLE: Final = "picture_unreadable"


def index_batch(deps: Dependencies, attempt: Attempt, number: int) -> None:
    """Index a batch and count it. After the last one, publish the finish. Raises the errors of `Ingest.store`."""
    record = attempt.record
    target = IndexTarget.of(record)
    if deps.jobs.batch_finished(target.job_id, number):
        finished = len(deps.jobs.finished_batches(target.job_id))
    else:
        started_s = time.monotonic()
        planned = deps.plans.batch(target.job_id, number, dataset=target.dataset)
        current = [one for one in planned if _is_current(deps, one)]
        ingest = Ingest(
            deps,
            dataset=target.dataset,
            release_id=target.release_id,
            collection=target.collection,
            root=target.root,
            source=target.source,
        )
        step = Message(Task.INDEX_BATCH, target.job_id, number).step
        search = deps.crash_searches.of(target.job_id, step, crashes=attempt.crashes)
        outcome = search.store(current, ingest.store)
        outcome = outcome.model_copy(update={"skipped": outcome.skipped + len(planned) - len(current)})
        finished = deps.jobs.finish_batch(target.job_id, number, outcome).finished_batches
        search.finish()
        deps.steps.note_working(VECTOR_STORE, *([EMBEDDER] if outcome.done else []))
        deps.counts.add("pictures", {"done": outcome.done, "skipped": outcome.skipped, "failed": outcome.failed})
        deps.counts.add("stage_seconds", ingest.took_s)
        get_logger("indexer").info(
            "batch_success",
            done=outcome.done,
            skipped=outcome.skipped,
            failed=outcome.failed,
            took_ms=round((time.monotonic() - started_s) * 1000),
            **{f"{stage}_ms": round(took_s * 1000) for stage, took_s in ingest.took_s.items()},
        )
    if finished == record.batches:
        deps.publisher.send(Message(Task.INDEX_FINISH, target.job_id), request_id=record.request_id)


def _is_current(deps: Dependencies, planned: PlannedProduct) -> bool:
    """Whether the product was not put or deleted since the plan was made. If it was, the finish handles it."""
    product = planned.product
    if planned.origin == "upload":
        return deps.upload_store.get(product.dataset, product.id) == product
    return deps.upload_store.get(product.dataset, product.id) is None and not deps.upload_store.is_deleted(
        product.dataset, product.id
    )


def request_slices(sizes_bytes: Sequence[int], *, max_bytes: int = REQUEST_MAX_BYTES) -> Iterator[slice]:
    """Split pictures of these sizes, in order, into few requests of at most `max_bytes`. A larger one goes alone."""
    start = total_bytes = 0
    for position, size_bytes in enumerate(sizes_bytes):
        if position > start and total_bytes + size_bytes > max_bytes:
            yield slice(start, position)
            start, total_bytes = position, 0
        total_bytes += size_bytes
    if start < len(sizes_bytes):
        yield slice(start, len(sizes_bytes))


@dataclass(slots=True)
class _ReadProduct:
    """A product with the bytes of its picture and the payload of its point."""

    planned: PlannedProduct
    data: bytes
    payload: dict[str, Any]

    @property
    def point_id(self) -> str:
        return self.planned.product.point_id


@dataclass(slots=True)
class _Tally:
    done: int = 0
    skipped: int = 0
    faults: list[JobFault] = field(default_factory=list)


class Ingest:
    """Stores products in one collection, with vectors of one release. `took_s` has the seconds of each stage so far."""

    def __init__(
        self,
        deps: Dependencies,
        *,
        dataset: str,
        release_id: str,
        collection: str,
        root: Path | None,
        source: str | None = None,
    ) -> None:
        self._deps = deps
        self._dataset = dataset
        self._collection = collection
        self._release_id = release_id
        self._augmentation = GalleryAugmentation.of(dataset, deps.releases.manifest(release_id), deps.vectors)
        # A collection of the same release, whose vectors are reused if the picture is the same.
        self._source = source if self._augmentation is None else None
        facts = deps.vectors.describe(collection)
        self._kinds = {} if facts is None else facts.kinds
        self._root = None if root is None else resolve_catalog_root(root, allowed_roots(deps.settings))
        self.took_s: dict[str, float] = {}

    def store(self, planned: Sequence[PlannedProduct]) -> BatchOutcome:
        """Store up to 256 products. Storing them again changes nothing.

        Raises Unavailable, ReleaseNotFound and CollectionNotFound.
        """
        tally = _Tally()
        with self._timed("read"):
            read = [one for one in (self._read(item, tally) for item in planned) if one is not None]
        with self._timed("compare"):
            wanted = self._not_in_collection(read, tally)
            wanted = self._not_in_source(wanted, tally)
        for part in request_slices([len(one.data) for one in wanted]):
            self._embed(wanted[part], tally)
        return BatchOutcome(done=tally.done, skipped=tally.skipped, faults=tuple(tally.faults))

    def _embed(self, wanted: Sequence[_ReadProduct], tally: _Tally) -> None:
        """Embed and store these with one request. Points that are stored stay, even if a later request fails."""
        try:
            with self._timed("embed"):
                # Products put through the API must not wait behind a whole catalogue.
                caller = "products" if self._root is None else self._collection
                results = self._deps.embedder.embed_batch(
                    [one.data for one in wanted], release_id=self._release_id, caller=caller[-MAX_CALLER_CHARS:]
                )
        except DeadlineExpired:
            # A large network on a small machine: half as many may be fast enough.
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
                points.append(Point(one.point_id, np.asarray(result, dtype=np.float32), one.payload))
        if points and self._augmentation is not None:
            with self._timed("augment"):
                points = self._augmentation.apply(self._deps.vectors, points)
        if points:
            with self._timed("store"):
                self._deps.vectors.upsert(self._collection, points)
            tally.done += len(points)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started_s = time.monotonic()
        try:
            yield
        finally:
            self.took_s[stage] = self.took_s.get(stage, 0.0) + time.monotonic() - started_s

    def _read(self, planned: PlannedProduct, tally: _Tally) -> _ReadProduct | None:
        product = planned.product
        try:
            if planned.origin == "upload":
                data = read_picture(self._deps.upload_store.root, product.picture)
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
        attributes, _ = convert_attributes(product.attributes, self._kinds)
        payload = {
            **replace(product, attributes=attributes).payload(),
            **paths_member(attributes, self._kinds),
            "origin": planned.origin,
            "picture_sha256": hashlib.sha256(data).hexdigest(),
        }
        return _ReadProduct(planned, data, payload)

    def _not_in_collection(self, read: list[_ReadProduct], tally: _Tally) -> list[_ReadProduct]:
        """Those whose picture is not stored yet. The payloads of the others are updated."""
        if not read:
            return []
        stored = self._deps.vectors.payloads(self._collection, [one.point_id for one in read])
        self._set_added_times(read, stored)
        wanted = []
        for one in read:
            payload = stored.get(one.point_id)
            changed = payload is None or payload.get("picture_sha256") != one.payload["picture_sha256"]
            # An augmented vector changes with its neighbours.
            if changed or self._augmentation is not None:
                wanted.append(one)
                continue
            if payload != one.payload:
                self._deps.vectors.replace_payload(self._collection, one.point_id, one.payload)
            tally.skipped += 1
        return wanted

    def _not_in_source(self, wanted: list[_ReadProduct], tally: _Tally) -> list[_ReadProduct]:
        """Those whose picture is not in the source collection. The vectors of the others are copied from it."""
        if self._source is None or not wanted:
            return wanted
        ids = [one.point_id for one in wanted]
        try:
            stored = {point.id: point for point in self._deps.vectors.points(self._source, ids)}
        except CollectionNotFound:  # removed by hand: everything is embedded
            return wanted
        points, left = [], []
        for one in wanted:
            point = stored.get(one.point_id)
            if point is None or point.payload.get("picture_sha256") != one.payload["picture_sha256"]:
                left.append(one)
            else:
                points.append(replace(point, payload=one.payload))
        if points:
            self._deps.vectors.upsert(self._collection, points)
            tally.skipped += len(points)
        return left

    def _set_added_times(self, read: list[_ReadProduct], stored: Mapping[str, dict[str, Any]]) -> None:
        """Put into each payload when its product was first stored, in milliseconds since 1970.

        The time is taken from any collection of the dataset, so that indexing with another release keeps it. A product
        that is in none was added now. One that was stored before such times existed has none.
        """
        ids = [one.point_id for one in read]
        found = {point: payload.get(ADDED_AT_FIELD) for point, payload in stored.items()}
        for collection in self._other_collections() if len(stored) < len(ids) else ():
            left = [point for point in ids if point not in found]
            if not left:
                break
            try:
                payloads = self._deps.vectors.payloads(collection, left)
            except CollectionNotFound:  # dropped since it was listed
                continue
            found |= {point: payload.get(ADDED_AT_FIELD) for point, payload in payloads.items()}
        now_ms = round(time.time() * 1000)
        for one in read:
            added_ms = found.get(one.point_id, now_ms)
            if isinstance(added_ms, int):
                one.payload[ADDED_AT_FIELD] = added_ms

    def _other_collections(self) -> list[str]:
        """The other collections of the dataset: the source, and those that serve."""
        others = [self._source] if self._source is not None else []
        serving = [one.collection for one in self._deps.vectors.servings() if one.dataset == self._dataset]
        return [*others, *(one for one in serving if one not in (self._collection, *others))]


def _fault(planned: PlannedProduct, kind: str, detail: str) -> JobFault:
    return JobFault(product_id=planned.product.id, kind=kind, detail=detail)
