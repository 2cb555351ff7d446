"""The base of all jobs of the trainer."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, Generic, TypeVar

from trainer.progress import JobProgress
from trainer.settings import Settings
from vitrine.catalogs import Catalog, read_catalog
from vitrine.catalogs.downloads import Downloads
from vitrine.catalogs.roots import allowed_roots, resolve_catalog_root
from vitrine.jobs import JobFault, JobRecord
from vitrine.jobs.params.catalog import CatalogParams, JobParams
from vitrine.releases import ReleaseStore
from vitrine.vision.network import DeviceChoice, choose_device

P = TypeVar("P", bound=JobParams)


class Job(ABC, Generic[P]):
    """One attempt at one job. A subclass names the model of its parameters and does the work in `work`.

    A job that is killed is started again from the beginning. What must not be done twice is kept in the work folder.
    """

    Params: type[P]

    def __init__(self, record: JobRecord, progress: JobProgress, settings: Settings) -> None:
        """Raises ParameterInvalid if the record's parameters do not fit the model."""
        self.record = record
        self.params: P = self.Params.of(record)
        self.progress = progress
        self.settings = settings
        self.releases = ReleaseStore(settings.releases_url, cache_dir=settings.releases_cache_dir)

    def run(self) -> dict[str, Any]:
        """Do the work and return the job's result.

        Raises JobCancelled if the job was cancelled, RecordChanged if another worker took it over, and any other error
        of `vitrine.errors`.
        """
        started_s = time.monotonic()
        return {**self.work(), "seconds": round(time.monotonic() - started_s, 1)}

    @abstractmethod
    def work(self) -> dict[str, Any]:
        """The result without the time it took. Raises as `run` does."""

    @cached_property
    def device(self) -> DeviceChoice:
        return choose_device(self.settings.trainer_device, self.settings.trainer_precision)

    def read_catalog(self, params: CatalogParams) -> Catalog:
        """Read a catalogue below an allowed root and count its rejected rows in the job's record.

        Raises as `resolve_catalog_root` and `read_catalog` do.
        """
        root = resolve_catalog_root(params.root, allowed_roots(self.settings))
        catalog = read_catalog(
            params.reader_name,
            root,
            dataset=params.dataset,
            limit=params.limit,
            mapping=params.mapping,
            downloads=Downloads(self.settings.downloads_dir),
        )
        faults = [JobFault(product_id=one.product_id, kind=one.kind, detail=one.detail) for one in catalog.issues]
        self.progress.faults(f"catalog {catalog.dataset}", faults)
        return catalog
