"""The catalogue that a job names."""

from __future__ import annotations

from typing import Final

from trainer.control import JobControl
from trainer.settings import Settings
from vitrine.catalogs import Catalog, read_catalog
from vitrine.catalogs.roots import allowed_roots, resolve_catalog_root
from vitrine.jobs import JobFault
from vitrine.jobs.params.catalog import CatalogParams

_SOURCE: Final = "catalog"


def read_allowed_catalog(params: CatalogParams, settings: Settings, control: JobControl) -> Catalog:
    """The catalogue below an allowed root; its faults are counted in the job's record. Raises as its two halves do."""
    root = resolve_catalog_root(params.root, allowed_roots(settings))
    catalog = read_catalog(params.reader_name, root, dataset=params.dataset, limit=params.limit)
    faults = [JobFault(product_id=one.product_id, kind=one.kind, detail=one.detail) for one in catalog.faults]
    control.faults(f"{_SOURCE} {catalog.dataset}", faults)
    return catalog
