"""Single products: every collection that serves the dataset is brought to what the overlay says of the product now,
each in the vectors of its own release.

The overlay decides, not the kind of the job: of two jobs for one product, whichever runs last does the same. What the
overlay says and what serves are looked at again afterwards, and the work is done anew where either has changed.
"""

from __future__ import annotations

from typing import Any

from indexer.crash_search import CrashSearch
from indexer.ingest import Ingest
from indexer.parts import Parts
from indexer.plans import Planned
from indexer.restoring import restore_product
from vitrine.errors import (
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
from vitrine.products import Product, point_id
from vitrine.qdrant.aliases import announce_change
from vitrine.qdrant.collections import Serving
from vitrine.qdrant.fields import field_types, fitted


def change_product(parts: Parts, record: JobRecord) -> dict[str, Any]:
    """Carry out an upsert, a delete or the undoing of one: its effect can be searched on return.

    Raises the picture's own error where it cannot be used, DatasetNotFound, ProductNotFound for a product that is
    nowhere, StorageFull, Unavailable.
    """
    try:
        return _changed(parts, record)
    except VectorStoreFull as full:
        # The caller waits for the answer, so the job ends at once. The change is with the uploads.
        raise StorageFull(f"{full.detail}; send the change again then, or the next indexing carries it out") from full


def _changed(parts: Parts, record: JobRecord) -> dict[str, Any]:
    params = UpsertParams.of(record)
    dataset, product_id = params.dataset, params.product_id
    if _is_untouched(parts, dataset, product_id):
        if params.restore:
            result = restore_product(parts, record, _servings(parts, dataset))
            if _is_untouched(parts, dataset, product_id):
                return result
        else:
            _note_deletion(parts, record, dataset, product_id)
    done: set[str] = set()
    wanted = parts.overlay.get(dataset, product_id)
    while left := [serving for serving in _servings(parts, dataset) if serving.collection not in done]:
        faults: list[JobFault] = []
        for serving in left:
            if wanted is None:
                parts.vectors.delete(serving.collection, [point_id(dataset, product_id)])
            else:
                _make_fields(parts, serving, wanted)
                faults += _store(parts, record, serving, wanted)
            done.add(serving.collection)
        now = parts.overlay.get(dataset, product_id)
        if now != wanted:
            # Also where a picture was not to be read: it goes when another takes its place.
            wanted = now
            done.clear()
        elif faults:
            raise _error_of(faults[0])
    return {"product_id": product_id, "collections": sorted(done)}


def _is_untouched(parts: Parts, dataset: str, product_id: str) -> bool:
    """Whether the product is the catalogue's: neither put nor deleted through the API."""
    return parts.overlay.get(dataset, product_id) is None and not parts.overlay.is_deleted(dataset, product_id)


def _servings(parts: Parts, dataset: str) -> list[Serving]:
    found = [serving for serving in parts.vectors.servings() if serving.dataset == dataset]
    if not found:
        raise DatasetNotFound(f"nothing of the dataset {dataset!r} is indexed")
    return found


def _note_deletion(parts: Parts, record: JobRecord, dataset: str, product_id: str) -> None:
    """Write the tombstone of a catalogue's product, so that no later indexing brings it back."""
    if record.kind is not JobKind.DELETE:
        raise ProductNotFound(f"the product {product_id!r} is not among the uploads of the dataset {dataset!r}")
    point = point_id(dataset, product_id)
    if not any(parts.vectors.payloads(serving.collection, [point]) for serving in _servings(parts, dataset)):
        raise ProductNotFound(f"there is no product {product_id!r} in the dataset {dataset!r}")
    parts.overlay.delete(dataset, product_id)


def _make_fields(parts: Parts, serving: Serving, product: Product) -> None:
    """Make the product's attributes filterable, those that are new in the type of their value.

    Raises ParameterInvalid for a value that the field's type cannot say: another put was first to make the field.
    """
    before = parts.vectors.describe(serving.collection)
    parts.vectors.add_fields(serving.collection, field_types([product.attributes]))
    facts = parts.vectors.describe(serving.collection)
    if before != facts:
        announce_change(parts.redis, serving.dataset)
    _, misfits = fitted(product.attributes, {} if facts is None else facts.fields)
    if facts is not None and misfits:
        values = ", ".join(
            f"{name} is {facts.fields[name]}, {str(product.attributes[name])[:40]!r}" for name in misfits
        )
        raise ParameterInvalid(
            f"the product {product.id!r} is kept, but not served: a value has another type than its field ({values}); "
            "the next indexing makes fields of the wider type"
        )


def _store(parts: Parts, record: JobRecord, serving: Serving, product: Product) -> tuple[JobFault, ...]:
    ingest = Ingest(
        parts, dataset=serving.dataset, release_id=serving.release_id, collection=serving.collection, root=None
    )
    search = CrashSearch(parts, job_id=record.id, step=f"product:{serving.collection}", crashes=0)
    return search.store([Planned(product, "upload")], ingest.store).faults


def _error_of(fault: JobFault) -> VitrineError:
    if fault.kind.startswith("image_"):
        return ImageRejected(fault.kind.removeprefix("image_"), fault.detail)
    for kind in (PictureCrashesEmbedder, PictureCrashesWorker):
        if fault.kind == kind.code:
            return kind(fault.detail)
    error = VitrineError(fault.detail)
    error.code = fault.kind
    return error
