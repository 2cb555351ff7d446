"""Start jobs and check who may start or change them. Shared by the JSON routes and the forms of the pages."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from search_api.context import Context
from search_api.settings import Settings
from vitrine.catalogs.roots import allowed_roots, resolve_catalog_root
from vitrine.errors import (
    CatalogRootRefused,
    KeyRefused,
    ModelUnknown,
    ReleaseCorrupt,
    ReleaseMismatch,
    ReleaseNotFound,
)
from vitrine.jobs import JobKind, JobRecord
from vitrine.jobs.params.catalog import CatalogParams, IndexParams, JobParams
from vitrine.jobs.params.evaluation import EvaluateParams, ExperimentParams, HealthParams, VisualizeParams
from vitrine.jobs.params.releases import AdaptParams, ProjectParams, TrainParams, TuneParams
from vitrine.jobs.schedules import Schedule, parse_every
from vitrine.qdrant.naming import model_of_release
from vitrine.releases import ReleaseStore

P = TypeVar("P", bound=JobParams)

# The kinds that callers start. The calls that change a product start upserts and deletes.
PARAMS: Final[dict[JobKind, type[JobParams]]] = {
    JobKind.INDEX: IndexParams,
    JobKind.PROJECT: ProjectParams,
    JobKind.TRAIN: TrainParams,
    JobKind.ADAPT: AdaptParams,
    JobKind.TUNE: TuneParams,
    JobKind.EVALUATE: EvaluateParams,
    JobKind.VISUALIZE: VisualizeParams,
    JobKind.HEALTH: HealthParams,
    JobKind.EXPERIMENT: ExperimentParams,
}
# These change a dataset; the others make releases and reports.
_INGEST_KINDS: Final = frozenset({JobKind.INDEX, JobKind.UPSERT, JobKind.DELETE})


async def start_job(
    context: Context, kind: JobKind, params: JobParams, *, idempotency_key: str | None = None
) -> JobRecord:
    """The new job, or the earlier one of the same key. Raises the errors of `resolved`, BrokerUnavailable, and for a
    health job ModelUnknown if nothing serves the dataset.
    """
    params = await resolved(params, context.settings, context.releases)
    if isinstance(params, HealthParams):
        serving = await context.store.resolve(params.dataset, params.model)
        params = params.model_copy(update={"model": serving.model})
    record, _ = await context.jobs.submit(kind, params, idempotency_key=idempotency_key)
    if isinstance(params, IndexParams) and params.every is not None:
        await context.schedules.save(Schedule.of(params.as_record(), every_s=parse_every(params.every)))
    return record


async def resolved(params: P, settings: Settings, releases: ReleaseStore) -> P:
    """The parameters with every default resolved: catalogue folders and readers, and the release of an index job.

    Raises CatalogRootRefused, CatalogNotFound, ReleaseNotFound, ModelUnknown for an index job whose model has no
    release, ReleaseMismatch if the release belongs to another model, and ReleaseOfOtherKind for a parser.
    """
    for release_id in params.release_ids():
        await asyncio.to_thread(_check_stored, release_id, releases)
        if not isinstance(params, TrainParams):  # a parser is trained from a parser
            await asyncio.to_thread(_check_embeds, release_id, releases)
    found: dict[str, Any] = {}
    if isinstance(params, CatalogParams):
        found |= await asyncio.to_thread(_located, params, settings)
    for name in type(params).model_fields:
        catalog = getattr(params, name)
        if isinstance(catalog, CatalogParams):
            found[name] = catalog.model_copy(update=await asyncio.to_thread(_located, catalog, settings))
    if isinstance(params, IndexParams):
        found["release_id"] = await asyncio.to_thread(_release_of, params, releases)
    if isinstance(params, TrainParams):
        for name, folder in (("street", params.street), ("outlined", params.outlined)):
            if folder is not None:
                found[name] = str(await asyncio.to_thread(_located_folder, folder, settings))
    return params.model_copy(update=found)


def scope_of(kind: JobKind) -> Literal["ingest", "train"]:
    """The scope needed to start, cancel or remove a job of this kind."""
    return "ingest" if kind in _INGEST_KINDS else "train"


def check_may_change(scopes: Collection[str], record: JobRecord) -> None:
    """Raise KeyRefused if a caller with these scopes could not have started the job."""
    needed = scope_of(record.kind)
    if needed not in scopes:
        raise KeyRefused(f"the API key lacks the scope {needed!r}, which a {record.kind.value} job needs")


def _located(catalog: CatalogParams, settings: Settings) -> dict[str, str]:
    return {"reader": catalog.reader_name, "root": str(_located_folder(catalog.root, settings))}


def _located_folder(root: str, settings: Settings) -> Path:
    if not Path(root).is_absolute():
        raise CatalogRootRefused(f"the catalogue folder {root[:200]!r} is not an absolute path")
    return resolve_catalog_root(root, allowed_roots(settings))


def _release_of(params: IndexParams, releases: ReleaseStore) -> str:
    model, release_id = params.model, params.release_id
    if release_id is None:
        newest = releases.newest(model)
        if newest is None:
            raise ModelUnknown(f"the model {model!r} has no release: make one first (POST /api/jobs/project)")
        _check_embeds(newest, releases)
        return newest
    if model_of_release(release_id) != model:
        raise ReleaseMismatch(f"the release {release_id!r} is not one of the model {model!r}")
    _check_stored(release_id, releases)
    _check_embeds(release_id, releases)
    return release_id


def _check_stored(release_id: str, releases: ReleaseStore) -> None:
    if release_id not in releases.ids():
        raise ReleaseNotFound(f"there is no release {release_id[:140]!r}: GET /api/releases lists all releases")


def _check_embeds(release_id: str, releases: ReleaseStore) -> None:
    """Raises ReleaseOfOtherKind for a parser. A manifest that cannot be read is the job's error."""
    with suppress(ReleaseCorrupt, ReleaseNotFound):
        releases.manifest(release_id)
