"""Undoing the deletion of a catalogue's product: its tombstone is gone already, and it is put back into everything that
serves, from the catalogue that each collection was made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from indexer.crash_search import CrashSearch
from indexer.ingest import Ingest
from indexer.parts import Parts
from indexer.plans import Planned
from vitrine.catalogs import Catalog, read_catalog
from vitrine.catalogs.roots import allowed_roots, resolve_catalog_root
from vitrine.errors import CatalogError
from vitrine.jobs import JobRecord
from vitrine.jobs.params.catalog import UpsertParams
from vitrine.products import Product
from vitrine.qdrant.collections import CollectionMetadata, Serving


def restore_product(parts: Parts, record: JobRecord, servings: Sequence[Serving]) -> dict[str, Any]:
    """Store the catalogue's product in each of the collections that serve. Returns the job's result: the collections it
    is in now, and the reason if it is in none. Raises Unavailable.
    """
    params = UpsertParams.of(record)
    dataset, product_id = params.dataset, params.product_id
    catalogs: dict[tuple[str, str], Catalog | str] = {}
    done, reason = [], ""
    for serving in servings:
        facts = parts.vectors.describe(serving.collection)
        if facts is None:
            continue
        made_of = (facts.metadata.catalog, facts.metadata.root)
        if made_of not in catalogs:
            catalogs[made_of] = _catalog(parts, dataset, facts.metadata)
        found = _find(catalogs[made_of], product_id)
        if isinstance(found, str):
            reason = found
            continue
        ingest = Ingest(
            parts,
            dataset=dataset,
            release_id=serving.release_id,
            collection=serving.collection,
            root=Path(facts.metadata.root),
        )
        search = CrashSearch(parts, job_id=record.id, step=f"product:{serving.collection}", crashes=0)
        faults = search.store([Planned(found, "catalog")], ingest.store).faults
        if faults:
            reason = faults[0].detail
        else:
            done.append(serving.collection)
    return {"product_id": product_id, "collections": sorted(done), "reason": None if done else reason}


def _catalog(parts: Parts, dataset: str, metadata: CollectionMetadata) -> Catalog | str:
    """The catalogue a collection was made of, or why it cannot be read now."""
    try:
        root = resolve_catalog_root(metadata.root, allowed_roots(parts.settings))
        return read_catalog(metadata.catalog, root, dataset=dataset)
    except CatalogError as error:
        return error.detail


def _find(catalog: Catalog | str, product_id: str) -> Product | str:
    """The product, or why it was not found."""
    if isinstance(catalog, str):
        return catalog
    for product in catalog.products:
        if product.id == product_id:
            return product
    for fault in catalog.skipped():
        if fault.product_id == product_id:
            return f"{fault.kind} {fault.detail}"
    return "the catalogue has no product of this id; one that was put through the API must be put again"
