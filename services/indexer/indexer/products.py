"""Single products: puts, deletions and restorations through the API, applied to every collection that serves the
dataset, each with vectors of its own release.

The uploads decide, not the kind of the job: of two jobs for one product, the later one has the same result. Afterwards
the uploads and the serving collections are read again, and the work is repeated if either has changed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from indexer.dependencies import Dependencies
from indexer.ingest import Ingest
from indexer.plan import PlannedProduct
from vitrine.catalogs import Catalog, read_catalog
from vitrine.catalogs.roots import allowed_roots, resolve_catalog_root
from vitrine.errors import (
    CatalogError,
    DatasetNotFound,
    ImageRejected,
    ParameterInvalid,
    PictureCrashesEmbedder,
    PictureCrashesWorker,
    ProductNotFound,
    StorageFull,
    VectorStoreFull,
    VitrineError,
)
from vitrine.jobs import JobFault, JobKind, JobRecord
from vitrine.jobs.params.catalog import UpsertParams
from vitrine.kinds import convert_attributes, kinds_of
from vitrine.products import Product, point_id
from vitrine.qdrant.aliases import announce_change
from vitrine.qdrant.naming import Serving
from vitrine.qdrant.schema import CollectionMetadata
from vitrine.uploads.store import Origin


def change_product(deps: Dependencies, record: JobRecord) -> dict[str, Any]:
    """Carry out an upsert, a deletion or a restoration. Searches see it on return. Returns the job's result.

    Raises the picture's error if it cannot be used, DatasetNotFound, ProductNotFound, StorageFull, Unavailable.
    """
    try:
        return _change(deps, record)
    except VectorStoreFull as full:
        # The caller waits for the answer, so the job ends at once. The change stays among the uploads.
        raise StorageFull(f"{full.detail}; send the change again then, or the next indexing carries it out") from full


def _change(deps: Dependencies, record: JobRecord) -> dict[str, Any]:
    params = UpsertParams.of(record)
    dataset, product_id = params.dataset, params.product_id
    if _is_untouched(deps, dataset, product_id):
        if params.restore:
            result = _restore(deps, record, _servings(deps, dataset))
            if _is_untouched(deps, dataset, product_id):
                return result
        else:
            _write_tombstone(deps, record, dataset, product_id)
    done: set[str] = set()
    wanted = deps.upload_store.get(dataset, product_id)
    while left := [serving for serving in _servings(deps, dataset) if serving.collection not in done]:
        faults: list[JobFault] = []
        for serving in left:
            if wanted is None:
                deps.vectors.delete(serving.collection, [point_id(dataset, product_id)])
            else:
                _create_fields(deps, serving, wanted)
                faults += _store(deps, record, serving, wanted, origin="upload", root=None)
            done.add(serving.collection)
        now = deps.upload_store.get(dataset, product_id)
        if now != wanted:
            # Even if a picture could not be read: its file is removed when another replaces it.
            wanted = now
            done.clear()
        elif faults:
            raise _error_of(faults[0])
    return {"product_id": product_id, "collections": sorted(done)}


def _is_untouched(deps: Dependencies, dataset: str, product_id: str) -> bool:
    """Whether the product is the catalogue's own: neither put nor deleted through the API."""
    return deps.upload_store.get(dataset, product_id) is None and not deps.upload_store.is_deleted(dataset, product_id)


def _servings(deps: Dependencies, dataset: str) -> list[Serving]:
    found = [serving for serving in deps.vectors.servings() if serving.dataset == dataset]
    if not found:
        raise DatasetNotFound(f"nothing of the dataset {dataset!r} is indexed")
    return found


def _write_tombstone(deps: Dependencies, record: JobRecord, dataset: str, product_id: str) -> None:
    """Mark a catalogue's product as deleted, so that no later indexing brings it back. Raises ProductNotFound."""
    if record.kind is not JobKind.DELETE:
        raise ProductNotFound(f"the product {product_id!r} is not among the uploads of the dataset {dataset!r}")
    point = point_id(dataset, product_id)
    if not any(deps.vectors.payloads(serving.collection, [point]) for serving in _servings(deps, dataset)):
        raise ProductNotFound(f"there is no product {product_id!r} in the dataset {dataset!r}")
    deps.upload_store.delete(dataset, product_id)


