"""The last step of an indexing job: apply the latest uploads, verify the collection, and switch the alias to it.

The previous collection is kept for a rollback. A crash at any point leaves the previous one serving, and the step can
be repeated.
"""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from indexer.dependencies import Dependencies
from indexer.gallery_augmentation import GalleryAugmentation
from indexer.generations import remove_old
from indexer.measure import QUERIES, measure_plans
from indexer.plan import IndexTarget, PlannedProduct
from indexer.reconcile import Reconciled, note_damaged, reconcile
from indexer.verify import changes_since, check_removal, verify
from vitrine.errors import CatalogMalformed, Conflict, ReleaseNotFound, VerificationFailed
from vitrine.jobs import JobRecord
from vitrine.kinds import convert_attributes, paths_member
from vitrine.products import PATHS_FIELD, PAYLOAD_NAMES, VARIANT_FIELD, AttributeValue, group_of, point_id
from vitrine.qdrant.aliases import announce_change
from vitrine.qdrant.naming import parse_collection_name
from vitrine.qdrant.profiles import DEFAULT_LAYOUT
from vitrine.qdrant.schema import CollectionInfo

_MAX_GREEN_WAIT_S: Final = 20.0
_GREEN_POLL_S: Final = 0.25
_VERIFY_ATTEMPTS: Final = 5
_POINTS_PER_COPY: Final = 256


def finish_indexing(deps: Dependencies, record: JobRecord) -> dict[str, Any] | None:
    """Publish the collection. Returns the job's result, or None while Qdrant is still optimising the collection.

    Raises VerificationFailed, CatalogMalformed if no picture could be used, Unavailable.
    """
    target = IndexTarget.of(record)
    planned = list(deps.plans.all(target.job_id, dataset=target.dataset))
    served = deps.plans.served(target.job_id)
    outcomes = list(deps.jobs.outcomes(target.job_id).values())
    rejected = frozenset(product_id for outcome in outcomes for product_id in outcome.failed_ids())
    deps.jobs.update(target.job_id, lambda current: current.with_phase("verifying"))
    _copy_unplanned(deps, target, planned)
    facts = deps.vectors.describe(target.collection)
    for attempt in range(1, _VERIFY_ATTEMPTS + 1):
        reconciled = reconcile(deps, target, planned)
        expected = _expected_points(target, planned, rejected, reconciled)
        expected = _remove_stale(deps, target, expected, rejected, served)
        if not _is_optimised(deps, target.collection):
            return None
        facts = _measured(deps, facts, expected)
        try:
            recall = verify(
                deps.vectors,
                target.collection,
                expected,
                sample=deps.settings.verify_sample,
                min_recall=deps.settings.verify_recall,
                info=facts,
            )
            break
        except VerificationFailed:
            # A product that was put or deleted in the meantime changes the count. If there was none, it is a failure.
            if attempt == _VERIFY_ATTEMPTS or deps.upload_store.uploads(target.dataset) == reconciled.uploads:
                raise
    # Products put meanwhile may have added attributes.
    current = deps.vectors.metadata(target.collection)
    kinds = {**(current.kinds if current is not None else {}), **target.metadata.kinds}
    layout = DEFAULT_LAYOUT if facts is None else facts.layout
    plans = {} if facts is None or facts.measured is None else facts.measured.as_dict()
    ready = replace(target.metadata, kinds=kinds, plans=plans, **layout.as_dict())
    deps.vectors.mark_ready(ready, collection=target.collection, expected=len(expected))
    previous = deps.vectors.switch(target.serving)
    announce_change(deps.redis, target.dataset)
    # Again, because a product that was put just before the switch went only into the previous collection.
    reconcile(deps, target, planned)
    note_damaged(deps, target.job_id, deps.upload_store.uploads(target.dataset))
    changes = changes_since(deps, target, served)
    deps.schedules.write_changes(target.job_id, changes.of_kinds())
    aliased = deps.vectors.aliased()
    neighbours = _neighbour_collections(deps, aliased | {target.collection})
    remove_old(deps, target, previous=previous, neighbours=neighbours, aliased=aliased)
    return {
        "collection": target.collection,
        "release_id": target.release_id,
        "indexed": len(expected),
        "rejected": len(rejected),
        **changes.result(),
        "recall_at_10": round(recall, 4),
        "previous": previous if previous != target.collection else None,
        **_speed(deps, target.job_id, sum(outcome.pictures for outcome in outcomes)),
        "notices": _notices(deps, target.job_id),
    }


def _measured(deps: Dependencies, facts: CollectionInfo | None, expected: Collection[str]) -> CollectionInfo | None:
    """The collection with what searches in it cost and find. Its check uses them, as searches will."""
    if facts is None:
        return None
    queries = random.Random(0).sample(sorted(expected), min(QUERIES, len(expected)))  # noqa: S311 - a sample, no secret
    return replace(facts, measured=measure_plans(deps.vectors, facts, queries))


