"""The last step of an indexing job: bring the collection up to the uploads, check it, let it serve in one request, keep
the one before for rollback. A crash between any two lines leaves the old one serving, and doing it again ends the same.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any, Final

from indexer.overlaying import reconcile
from indexer.parts import Parts
from indexer.target import Target
from indexer.verify import verify
from vitrine.errors import CatalogMalformed
from vitrine.jobs import JobKind, JobRecord
from vitrine.products import point_id
from vitrine.telemetry import get_logger

_GREEN_PATIENCE_S: Final = 20.0
_GREEN_POLL_S: Final = 0.25


def finish_indexing(parts: Parts, record: JobRecord) -> dict[str, Any] | None:
    """Publish the collection and return the job's result, or None while Qdrant is still optimising it.

    Raises VerificationFailed, Unavailable.
    """
    target = Target.of(record)
    planned = list(parts.plans.all(target.job_id, dataset=target.dataset))
    failed = {
        product_id for outcome in parts.jobs.outcomes(target.job_id).values() for product_id in outcome.failed_ids()
    }
    good = {one.product.point_id for one in planned if one.product.id not in failed}
    added, deleted = reconcile(parts, target, planned)
    expected = (good | added) - deleted
    if not expected:
        raise CatalogMalformed("none of the catalogue's pictures could be indexed: see the job's faults")
    if target.limit is None:
        stale = set(parts.vectors.ids(target.collection)) - expected
        parts.vectors.delete(target.collection, stale)
    else:
        # A part of the catalogue was asked for, so what is there beside it stays.
        expected |= set(parts.vectors.ids(target.collection)) - {
            point_id(target.dataset, product_id) for product_id in failed
        }
        parts.vectors.delete(target.collection, {point_id(target.dataset, product_id) for product_id in failed})
    if not _green(parts, target.collection):
        return None
    parts.jobs.update(target.job_id, lambda current: current.with_phase("verifying"))
    recall = verify(
        parts.vectors,
        target.collection,
        expected,
        sample=parts.settings.verify_sample,
        least_recall=parts.settings.verify_recall,
    )
    parts.vectors.mark_ready(target.metadata, expected=len(expected))
    previous = parts.vectors.switch(target.serving)
    # Once more: who put a product between the first look and the switch saw only the old collection serving.
    reconcile(parts, target, planned)
    _remove_old(parts, target)
    parts.plans.remove(target.job_id)
    return {
        "collection": target.collection,
        "release_id": target.release_id,
        "products": len(expected),
        "recall_at_10": round(recall, 4),
        "previous": previous if previous != target.collection else None,
        **_rate(parts, target.job_id),
    }


def _green(parts: Parts, collection: str) -> bool:
    ends_s = time.monotonic() + _GREEN_PATIENCE_S
    while not parts.vectors.is_green(collection):
        if time.monotonic() >= ends_s:
            return False
        time.sleep(_GREEN_POLL_S)
    return True


def _remove_old(parts: Parts, target: Target) -> None:
    """Remove this dataset and model's collections but the serving one, the newest before it, and those being built."""
    serving = {one.collection for one in parts.vectors.servings()}
    building = {
        Target.of(record).collection
        for record in parts.jobs.unfinished((JobKind.INDEX,))
        if record.id != target.job_id and record.params.get("release_id")
    }
    own = {
        name: metadata
        for name, metadata in parts.vectors.collections().items()
        if metadata.dataset == target.dataset and metadata.model == target.model and name not in serving | building
    }
    ready = sorted(
        (name for name, metadata in own.items() if metadata.state == "ready"),
        key=lambda name: own[name].published_at or "",
        reverse=True,
    )
    for name in own:
        if name not in ready[: parts.settings.keep_previous]:
            parts.vectors.drop(name)
            get_logger("indexer").info("collection_removal", collection=name)


def _rate(parts: Parts, job_id: str) -> dict[str, float]:
    record = parts.jobs.get(job_id)
    if record.started_at is None:
        return {}
    seconds = time.time() - datetime.fromisoformat(record.started_at).timestamp()
    pictures = record.progress.done + record.progress.failed
    return {"seconds": round(seconds, 1), "pictures_per_second": round(pictures / max(seconds, 1e-9), 1)}
