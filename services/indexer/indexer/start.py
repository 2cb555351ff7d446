"""The first step of an indexing job: read the catalogue, tell its faults, lay out the work, make the collection. Doing
it again ends the same; once the plan stands it is not laid out anew.
"""

from __future__ import annotations

from typing import Any

from indexer.changes import check_removal, served_now
from indexer.generations import Place, choose_place
from indexer.overlaying import note_damaged
from indexer.parts import Parts
from indexer.plans import Planned
from indexer.smoothing import Smoothing
from indexer.target import Target
from vitrine.catalogs import read_catalog
from vitrine.catalogs.roots import allowed_roots, resolve_catalog_root
from vitrine.errors import CatalogMalformed
from vitrine.jobs import JobFault, JobRecord
from vitrine.jobs.celery import Message, Task
from vitrine.qdrant.fields import MAX_FIELDS, field_types
from vitrine.uploads.store import merge

_CATALOG_FAULTS = "catalog"


def start_indexing(parts: Parts, record: JobRecord) -> None:
    """Lay out the work and publish its batches.

    Raises CatalogError for a catalogue that cannot be read, ReleaseNotFound, Conflict for an augmented release whose
    plain one is not indexed, RemovalRefused where much of what serves would go, Unavailable.
    """
    target = Target.of(record)
    if record.batches is None:
        record = _laid_out(parts, target)
    assert record.batches is not None
    finished = parts.jobs.finished_batches(target.job_id)
    for number in range(record.batches):
        if number not in finished:
            parts.publisher.send(Message(Task.INDEX_BATCH, target.job_id, number), request_id=record.request_id)


def _laid_out(parts: Parts, target: Target) -> JobRecord:
    manifest = parts.releases.manifest(target.release_id)
    Smoothing.of(target.dataset, manifest, parts.vectors)
    root = resolve_catalog_root(target.root, allowed_roots(parts.settings))
    catalog = read_catalog(target.reader, root, dataset=target.dataset, limit=target.limit)
    faults = (JobFault(product_id=one.product_id, kind=one.kind, detail=one.detail) for one in catalog.faults)
    parts.jobs.note_faults(target.job_id, _CATALOG_FAULTS, faults)
    uploads = parts.overlay.uploads(target.dataset)
    note_damaged(parts, target.job_id, uploads)
    planned = [Planned(product, origin) for product, origin in merge(catalog.products, uploads)]
    if not planned:
        raise CatalogMalformed(
            f"the catalogue has no product that can be indexed: {catalog.rows} rows, faults {catalog.fault_counts()}"
        )
    fields = field_types(one.product.attributes for one in planned)
    if len(fields) > MAX_FIELDS:
        raise CatalogMalformed(
            f"the catalogue has {len(fields)} attributes to filter by, and a dataset has at most {MAX_FIELDS}: "
            "take out columns that nobody filters by"
        )
    place = choose_place(parts, target, dim=manifest.dim, fields=fields)
    served = served_now(parts, target)
    kept = {one.product.point_id for one in planned}
    if target.limit is not None:
        kept |= _beside(parts, place)
    check_removal(parts, target, served, kept)
    # Noted before it is made: from then on no other job takes it for a leftover.
    parts.jobs.update(target.job_id, lambda record: record.model_copy(update={"params": _placed(record, place)}))
    parts.vectors.create(target.metadata, collection=place.collection, dim=manifest.dim, fields=place.fields)
    batches = parts.plans.write(target.job_id, planned, batch=parts.settings.index_batch)
    parts.plans.write_served(target.job_id, served)
    return parts.jobs.update(
        target.job_id, lambda record: record.with_plan(total=len(planned), batches=batches, phase="indexing")
    )


def _beside(parts: Parts, place: Place) -> set[str]:
    """The points that stay beside those that a part of the catalogue was asked for."""
    there = [name for name in (place.collection, place.source) if name is not None and parts.vectors.exists(name)]
    return {point for name in there for point in parts.vectors.ids(name)}


def _placed(record: JobRecord, place: Place) -> dict[str, Any]:
    return {**record.params, "collection": place.collection, "source_collection": place.source}