def _copy_unplanned(deps: Dependencies, target: IndexTarget, planned: Iterable[PlannedProduct]) -> None:
    """With a limit and a new generation: copy the products outside the plan from the source collection.

    Their values are converted to the kinds of the new collection. Copying again changes nothing.
    """
    if target.limit is None or target.source is None or not deps.vectors.exists(target.source):
        return
    facts = deps.vectors.describe(target.collection)
    left = set(deps.vectors.ids(target.source)) - set(deps.vectors.ids(target.collection))
    left -= {one.product.point_id for one in planned}
    ids = sorted(left)
    for start in range(0, len(ids), _POINTS_PER_COPY):
        points = deps.vectors.points(target.source, ids[start : start + _POINTS_PER_COPY])
        deps.vectors.upsert(
            target.collection,
            [replace(point, payload=_converted(point.payload, facts)) for point in points],
            several_pictures=facts is not None and facts.several_pictures,
        )


def _converted(payload: dict[str, Any], facts: CollectionInfo | None) -> dict[str, Any]:
    """The payload of a point with its attributes and its variants as a collection stores them."""
    kinds = {} if facts is None else facts.kinds
    attributes: dict[str, AttributeValue] = {
        name: value for name, value in payload.items() if name not in PAYLOAD_NAMES
    }
    attributes, _ = convert_attributes(attributes, kinds)
    others = {name: value for name, value in payload.items() if name in PAYLOAD_NAMES and name != PATHS_FIELD}
    if facts is not None and facts.variants:
        others[VARIANT_FIELD] = group_of(payload)
    return {**others, **attributes, **paths_member(attributes, kinds)}


def _expected_points(
    target: IndexTarget, planned: Sequence[PlannedProduct], rejected: frozenset[str], reconciled: Reconciled
) -> set[str]:
    """The point ids that the collection must have: the planned ones that were not rejected, and the uploads since."""
    in_plan = {one.product.id: one.product for one in planned}
    uploaded = {one.id for one in reconciled.uploads.products.values() if in_plan.get(one.id) != one}
    # A planned upload whose record was damaged since then: its batch skipped it.
    gone = {one.product.id for one in planned if one.origin == "upload"} - reconciled.uploads.products.keys()
    product_ids = ((in_plan.keys() - rejected - gone) | uploaded) - reconciled.failed - reconciled.uploads.deleted
    if not product_ids:
        raise CatalogMalformed("none of the catalogue's pictures could be indexed: see the job's faults")
    return {point_id(target.dataset, product_id) for product_id in product_ids}


def _remove_stale(
    deps: Dependencies, target: IndexTarget, expected: set[str], rejected: frozenset[str], served: Collection[str]
) -> set[str]:
    """Remove the points that are not expected. Returns the expected ones; with a limit that includes all that stay.

    Raises RemovalRefused.
    """
    stored = set(deps.vectors.ids(target.collection))
    stale = stored - expected
    if target.limit is not None:
        stale &= {point_id(target.dataset, product_id) for product_id in rejected}
        expected = expected | (stored - stale)
    deleted = deps.upload_store.tombstones(target.dataset)
    check_removal(deps, target, [product_id for product_id in served if product_id not in deleted], expected)
    deps.vectors.delete(target.collection, stale)
    return expected


def _is_optimised(deps: Dependencies, collection: str) -> bool:
    """Wait for a while until Qdrant has optimised the collection. Returns whether it has."""
    ends_s = time.monotonic() + _MAX_GREEN_WAIT_S
    while not deps.vectors.is_green(collection):
        if time.monotonic() >= ends_s:
            return False
        time.sleep(_GREEN_POLL_S)
    return True


def _neighbour_collections(deps: Dependencies, serving: set[str]) -> set[str]:
    """The plain collections from which the augmented ones among those that serve take neighbours."""
    found = set()
    for parsed in filter(None, map(parse_collection_name, serving)):
        dataset, release_id = parsed
        try:
            augmentation = GalleryAugmentation.of(dataset, deps.releases.manifest(release_id), deps.vectors)
        except (ReleaseNotFound, Conflict):  # the release or its plain collection was removed while this one serves
            continue
        if augmentation is not None:
            found.add(augmentation.collection.name)
    return found


def _notices(deps: Dependencies, job_id: str) -> list[str]:
    """The columns whose filters have another name than in the catalogue."""
    return [f"the column {fault.detail}" for fault in deps.jobs.get(job_id).faults if fault.kind == "renamed_column"]


def _speed(deps: Dependencies, job_id: str, pictures: int) -> dict[str, float]:
    """How long the job took, and how many pictures were embedded a second."""
    record = deps.jobs.get(job_id)
    if record.started_at is None:
        return {}
    seconds = time.time() - datetime.fromisoformat(record.started_at).timestamp()
    return {"seconds": round(seconds, 1), "pictures_per_second": round(pictures / max(seconds, 1e-9), 1)}
