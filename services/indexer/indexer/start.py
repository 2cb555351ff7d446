"""The first step of an indexing job: read the catalogue, plan the batches, create the collection. It can be repeated;
once the plan is written, it is not made again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from indexer.dependencies import Dependencies
from indexer.gallery_augmentation import GalleryAugmentation
from indexer.generations import Generation, choose_generation
from indexer.plan import IndexTarget, PlannedProduct
from indexer.reconcile import note_damaged
from indexer.verify import check_removal, served_now
from vitrine.catalogs import read_catalog
from vitrine.catalogs.roots import allowed_roots, resolve_catalog_root
from vitrine.errors import CatalogMalformed, ParameterInvalid
from vitrine.jobs import JobFault, JobRecord
from vitrine.jobs.celery import Message, Task
from vitrine.kinds import filterable, kinds_of
from vitrine.qdrant.schema import MAX_FIELDS
from vitrine.uploads.store import merge

_CATALOG_FAULTS: Final = "catalog"


def start_indexing(deps: Dependencies, record: JobRecord) -> None:
    """Plan the work and publish its batches.

    Raises CatalogError if the catalogue cannot be read, ReleaseNotFound, Conflict if the plain collection of an
    augmented release is missing, RemovalRefused if too many served products would be removed, Unavailable.
    """
    target = IndexTarget.of(record)
    if record.batches is None:
        record = _plan(deps, target)
    assert record.batches is not None
    finished = deps.jobs.finished_batches(target.job_id)
    for number in range(record.batches):
        if number not in finished:
            deps.publisher.send(Message(Task.INDEX_BATCH, target.job_id, number), request_id=record.request_id)


def _plan(deps: Dependencies, target: IndexTarget) -> JobRecord:
    manifest = deps.releases.manifest(target.release_id)
    GalleryAugmentation.of(target.dataset, manifest, deps.vectors)
    root = resolve_catalog_root(target.root, allowed_roots(deps.settings))
    named = target.mapping is not None
    target = replace(target, mapping=chosen_mapping(deps, target))
    try:
        catalog = read_catalog(
            target.reader,
            root,
            dataset=target.dataset,
            limit=target.limit,
            mapping=target.mapping or None,
            keeps_link=(lambda _: True) if target.download else deps.downloads.has,
        )
    except ParameterInvalid as error:
        if named or not target.mapping:
            raise
        raise ParameterInvalid(
            f"{error.detail}. That column was named when the dataset was indexed before: name the columns anew with "
            "--map NAME=COLUMN, or use the usual names with --map none (in the API an empty mapping)"
        ) from error
    faults = (JobFault(product_id=one.product_id, kind=one.kind, detail=one.detail) for one in catalog.issues)
    deps.jobs.note_faults(target.job_id, _CATALOG_FAULTS, faults)
    uploads = deps.upload_store.uploads(target.dataset)
    note_damaged(deps, target.job_id, uploads)
    planned = [PlannedProduct(product, origin) for product, origin in merge(catalog.products, uploads)]
    if not planned:
        raise CatalogMalformed(
            f"the catalogue has no product that can be indexed: {catalog.rows} rows, faults {catalog.issue_counts()}"
        )
    uploaded = (one.product.attributes for one in planned if one.origin == "upload")
    kinds = kinds_of(uploaded, catalog.kinds)
    fields = len(filterable(kinds))
    if fields > MAX_FIELDS:
        raise CatalogMalformed(
            f"the catalogue has {fields} attributes to filter by, and a dataset has at most {MAX_FIELDS}: "
            "remove columns that nobody filters by"
        )
    several_pictures = any(one.product.more_pictures for one in planned)
    variants = any(one.product.variant_of is not None for one in planned)
    generation = choose_generation(
        deps, target, dim=manifest.dim, kinds=kinds, several_pictures=several_pictures, variants=variants
    )
    served = served_now(deps, target)
    kept = {one.product.point_id for one in planned}
    if target.limit is not None:
        kept |= _unplanned_points(deps, generation)
    check_removal(deps, target, served, kept)
    # Recorded before the collection is created, so that no other job removes it as a leftover.
    placed = {"mapping": target.mapping, **_place(generation)}
    deps.jobs.update(target.job_id, lambda record: record.model_copy(update={"params": {**record.params, **placed}}))
    deps.vectors.create(
        target.metadata,
        collection=generation.collection,
        dim=manifest.dim,
        kinds=generation.kinds,
        several_pictures=generation.several_pictures,
        variants=generation.variants,
        layout=deps.settings.layout,
    )
    batches = deps.plans.write(target.job_id, planned, batch_size=deps.settings.index_batch)
    deps.plans.write_served(target.job_id, served)
    return deps.jobs.update(
        target.job_id, lambda record: record.with_plan(total=len(planned), batches=batches, phase="indexing")
    )


def _unplanned_points(deps: Dependencies, generation: Generation) -> set[str]:
    """The points that stay although the limited plan does not have them."""
    names = (generation.collection, generation.source)
    existing = [name for name in names if name is not None and deps.vectors.exists(name)]
    return {point for name in existing for point in deps.vectors.ids(name)}


def _place(generation: Generation) -> dict[str, Any]:
    return {
        "collection": generation.collection,
        "source_collection": generation.source,
        "kinds": dict(generation.kinds),
    }


def chosen_mapping(deps: Dependencies, target: IndexTarget) -> dict[str, str]:
    """The columns that the job names; if it names none, those of the dataset's last indexing."""
    if target.mapping is not None:
        return dict(target.mapping)
    served = [deps.vectors.describe(one.collection) for one in deps.vectors.servings() if one.dataset == target.dataset]
    known = [facts.metadata for facts in served if facts is not None]
    last = max(known, key=lambda metadata: metadata.published_at or "", default=None)
    return {} if last is None else dict(last.mapping)
