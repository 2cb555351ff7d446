"""From planned products to stored points: read the pictures, skip what is already stored, embed and store the rest.

Vectors come from exactly the release of the collection. A picture that cannot be used costs only itself, and becomes a
fault with the product's id.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from indexer.dependencies import Dependencies
from indexer.gallery_augmentation import GalleryAugmentation
from indexer.pictures import ReadProduct, read_product, sha256s_of
from indexer.plan import IndexTarget, PlannedProduct
from indexer.slices import slices_by_size
from indexer.unchanged import marks_of, unchanged_ids
from vitrine.catalogs.downloads import is_link
from vitrine.catalogs.roots import allowed_roots, read_picture, resolve_catalog_root
from vitrine.embedding.wire import MAX_BATCH, MAX_CALLER_CHARS
from vitrine.errors import (
    CollectionNotFound,
    DeadlineExpired,
    EmbeddingFailed,
    ImageRejected,
    PictureNotDownloaded,
    PictureNotFound,
)
from vitrine.jobs import BatchOutcome, JobFault
from vitrine.jobs.celery import Message, Task
from vitrine.jobs.runner import EMBEDDER, VECTOR_STORE, Attempt
from vitrine.kinds import convert_attributes, paths_member
from vitrine.products import ADDED_AT_FIELD, FILES_FIELD, VARIANT_FIELD
from vitrine.telemetry import get_logger

# Well below the embedder's limit of a body, with room for the largest picture.
REQUEST_MAX_BYTES: Final = 64_000_000
_READ_MAX_BYTES: Final = 256_000_000


def index_batch(deps: Dependencies, attempt: Attempt, number: int) -> None:
    """Index a batch and count it. After the last one, publish the finish. Raises the errors of `Ingest.store`."""
    record = attempt.record
    target = IndexTarget.of(record)
    if deps.jobs.batch_finished(target.job_id, number):
        finished = len(deps.jobs.finished_batches(target.job_id))
    else:
        started_s = time.monotonic()
        planned = deps.plans.batch(target.job_id, number, dataset=target.dataset)
        if deps.upload_store.has_any(target.dataset):
            current = [one for one in planned if _is_current(deps, one)]
        else:
            current = list(planned)
        ingest = Ingest(
            deps,
            dataset=target.dataset,
            release_id=target.release_id,
            collection=target.collection,
            root=target.root,
            source=target.source,
            download=target.download,
        )
        step = Message(Task.INDEX_BATCH, target.job_id, number).step
        search = deps.crash_searches.of(target.job_id, step, crashes=attempt.crashes)
        # A search has stored some of the products itself, and counts them: they are not counted as unchanged too.
        unchanged = frozenset[str]() if target.full or search.has_begun else ingest.unchanged(current)
        changed = [one for one in current if one.product.id not in unchanged]
        outcome = search.store(changed, ingest.store)
        outcome = outcome.model_copy(update={"skipped": outcome.skipped + len(planned) - len(changed)})
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


@dataclass(slots=True)
class _Tally:
    done: int = 0
    skipped: int = 0
    pictures: int = 0
    faults: list[JobFault] = field(default_factory=list)
    picture_faults: list[JobFault] = field(default_factory=list)


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
        download: bool = False,
    ) -> None:
        self._deps = deps
        self._dataset = dataset
        self._collection = collection
        self._release_id = release_id
        self._augmentation = GalleryAugmentation.of(dataset, deps.releases.manifest(release_id), deps.vectors)
        # A collection of the same release, whose vectors are reused for the same pictures.
        self._source = source if self._augmentation is None else None
        facts = deps.vectors.describe(collection)
        self._kinds = {} if facts is None else facts.kinds
        self._several_pictures = facts is not None and facts.several_pictures
        self._variants = facts is not None and facts.variants
        self._root = None if root is None else resolve_catalog_root(root, allowed_roots(deps.settings))
        self._downloads_links = download
        self._not_downloaded: dict[str, str] = {}
        self.took_s: dict[str, float] = {}

    def unchanged(self, planned: Sequence[PlannedProduct]) -> frozenset[str]:
        """The ids of the products that are stored and whose pictures' files have not changed. Nothing is read."""
        # An augmented vector changes with its neighbours.
        if self._root is None or self._augmentation is not None:
            return frozenset()
        with self._timed("compare"):
            stored = self._deps.vectors.payloads(self._collection, [one.product.point_id for one in planned])
            return unchanged_ids(
                planned,
                stored,
                root=self._root,
                kinds=self._kinds,
                several_pictures=self._several_pictures,
                variants=self._variants,
            )

    def store(self, planned: Sequence[PlannedProduct]) -> BatchOutcome:
        """Store up to 256 products. Storing them again changes nothing.

        Raises Unavailable, ReleaseNotFound and CollectionNotFound.
        """
        tally = _Tally()
        if self._downloads_links:
            with self._timed("download"):
                links = [picture for one in planned for picture in one.product.pictures if is_link(picture)]
                self._not_downloaded = self._deps.fetcher.fetch_all(links)
        for read in self._read_parts(planned):
            with self._timed("compare"):
                wanted = self._not_in_collection(read, tally)
                self._reuse_source(wanted)
            # Those with all vectors first: they need no embedder.
            self._finish([one for one in wanted if not one.missing], tally)
            left = [one for one in wanted if one.missing]
            for part in slices_by_size([one.sizes_bytes for one in left], most=REQUEST_MAX_BYTES):
                self._embed(left[part], tally)
        return BatchOutcome(
            done=tally.done,
            skipped=tally.skipped,
            pictures=tally.pictures,
            faults=tuple(tally.faults),
            picture_faults=tuple(tally.picture_faults),
        )

    def _read_parts(self, planned: Sequence[PlannedProduct]) -> Iterator[list[ReadProduct]]:
        """The products with their pictures' files, in parts that fit into memory."""
        part: list[ReadProduct] = []
        size_bytes = 0
        for one in planned:
            with self._timed("read"):
                read = self._read(one)
            part.append(read)
            size_bytes += read.sizes_bytes
            if size_bytes > _READ_MAX_BYTES:
                yield part
                part, size_bytes = [], 0
        if part:
            yield part

    def _read(self, planned: PlannedProduct) -> ReadProduct:
        product = planned.product
        if planned.origin == "upload":
            root = self._deps.upload_store.root
        elif self._root is None:
            read = ReadProduct(planned)
            read.note(product.picture, PictureNotFound.code, "the product's catalogue is not known")
            return read
        else:
            root = self._root
        # A collection of before has one vector a product. It keeps serving, with the face alone.
        paths = product.pictures if self._several_pictures else (product.picture,)
        marks = marks_of(root, paths)
        read = read_product(planned, paths, lambda path: self._picture(root, path))
        read.attributes, _ = convert_attributes(product.attributes, self._kinds)
        read.members = paths_member(read.attributes, self._kinds)
        if self._variants:
            read.members = {**read.members, VARIANT_FIELD: product.variant_of or product.id}
        # The same before and after the files were read, so they are those of what was read.
        if planned.origin == "catalog" and marks is not None and marks == marks_of(root, paths):
            read.members = {**read.members, FILES_FIELD: marks}
        return read

    def _picture(self, root: Path, path: str) -> bytes:
        if path in self._not_downloaded:
            raise PictureNotDownloaded(self._not_downloaded[path])
        return read_picture(root, path, downloads=self._deps.downloads)

    def _not_in_collection(self, read: Sequence[ReadProduct], tally: _Tally) -> list[ReadProduct]:
        """Those whose pictures have changed, with the vectors of the unchanged ones. The others are finished."""
        read = [one for one in read if self._has_pictures(one, tally)]
        if not read:
            return []
        stored = self._deps.vectors.payloads(self._collection, [one.point_id for one in read])
        self._set_added_times(read, stored)
        wanted, partly = [], []
        for one in read:
            payload = stored.get(one.point_id)
            known = [] if payload is None else sha256s_of(payload)
            # An augmented vector changes with its neighbours.
            if payload is not None and known == one.sha256s and self._augmentation is None:
                self._update_payload(one, payload, tally)
                continue
            wanted.append(one)
            if not set(known).isdisjoint(one.sha256s):
                partly.append(one)
        if partly and self._augmentation is None:
            self._reuse(self._collection, partly)
        return wanted

    def _update_payload(self, one: ReadProduct, stored: Mapping[str, Any], tally: _Tally) -> None:
        """Finish a product whose vectors are stored."""
        payload = one.payload()
        if payload != stored:
            self._deps.vectors.replace_payload(self._collection, one.point_id, payload)
        tally.skipped += 1
        tally.picture_faults += one.faults

    def _reuse_source(self, wanted: Sequence[ReadProduct]) -> None:
        """Take over the vectors of pictures that the source collection has."""
        missing = [one for one in wanted if one.missing]
        if self._source is not None and missing:
            with contextlib.suppress(CollectionNotFound):  # removed by hand: everything is embedded
                self._reuse(self._source, missing)

    def _reuse(self, collection: str, wanted: Sequence[ReadProduct]) -> None:
        points = {point.id: point for point in self._deps.vectors.points(collection, [one.point_id for one in wanted])}
        for one in wanted:
            point = points.get(one.point_id)
            if point is not None:
                one.reuse(point)

    def _embed(self, wanted: Sequence[ReadProduct], tally: _Tally) -> None:
        """Embed and store these with few requests. Points that are stored stay, even if a later request fails."""
        pictures = [(one, picture) for one in wanted for picture in one.missing]
        try:
            results = self._embedded([picture.data for _, picture in pictures], halve=len(wanted) == 1)
        except DeadlineExpired:
            # A large network on a small machine: half as many may be fast enough.
            if len(wanted) == 1:
                raise
            half = len(wanted) // 2
            self._embed(wanted[:half], tally)
            self._embed(wanted[half:], tally)
            return
        for (one, picture), result in zip(pictures, results, strict=True):
            if isinstance(result, ImageRejected | EmbeddingFailed):
                one.reject(picture, result.code, result.detail)
            elif not np.isfinite(result).all():
                one.reject(picture, EmbeddingFailed.code, "the picture's vector is not finite")
            else:
                one.vectors[picture.sha256] = np.asarray(result, dtype=np.float32)
                one.embedded = True
                tally.pictures += 1
        self._finish([one for one in wanted if self._has_pictures(one, tally)], tally)

    def _embedded(self, pictures: Sequence[bytes], *, halve: bool) -> list[Any]:
        """The vector or the error of each picture. Raises DeadlineExpired, unless `halve` and fewer are fast enough."""
        results: list[Any] = []
        # 64 products with five pictures each have more than a request may carry.
        for part in slices_by_size([len(data) for data in pictures], most=REQUEST_MAX_BYTES, items=MAX_BATCH):
            results += self._request(pictures[part], halve=halve)
        return results

    def _request(self, pictures: Sequence[bytes], *, halve: bool) -> list[Any]:
        # Products put through the API must not wait behind a whole catalogue.
        caller = "products" if self._root is None else self._collection
        try:
            with self._timed("embed"):
                return list(
                    self._deps.embedder.embed_batch(
                        list(pictures), release_id=self._release_id, caller=caller[-MAX_CALLER_CHARS:]
                    )
                )
        except DeadlineExpired:
            if not halve or len(pictures) == 1:
                raise
            half = len(pictures) // 2
            return [*self._request(pictures[:half], halve=True), *self._request(pictures[half:], halve=True)]

    def _finish(self, wanted: Sequence[ReadProduct], tally: _Tally) -> None:
        """Store products all of whose pictures have vectors."""
        if not wanted:
            return
        points = [one.point() for one in wanted]
        if self._augmentation is not None:
            with self._timed("augment"):
                points = self._augmentation.apply(self._deps.vectors, points)
        with self._timed("store"):
            self._deps.vectors.upsert(self._collection, points, several_pictures=self._several_pictures)
        embedded = sum(one.embedded for one in wanted)
        tally.done += embedded
        tally.skipped += len(wanted) - embedded
        tally.picture_faults += [fault for one in wanted for fault in one.faults]

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started_s = time.monotonic()
        try:
            yield
        finally:
            self.took_s[stage] = self.took_s.get(stage, 0.0) + time.monotonic() - started_s

    def _set_added_times(self, read: Sequence[ReadProduct], stored: Mapping[str, dict[str, Any]]) -> None:
        """Note when each product was first stored, in milliseconds since 1970.

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
                one.added_at_ms = added_ms

    def _other_collections(self) -> list[str]:
        """The other collections of the dataset: the source, and those that serve."""
        others = [self._source] if self._source is not None else []
        serving = [one.collection for one in self._deps.vectors.servings() if one.dataset == self._dataset]
        return [*others, *(one for one in serving if one not in (self._collection, *others))]

    @staticmethod
    def _has_pictures(one: ReadProduct, tally: _Tally) -> bool:
        """Whether any picture of the product is left. If not, the product is rejected."""
        if not one.pictures:
            tally.faults.append(one.rejection())
        return bool(one.pictures)
