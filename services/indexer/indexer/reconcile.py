"""Applies to a collection the products that were put or deleted through the API while it was built.

Planned products are not touched again; only the differences between the plan and the current uploads are applied.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from indexer.dependencies import Dependencies
from indexer.ingest import Ingest
from indexer.plan import IndexTarget, PlannedProduct
from vitrine.errors import VectorStoreUnavailable
from vitrine.jobs import JobFault
from vitrine.kinds import kinds_of
from vitrine.products import point_id
from vitrine.uploads.store import Uploads

_BATCH: Final = 64
_MAX_ROUNDS: Final = 100
_DAMAGED: Final = "upload_damaged"


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The applied uploads. `failed` are the ids of those that could not be stored."""

    uploads: Uploads
    failed: frozenset[str]


def reconcile(deps: Dependencies, target: IndexTarget, planned: Iterable[PlannedProduct]) -> Reconciled:
    """Apply the uploads to the target's collection, until they no longer change. Raises Unavailable."""
    known = {one.product.id: one.product for one in planned if one.origin == "upload"}
    deleted: frozenset[str] = frozenset()
    failed: set[str] = set()
    for _ in range(_MAX_ROUNDS):
        uploads = deps.upload_store.uploads(target.dataset)
        changed = [product for product in uploads.products.values() if known.get(product.id) != product]
        if not changed and uploads.deleted == deleted:
            return Reconciled(uploads, frozenset(failed & uploads.products.keys()))
        deps.vectors.add_attributes(target.collection, kinds_of(product.attributes for product in changed))
        ingest = Ingest(
            deps, dataset=target.dataset, release_id=target.release_id, collection=target.collection, root=None
        )
        deps.vectors.delete(target.collection, {point_id(target.dataset, one) for one in uploads.deleted - deleted})
        for start in range(0, len(changed), _BATCH):
            batch = changed[start : start + _BATCH]
            search = deps.crash_searches.of(target.job_id, "finish:uploads")
            outcome = search.store([PlannedProduct(product, "upload") for product in batch], ingest.store)
            search.finish()
            failed = (failed - {product.id for product in batch}) | outcome.failed_ids()
        known = dict(uploads.products)
        deleted = uploads.deleted
    raise VectorStoreUnavailable("the uploads change faster than they can be stored", retry_after_s=1.0)


def note_damaged(deps: Dependencies, job_id: str, uploads: Uploads) -> None:
    """Add a fault for each upload whose record is damaged. Each is counted once per job."""
    for one in uploads.damaged:
        fault = JobFault(product_id=one.product_id or one.folder, kind=_DAMAGED, detail=one.detail)
        deps.jobs.note_faults(job_id, f"{_DAMAGED}:{one.folder}", [fault])
