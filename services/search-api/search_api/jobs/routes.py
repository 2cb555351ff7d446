"""The routes of jobs: start, list, show, follow, cancel and remove."""

from __future__ import annotations

import asyncio
import csv
import io
import re
from typing import Annotated, Any, Final, Literal

import pydantic_core
from fastapi import APIRouter, Header, Path, Query, Request
from starlette.responses import Response, StreamingResponse

from search_api.answers import PATH_PREFIX, JsonAnswer
from search_api.auth import caller_of
from search_api.context import Ctx
from search_api.jobs.events import JobEvents, seen_version
from search_api.jobs.schemas import JobAnswer, JobDeletedAnswer, JobsAnswer
from search_api.jobs.service import PARAMS, check_may_change, scope_of, start_job
from search_api.openapi import COMMON_ERRORS
from search_api.streams import StreamAnswer
from vitrine.errors import (
    BodyInvalid,
    BrokerUnavailable,
    CatalogNotFound,
    CatalogRootRefused,
    Draining,
    JobFinished,
    JobNotFound,
    JobUnfinished,
    MediaTypeUnsupported,
    ModelUnknown,
    ParameterInvalid,
    RecordChanged,
    ReleaseCorrupt,
    ReleaseMismatch,
    ReleaseNotFound,
    ReleaseOfOtherKind,
    TooManyRequests,
    Unavailable,
    VectorStoreUnavailable,
    VitrineError,
    WeightsUnusable,
)
from vitrine.jobs import JobKind, JobRecord, JobState
from vitrine.jobs.params.catalog import JobParams
from vitrine.jobs.schedules import CHANGES, Change
from vitrine.web import JsonRoute, caller_scopes, problem_responses, requires

router = APIRouter(tags=["jobs"], route_class=JsonRoute)
JobId = Annotated[str, Path(description="The job's id")]
_IDEMPOTENCY_KEY: Final = re.compile(r"[\x21-\x7e]{1,200}")
IdempotencyKey = Annotated[
    str | None,
    Header(description="1 to 200 visible ASCII characters; the same key within a day returns the same job"),
]
_MAX_LISTED_CHARS: Final = 500
NDJSON: Final = "application/x-ndjson"
ChangeLists = list[tuple[Change, list[str] | None]]
_CREATED: Final = {
    "description": "The new job, or the one that the same Idempotency-Key made before",
    "headers": {"Location": {"description": "The address of the job", "schema": {"type": "string"}}},
}


_START_ERRORS: Final = (
    *COMMON_ERRORS,
    BodyInvalid,
    BrokerUnavailable,
    CatalogNotFound,
    CatalogRootRefused,
    MediaTypeUnsupported,
)
_TRAINING_ERRORS: Final = (*_START_ERRORS, ReleaseNotFound, ReleaseOfOtherKind, WeightsUnusable)
_INDEX_ERRORS: Final = (
    *_START_ERRORS,
    ModelUnknown,
    ReleaseMismatch,
    ReleaseNotFound,
    ReleaseOfOtherKind,
    ReleaseCorrupt,
)


def _add_start(kind: JobKind, summary: str, *, errors: tuple[type[VitrineError], ...] = _TRAINING_ERRORS) -> None:
    """Add the route that starts jobs of a kind. Its body is the parameter model of the kind."""

    async def start(context: Ctx, body: JobParams, idempotency_key: IdempotencyKey = None) -> Response:
        if idempotency_key is not None and _IDEMPOTENCY_KEY.fullmatch(idempotency_key) is None:
            raise ParameterInvalid("Idempotency-Key must be 1 to 200 visible ASCII characters")
        record = await start_job(context, kind, body, idempotency_key=idempotency_key)
        return _answer(record, status_code=202, headers={"Location": f"{PATH_PREFIX.get()}/api/jobs/{record.id}"})

    start.__name__ = f"start_{kind.value}"
    start.__annotations__ = {**start.__annotations__, "body": PARAMS[kind]}
    router.add_api_route(
        f"/api/jobs/{kind.value}",
        requires(scope_of(kind))(start),
        methods=["POST"],
        summary=summary,
        status_code=202,
        response_model=JobAnswer,
        responses={**problem_responses(*errors), 202: _CREATED},
    )


