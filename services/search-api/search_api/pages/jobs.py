"""The pages of jobs: the list, the forms that start jobs, and the page of a job. `static/js/job.js` updates the latter
from the job's events.
"""

from __future__ import annotations

import contextlib
import secrets
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from search_api.context import Context, Ctx
from search_api.jobs.service import check_may_change, scope_of, start_job
from search_api.pages.job_bodies import WHOLE_FORM, FormInvalid, Values, body_of, fault_of, sent_values
from search_api.pages.job_choices import Choices, read_choices, recipe_names, recipe_text
from search_api.pages.job_fields import FORMS, Form
from search_api.pages.job_views import job_view
from search_api.pages.templating import Pages, is_fragment_request, render
from search_api.pages.visitors import Visitor
from vitrine.errors import BrokerUnavailable, Conflict, KeyRefused, NotFound, Unavailable, VitrineError
from vitrine.jobs import JobKind, JobState
from vitrine.web import caller_scopes, requires

router = APIRouter(include_in_schema=False)
_READ: Final = ["GET", "HEAD"]
_PAGE: Final = 25
_MAX_PAGES: Final = 40  # as many jobs as are kept
_MAX_KEY_CHARS: Final = 100
_DEFAULT_RECIPE: Final = "drawn.toml"
_PLAIN_RECIPE: Final = """\
kind = "metric"
name = "my_model"

[model]
model = "mobilenetv2_100"
weights = "pretrained"
embedding = 128

[optim]
epochs = 8
"""


@router.api_route("/jobs", methods=_READ)
@requires("jobs")
async def jobs_page(
    request: Request,
    context: Ctx,
    kind: JobKind | None = None,
    state: JobState | None = None,
    page: Annotated[int, Query(ge=1, le=_MAX_PAGES)] = 1,
) -> Response:
    visitor = _visitor(request)
    away = None
    jobs = []
    has_more = False
    try:
        found = await context.jobs.store.list(limit=page * _PAGE + 1, kind=kind, state=state)
        jobs = [job_view(record, visitor) for record in found[(page - 1) * _PAGE : page * _PAGE]]
        has_more = len(found) > page * _PAGE and page < _MAX_PAGES
    except BrokerUnavailable as error:
        away = error.detail
    values: dict[str, Any] = {
        "jobs": jobs,
        "away": away,
        "kind": kind.value if kind else None,
        "state": state.value if state else None,
        "page": page,
        "has_more": has_more,
    }
    if is_fragment_request(request):
        return render(request, "jobs/_list.html", **values)
    forms = [form for form in FORMS.values() if visitor.may(scope_of(form.kind))]
    return render(request, "jobs/page.html", kinds=list(JobKind), states=list(JobState), forms=forms, **values)


@router.api_route("/jobs/recipes", methods=_READ)
@requires("train")
async def recipe(request: Request, context: Ctx, file: str = "") -> Response:
    """The recipe field of the training form, filled from a file."""
    text = recipe_text(context.settings, file) if file else _PLAIN_RECIPE
    return render(request, "jobs/_recipe.html", field=FORMS[JobKind.TRAIN].named("recipe"), value=text, fault=None)


@router.api_route("/jobs/new/{kind}", methods=_READ)
@requires("ingest", "train")
async def new_job(request: Request, context: Ctx, kind: JobKind) -> Response:
    form = _form(request, kind)
    choices = await read_choices(context)
    asked = request.query_params
    values = {field.name: field.default for field in form.fields}
    if kind is JobKind.TRAIN:
        values["recipe"] = _first_recipe(context)
    if len(choices.datasets) == 1:
        values["dataset"] = choices.datasets[0]
    if len(choices.folders) == 1:
        values["root"] = choices.folders[0]
    if len(choices.releases) == 1:
        values |= {"release_id": choices.releases[0], "releases": (choices.releases[0],)}
    # A link may fill in fields, such as the release.
    for field in form.fields:
        if given := asked.getlist(field.name):
            values[field.name] = tuple(given) if field.control == "checks" else given[0]
    return _shown(request, form, values, choices, key=secrets.token_hex(16))