def _create_fields(deps: Dependencies, serving: Serving, product: Product) -> None:
    """Make the product's attributes filterable. A new attribute gets the kind of its value.

    Raises ParameterInvalid if a value does not fit its attribute's kind, which an earlier product decided.
    """
    before = deps.vectors.describe(serving.collection)
    deps.vectors.add_attributes(serving.collection, kinds_of([product.attributes]))
    facts = deps.vectors.describe(serving.collection)
    if before != facts:
        announce_change(deps.redis, serving.dataset)
    kinds = {} if facts is None else facts.kinds
    _, misfits = convert_attributes(product.attributes, kinds)
    if misfits:
        values = ", ".join(f"{name} is {kinds[name]}, {str(product.attributes[name])[:40]!r}" for name in misfits)
        raise ParameterInvalid(
            f"the product {product.id!r} is kept, but not served: a value is of another kind than its attribute "
            f"({values}); the next indexing makes the attribute of the wider kind"
        )


def _store(
    deps: Dependencies, record: JobRecord, serving: Serving, product: Product, *, origin: Origin, root: Path | None
) -> tuple[JobFault, ...]:
    ingest = Ingest(
        deps, dataset=serving.dataset, release_id=serving.release_id, collection=serving.collection, root=root
    )
    search = deps.crash_searches.of(record.id, f"product:{serving.collection}")
    return search.store([PlannedProduct(product, origin)], ingest.store).faults


def _error_of(fault: JobFault) -> VitrineError:
    if fault.kind.startswith("image_"):
        return ImageRejected(fault.kind.removeprefix("image_"), fault.detail)
    for kind in (PictureCrashesEmbedder, PictureCrashesWorker):
        if fault.kind == kind.code:
            return kind(fault.detail)
    error = VitrineError(fault.detail)
    error.code = fault.kind
    return error


def _restore(deps: Dependencies, record: JobRecord, servings: Sequence[Serving]) -> dict[str, Any]:
    """Undo the deletion of a catalogue's product: store it again in every serving collection, from its catalogue.

    Its tombstone is gone already. Returns the job's result: the collections, or the reason if it is in none.
    """
    params = UpsertParams.of(record)
    dataset, product_id = params.dataset, params.product_id
    catalogs: dict[tuple[str, str, str], Catalog | str] = {}
    done, reason = [], ""
    for serving in servings:
        facts = deps.vectors.describe(serving.collection)
        if facts is None:
            continue
        read_from = (facts.metadata.catalog, facts.metadata.root, json.dumps(dict(facts.metadata.mapping)))
        if read_from not in catalogs:
            catalogs[read_from] = _read_catalog(deps, dataset, facts.metadata)
        found = _find(catalogs[read_from], product_id)
        if isinstance(found, str):
            reason = found
            continue
        faults = _store(deps, record, serving, found, origin="catalog", root=Path(facts.metadata.root))
        if faults:
            reason = faults[0].detail
        else:
            done.append(serving.collection)
    return {"product_id": product_id, "collections": sorted(done), "reason": None if done else reason}


def _read_catalog(deps: Dependencies, dataset: str, metadata: CollectionMetadata) -> Catalog | str:
    """The catalogue of a collection, or why it cannot be read."""
    try:
        root = resolve_catalog_root(metadata.root, allowed_roots(deps.settings))
        return read_catalog(
            metadata.catalog, root, dataset=dataset, mapping=metadata.mapping or None, keeps_link=deps.downloads.has
        )
    except (CatalogError, ParameterInvalid) as error:  # the table may have lost a column of the mapping
        return error.detail


def _find(catalog: Catalog | str, product_id: str) -> Product | str:
    """The product, or why there is none."""
    if isinstance(catalog, str):
        return catalog
    for product in catalog.products:
        if product.id == product_id:
            return product
    for fault in catalog.rejected():
        if fault.product_id == product_id:
            return f"{fault.kind} {fault.detail}"
    return "the catalogue has no product of this id; one that was put through the API must be put again"