_add_start(JobKind.INDEX, "Index a catalogue with a release", errors=_INDEX_ERRORS)
_add_start(
    JobKind.PROJECT,
    "Make a release: a network, its weights and a projection fitted on a catalogue",
    errors=(*_START_ERRORS, WeightsUnusable),
)
_add_start(JobKind.TRAIN, "Train a network by a recipe and make a release of it")
_add_start(JobKind.ADAPT, "Adapt a release's batch normalisation to a catalogue and make a release of it")
_add_start(JobKind.TUNE, "Choose a release's projection from every number of components and make a release of it")
_add_start(JobKind.EVALUATE, "Measure releases on a catalogue and write a report")
_add_start(JobKind.VISUALIZE, "Draw a map of a catalogue as a release sees it")
_add_start(
    JobKind.HEALTH,
    "Look for duplicates, wrong labels, outliers and odd values in a dataset",
    errors=(*COMMON_ERRORS, BodyInvalid, BrokerUnavailable, MediaTypeUnsupported, ModelUnknown, VectorStoreUnavailable),
)
_add_start(JobKind.EXPERIMENT, "Make the releases of an experiment, measure them and write its report")


@router.get(
    "/api/jobs",
    summary="Jobs, the newest first",
    description=("Without faults, curves and long parameters; `GET /api/jobs/{id}` returns the whole record."),
    response_model=JobsAnswer,
    responses=problem_responses(*COMMON_ERRORS, BrokerUnavailable),
)
@requires("jobs")
async def list_jobs(
    context: Ctx,
    kind: JobKind | None = None,
    state: JobState | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Response:
    records = await context.jobs.store.list(limit=limit, kind=kind, state=state)
    return JsonAnswer({"success": True, "jobs": [_listed(record) for record in records]})


@router.get(
    "/api/jobs/{job_id}",
    summary="One job",
    response_model=JobAnswer,
    responses=problem_responses(*COMMON_ERRORS, BrokerUnavailable, JobNotFound),
)
@requires("jobs")
async def get_job(context: Ctx, job_id: JobId) -> Response:
    return _answer(await context.jobs.store.get(job_id))


@router.get(
    "/api/jobs/{job_id}/changes",
    summary="The products that an index job added, changed or removed",
    description=(
        "All of them, a line each: `id` and `change`, as NDJSON or with `format=csv` as CSV. Of a job that stopped "
        "because it would have removed too many, `removed` are those. The lists are kept for thirty days."
    ),
    response_class=Response,
    responses={
        200: {
            "content": {
                NDJSON: {"schema": {"type": "string"}},
                "text/csv": {"schema": {"type": "string"}},
            }
        },
        **problem_responses(*COMMON_ERRORS, BrokerUnavailable, JobNotFound),
    },
)
@requires("jobs")
async def job_changes(
    context: Ctx,
    job_id: JobId,
    kind: Annotated[Change | None, Query(description="Only these")] = None,
    format: Annotated[Literal["ndjson", "csv"], Query(description="The form of the lines")] = "ndjson",
) -> Response:
    await context.jobs.store.get(job_id)
    wanted = CHANGES if kind is None else (kind,)
    lists = [(one, await context.schedules.changes(job_id, one)) for one in wanted]
    if all(ids is None for _, ids in lists):
        raise JobNotFound(f"the job {job_id} has no list of changes: only index jobs that reached their end have one")
    as_csv = format == "csv"
    text = await asyncio.to_thread(_csv_lines if as_csv else _json_lines, lists)
    return Response(text, media_type="text/csv; charset=utf-8" if as_csv else NDJSON)


def _json_lines(lists: ChangeLists) -> bytes:
    lines = (pydantic_core.to_json({"id": name, "change": kind}) for kind, ids in lists for name in ids or ())
    return b"".join(line + b"\n" for line in lines)


def _csv_lines(lists: ChangeLists) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("id", "change"))
    writer.writerows((name, kind) for kind, ids in lists for name in ids or ())
    return text.getvalue().encode()


