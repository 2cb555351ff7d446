"""Single products: what the API put into the overlay goes into every collection that serves the dataset, each with its
own release; what it deleted goes out of them.
"""

from __future__ import annotations

from typing import Any

from indexer.ingest import Ingest
from indexer.parts import Parts
from indexer.plans import Planned
from vitrine.collections import Serving
from vitrine.errors import DatasetNotFound, ImageRejected, ProductNotFound, VitrineError
from vitrine.jobs import JobFault, JobKind, JobRecord
from vitrine.products import point_id


def change_product(parts: Parts, record: JobRecord) -> dict[str, Any]:
    """Carry out an upsert or a delete. Raises the picture's own error where it cannot be used, Unavailable."""
    dataset, product_id = record.params["dataset"], record.params["product_id"]
    done: set[str] = set()
    # Looked at again afterwards: a collection that began to serve meanwhile has not seen the change.
    while left := [serving for serving in _servings(parts, dataset) if serving.collection not in done]:
        for serving in left:
            if record.kind is JobKind.DELETE:
                parts.vectors.delete(serving.collection, [point_id(dataset, product_id)])
            else:
                _store(parts, serving, product_id)
            done.add(serving.collection)
    return {"product_id": product_id, "collections": sorted(done)}


def _servings(parts: Parts, dataset: str) -> list[Serving]:
    found = [serving for serving in parts.vectors.servings() if serving.dataset == dataset]
    if not found:
        raise DatasetNotFound(f"nothing of the dataset {dataset!r} is indexed")
    return found


def _store(parts: Parts, serving: Serving, product_id: str) -> None:
    product = parts.overlay.get(serving.dataset, product_id)
    if product is None:
        raise ProductNotFound(f"the product {product_id!r} is not among the uploads: it was deleted meanwhile")
    ingest = Ingest(parts, collection=serving.collection, release_id=serving.release_id, root=None)
    outcome = ingest.store([Planned(product, "upload")])
    if outcome.faults:
        raise _error_of(outcome.faults[0])


def _error_of(fault: JobFault) -> VitrineError:
    if fault.kind.startswith("image_"):
        return ImageRejected(fault.kind.removeprefix("image_"), fault.detail)
    error = VitrineError(fault.detail)
    error.code = fault.kind
    return error
