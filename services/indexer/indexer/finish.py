"""The last step of an indexing job: bring the collection up to the uploads, check it, let it serve in one request, keep
the one before for rollback. A crash between any two lines leaves the old one serving, and doing it again ends the same.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

from indexer.carrying import carry_over
from indexer.changes import changes_since, check_removal
from indexer.overlaying import Reconciled, note_damaged, reconcile
from indexer.parts import Parts
from indexer.plans import Planned
from indexer.smoothing import Smoothing
from indexer.target import Target
from indexer.verify import verify
from vitrine.errors import CatalogMalformed, Conflict, ReleaseNotFound, VerificationFailed
from vitrine.jobs import JobKind, JobRecord
from vitrine.products import point_id
from vitrine.qdrant.aliases import announce_change
from vitrine.qdrant.collections import parse_collection_name
from vitrine.telemetry import get_logger

_GREEN_PATIENCE_S: Final = 20.0
_GREEN_POLL_S: Final = 0.25
_CHECKS: Final = 5


def finish_indexing(parts: Parts, record: JobRecord) -> dict[str, Any] | None:
    """Publish the collection and return the job's result, or None while Qdrant is still optimising it.

    Raises VerificationFailed, CatalogMalformed where no picture could be used, Unavailable.
    """
    target = Target.of(record)
    planned = list(parts.plans.all(target.job_id, dataset=target.dataset))
    served = parts.plans.served(target.job_id)
    outcomes = parts.jobs.outcomes(target.job_id).values()
    rejected = frozenset(product_id for outcome in outcomes for product_id in outcome.failed_ids())
    parts.jobs.update(target.job_id, lambda current: current.with_phase("verifying"))
    carry_over(parts, target, planned)
    for checks in range(1, _CHECKS + 1):
        reconciled = reconcile(parts, target, planned)
        expected = _settle(parts, target, _expected(target, planned, rejected, reconciled), rejected, served)
        if not _green(parts, target.collection):
            return None
        try:
            recall = _verified(parts, target, expected)
            break
        except VerificationFailed:
            # A product put or deleted meanwhile makes another count; with the uploads as they were it is a failure.
            if checks == _CHECKS or parts.overlay.uploads(target.dataset) == reconciled.uploads:
                raise
    parts.vectors.mark_ready(target.metadata, collection=target.collection, expected=len(expected))
    previous = parts.vectors.switch(target.serving)
    announce_change(parts.redis, target.dataset)
    # Once more: who put a product between the last look and the switch saw only the old collection serving.
    reconcile(parts, target, planned)
    note_damaged(parts, target.job_id, parts.overlay.uploads(target.dataset))
    changes = changes_since(parts, target, served)
    _remove_old(parts, target, previous)
    return {
        "collection": target.collection,
        "release_id": target.release_id,
        "indexed": len(expected),
        "rejected": len(rejected),
        **changes.result(),
        "recall_at_10": round(recall, 4),
        "previous": previous if previous != target.collection else None,
        **_rate(parts, target.job_id),
        "notices": _notices(parts, target.job_id),
    }


def _expected(target: Target, planned: Sequence[Planned], rejected: frozenset[str], reconciled: Reconciled) -> set[str]:
    """The point ids that the collection must have: what was planned and not rejected, and the uploads since."""
    in_plan = {one.product.id: one.product for one in planned}
    uploaded = {one.id for one in reconciled.uploads.products.values() if in_plan.get(one.id) != one}
    # Planned from the uploads and no longer among them, because its record was damaged since: its batch skipped it.
    gone = {one.product.id for one in planned if one.origin == "upload"} - reconciled.uploads.products.keys()
    product_ids = ((in_plan.keys() - rejected - gone) | uploaded) - reconciled.failed - reconciled.uploads.deleted
    if not product_ids:
        raise CatalogMalformed("none of the catalogue's pictures could be indexed: see the job's faults")
    return {point_id(target.dataset, product_id) for product_id in product_ids}


def _settle(
    parts: Parts, target: Target, expected: set[str], rejected: frozenset[str], served: Collection[str]
) -> set[str]:
    """Remove what must not be there, unless that is much of what serves. Where a part of the catalogue was asked for,
    what lies beside it stays.
    """
    there = set(parts.vectors.ids(target.collection))
    stale = there - expected
    if target.limit is not None:
        stale &= {point_id(target.dataset, product_id) for product_id in rejected}
        expected = expected | (there - stale)
    deleted = parts.overlay.tombstones(target.dataset)
    check_removal(parts, target, [product_id for product_id in served if product_id not in deleted], expected)
    parts.vectors.delete(target.collection, stale)
    return expected


def _verified(parts: Parts, target: Target, expected: set[str]) -> float:
    return verify(
        parts.vectors,
        target.collection,
        expected,
        sample=parts.settings.verify_sample,
        least_recall=parts.settings.verify_recall,
    )


def _green(parts: Parts, collection: str) -> bool:
    ends_s = time.monotonic() + _GREEN_PATIENCE_S
    while not parts.vectors.is_green(collection):
        if time.monotonic() >= ends_s:
            return False
        time.sleep(_GREEN_POLL_S)
    return True


def _remove_old(parts: Parts, target: Target, previous: str | None) -> None:
    """Remove this dataset and model's collections, but those an alias names, the one that served before, the newest
    others up to the number to be kept, and those being built.
    """
    others = [
        Target.of(record)
        for record in parts.jobs.unfinished((JobKind.INDEX,))
        if record.id != target.job_id and record.params.get("release_id")
    ]
    building = {other.collection for other in others} | {other.source for other in others if other.source}
    aliased = parts.vectors.aliased()
    kept = aliased | _neighbours_of(parts, aliased | {target.collection}) | building | {target.collection}
    own = {
        name: facts.metadata
        for name, facts in parts.vectors.described().items()
        if (facts.metadata.dataset, facts.metadata.model) == (target.dataset, target.model) and name not in kept
    }
    ready = sorted(
        (name for name, metadata in own.items() if metadata.state == "ready"),
        key=lambda name: (name == previous, own[name].published_at or ""),
        reverse=True,
    )
    for name in own:
        if name not in ready[: parts.settings.keep_previous]:
            parts.vectors.drop(name)
            get_logger("indexer").info("collection_removal", collection=name)


def _neighbours_of(parts: Parts, serving: set[str]) -> set[str]:
    """The plain collections that the augmented ones among those that serve take neighbours from."""
    found = set()
    for parsed in filter(None, map(parse_collection_name, serving)):
        dataset, release_id = parsed
        try:
            smoothing = Smoothing.of(dataset, parts.releases.manifest(release_id), parts.vectors)
        except (ReleaseNotFound, Conflict):  # taken out of the store, or its plain collection, while it still serves
            continue
        if smoothing is not None:
            found.add(smoothing.collection)
    return found


def _notices(parts: Parts, job_id: str) -> list[str]:
    """The columns that are filtered by another name than the catalogue's, for the job's result."""
    return [f"the column {fault.detail}" for fault in parts.jobs.get(job_id).faults if fault.kind == "renamed_column"]


def _rate(parts: Parts, job_id: str) -> dict[str, float]:
    record = parts.jobs.get(job_id)
    if record.started_at is None:
        return {}
    seconds = time.time() - datetime.fromisoformat(record.started_at).timestamp()
    pictures = record.progress.done + record.progress.failed
    return {"seconds": round(seconds, 1), "pictures_per_second": round(pictures / max(seconds, 1e-9), 1)}
