"""Bringing a collection up to the uploads: products put or deleted through the API while it was being built. What was
planned is not looked at again; only what the overlay says now, and the plan did not, is done.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from indexer.crash_search import CrashSearch
from indexer.ingest import Ingest
from indexer.parts import Parts
from indexer.plans import Planned
from indexer.target import Target
from vitrine.errors import VectorStoreUnavailable
from vitrine.jobs import JobFault
from vitrine.products import point_id
from vitrine.qdrant.fields import field_types
from vitrine.uploads.store import Uploads

_AT_ONCE = 64
_ROUNDS = 100
_DAMAGED = "upload_damaged"


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The uploads a collection was brought up to, and the products of them that could not be stored."""

    uploads: Uploads
    failed: frozenset[str]


def reconcile(parts: Parts, target: Target, planned: Iterable[Planned]) -> Reconciled:
    """Apply the overlay to the target's collection, again until it stays as it was. Raises Unavailable."""
    known = {one.product.id: one.product for one in planned if one.origin == "upload"}
    deleted: frozenset[str] = frozenset()
    failed: set[str] = set()
    for _ in range(_ROUNDS):
        uploads = parts.overlay.uploads(target.dataset)
        changed = [product for product in uploads.products.values() if known.get(product.id) != product]
        if not changed and uploads.deleted == deleted:
            return Reconciled(uploads, frozenset(failed & uploads.products.keys()))
        parts.vectors.add_fields(target.collection, field_types(product.attributes for product in changed))
        ingest = Ingest(
            parts, dataset=target.dataset, release_id=target.release_id, collection=target.collection, root=None
        )
        parts.vectors.delete(target.collection, {point_id(target.dataset, one) for one in uploads.deleted - deleted})
        for start in range(0, len(changed), _AT_ONCE):
            some = changed[start : start + _AT_ONCE]
            search = CrashSearch(parts, job_id=target.job_id, step="finish:uploads", crashes=0)
            outcome = search.store([Planned(product, "upload") for product in some], ingest.store)
            search.finish()
            failed = (failed - {product.id for product in some}) | outcome.failed_ids()
        known = dict(uploads.products)
        deleted = uploads.deleted
    raise VectorStoreUnavailable("the uploads change faster than they can be stored", retry_after_s=1.0)


def note_damaged(parts: Parts, job_id: str, uploads: Uploads) -> None:
    """Name each upload whose record is damaged among the job's faults, once a job however often this is called."""
    for one in uploads.damaged:
        fault = JobFault(product_id=one.product_id or one.folder, kind=_DAMAGED, detail=one.detail)
        parts.jobs.note_faults(job_id, f"{_DAMAGED}:{one.folder}", [fault])