@router.post("/jobs/new/{kind}")
@requires("ingest", "train")
async def start(request: Request, context: Ctx, kind: JobKind) -> Response:
    form = _form(request, kind)
    sent = await request.form()
    values = sent_values(form, sent)
    given_key = sent.get("key")
    is_usable = isinstance(given_key, str) and given_key.isalnum() and given_key.isascii()
    key = str(given_key)[:_MAX_KEY_CHARS] if is_usable else secrets.token_hex(16)
    status = 422
    try:
        record = await start_job(context, kind, body_of(form, values), idempotency_key=f"page-{key}")
    except FormInvalid as invalid:
        faults = invalid.faults
    except Unavailable as error:
        faults = {WHOLE_FORM: f"{_sentence(error)} Nothing was started, and what you typed is still here."}
        status = 503
    except VitrineError as error:
        faults = fault_of(form, error)
    else:
        return _see(request, f"/jobs/{record.id}")
    return _shown(request, form, values, await read_choices(context), key=key, faults=faults, status=status)


@router.api_route("/jobs/{job_id}", methods=_READ)
@requires("jobs")
async def job_page(request: Request, context: Ctx, job_id: str) -> Response:
    view = job_view(await context.jobs.store.get(job_id), _visitor(request))
    if is_fragment_request(request):
        return render(request, "jobs/_parts.html", job=view)
    return render(request, "jobs/job.html", job=view)


@router.post("/jobs/{job_id}/cancel")
@requires("ingest", "train")
async def cancel(request: Request, context: Ctx, job_id: str) -> Response:
    check_may_change(caller_scopes(request), await context.jobs.store.get(job_id))
    with contextlib.suppress(Conflict):  # it has ended; its page shows the result
        await context.jobs.store.request_cancel(job_id)
    return _see(request, f"/jobs/{job_id}")


@router.post("/jobs/{job_id}/remove")
@requires("ingest", "train")
async def remove(request: Request, context: Ctx, job_id: str) -> Response:
    check_may_change(caller_scopes(request), await context.jobs.store.get(job_id))
    await context.jobs.store.delete(job_id)
    return _see(request, "/jobs")


def _form(request: Request, kind: JobKind) -> Form:
    """The form of a kind. Raises NotFound if there is none, KeyRefused if the visitor may not start such jobs."""
    form = FORMS.get(kind)
    if form is None:
        raise NotFound(f"jobs of the kind {kind.value!r} are not started by a form")
    if scope_of(kind) not in caller_scopes(request):
        raise KeyRefused(f"the API key lacks the scope {scope_of(kind)!r}, which starting this job needs")
    return form


def _shown(
    request: Request,
    form: Form,
    values: Values,
    choices: Choices,
    *,
    key: str,
    faults: dict[str, str] | None = None,
    status: int = 200,
) -> Response:
    offers = {"datasets": choices.datasets, "folders": choices.folders, "releases": choices.releases}
    return render(
        request,
        "jobs/new.html",
        status=status,
        form=form,
        values=values,
        faults=faults or {},
        offers=offers,
        recipes=choices.recipes,
        missing=choices.missing,
        key=key,
    )


def _first_recipe(context: Context) -> str:
    names = recipe_names(context.settings)
    return recipe_text(context.settings, _DEFAULT_RECIPE) if _DEFAULT_RECIPE in names else _PLAIN_RECIPE


def _sentence(error: VitrineError) -> str:
    detail = error.detail[:1].upper() + error.detail[1:]
    return detail if detail[-1:] in ".!?" else f"{detail}."


def _visitor(request: Request) -> Visitor:
    pages: Pages = request.app.state.pages
    return pages.visitor_of(request.scope)


def _see(request: Request, path: str) -> Response:
    pages: Pages = request.app.state.pages
    return RedirectResponse(pages.url(path), status_code=303)