@router.delete(
    "/api/jobs/{job_id}",
    summary="Cancel a job",
    description=(
        "A queued job is cancelled at once, a running one at its next step. Needs the scope that starting it needs."
    ),
    response_model=JobAnswer,
    responses=problem_responses(*COMMON_ERRORS, BrokerUnavailable, JobNotFound, JobFinished, RecordChanged),
)
@requires("ingest", "train")
async def cancel_job(request: Request, context: Ctx, job_id: JobId) -> Response:
    check_may_change(caller_scopes(request), await context.jobs.store.get(job_id))
    return _answer(await context.jobs.store.request_cancel(job_id))


@router.delete(
    "/api/jobs/{job_id}/record",
    summary="Remove the record of a job that has ended",
    description="Its releases, collections and reports stay. Needs the scope that starting the job needs.",
    response_model=JobDeletedAnswer,
    responses=problem_responses(*COMMON_ERRORS, BrokerUnavailable, JobNotFound, JobUnfinished),
)
@requires("ingest", "train")
async def delete_job(request: Request, context: Ctx, job_id: JobId) -> Response:
    check_may_change(caller_scopes(request), await context.jobs.store.get(job_id))
    await context.jobs.store.delete(job_id)
    return JsonAnswer({"success": True, "id": job_id})


@router.get(
    "/api/jobs/{job_id}/events",
    summary="Follow a job",
    description=(
        "Server-sent events, one for each change: the id is the version of the record, the event the state of the job, "
        "the data the record. Quick changes may be merged. The last event of a stream is `end`; its data has the "
        "`reason`: `finished`, `gone` (the job was deleted), `draining` or `unavailable` (reconnect), `age` (the "
        "stream has reached its maximum age) or `slow` (the client reads too slowly). Comments keep a quiet stream "
        "alive. With `Last-Event-ID` the present version is sent only if it differs."
    ),
    response_class=StreamingResponse,
    responses={
        200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
        **problem_responses(*COMMON_ERRORS, BrokerUnavailable, JobNotFound, Draining, TooManyRequests, Unavailable),
    },
)
@requires("jobs", work="unbounded")
async def job_events(
    request: Request,
    context: Ctx,
    job_id: JobId,
    last_event_id: Annotated[str | None, Header(description="The id of the last event seen")] = None,
) -> Response:
    draining = context.lifecycle.draining
    if draining.is_set():
        raise Draining("the search API is stopping", retry_after_s=1.0)
    place = context.stream_places.take(caller_of(request.scope))
    await context.jobs.store.get(job_id)  # an unknown job is an error, not an empty stream
    events = JobEvents(
        context.job_feed,
        job_id,
        seen_version=seen_version(last_event_id),
        heartbeat_s=context.settings.heartbeat_s,
        max_age_s=context.settings.event_stream_max_age_s,
    )
    return StreamAnswer(events.chunks(draining), place, media_type="text/event-stream")


def _listed(record: JobRecord) -> dict[str, Any]:
    """The record without long parameters and curves, which would fill a list of jobs."""
    params = {name: value for name, value in record.params.items() if len(str(value)) <= _MAX_LISTED_CHARS}
    return record.model_copy(update={"params": params, "series": {}}).model_dump(mode="json")


def _answer(record: JobRecord, *, status_code: int = 200, headers: dict[str, str] | None = None) -> Response:
    content = {"success": True, "job": record.model_dump(mode="json")}
    return JsonAnswer(content, status_code=status_code, headers=headers)
