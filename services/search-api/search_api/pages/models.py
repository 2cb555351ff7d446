"""The pages of models: releases, one release, reports, maps and health reports. They need the scope `jobs`, so they are
never public. Scripts make changes through the JSON API.
"""

from __future__ import annotations

import asyncio
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from search_api.answers import JsonAnswer
from search_api.context import Context, Ctx
from search_api.models.service import KnownRelease, StoredManifest, indexed_releases, known_releases, stored_manifests
from search_api.pages.catalogue import home_of
from search_api.pages.health_views import health_view
from search_api.pages.release_views import (
    MEASURE_NAMES,
    SHOWN_MEASURES,
    fitted_on,
    history_series,
    projection_series,
    release_view,
    training_document,
)
from search_api.pages.report_views import confusion_pairs, report_tables
from search_api.pages.reports import (
    HEALTH_FILE,
    MAP_FILE,
    REPORT_FILE,
    list_reports,
    measured_figures,
    read_document,
    report_file,
)
from search_api.pages.templating import is_fragment_request, render
from vitrine.errors import ReleaseNotFound, VectorStoreUnavailable
from vitrine.web import requires

router = APIRouter(include_in_schema=False)
_READ: Final = ["GET", "HEAD"]
# A report is a self-contained page: only its inline styles and pictures are allowed. It runs in its own origin, so that
# text of a catalogue cannot attack this application.
_REPORT_POLICY: Final = "; ".join(
    (
        "sandbox allow-popups",
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_ATTACHED: Final = frozenset({"csv", "md", "json"})


@router.api_route("/models", methods=_READ)
@requires("jobs")
async def models_page(request: Request, context: Ctx) -> Response:
    stored, releases, away = await _releases(context)
    folder = context.settings.reports_dir
    measured, reports = await asyncio.gather(
        asyncio.to_thread(measured_figures, folder, measures=SHOWN_MEASURES), asyncio.to_thread(list_reports, folder)
    )
    views = [release_view(release, stored, measured) for release in releases]
    views.sort(key=lambda view: (not view.serving, not view.release.indexed, view.id))
    servings = {
        (one.dataset, view.release.model): view.id for view in views for one in view.release.indexed if one.serving
    }
    return render(
        request,
        "models/_releases.html" if is_fragment_request(request) else "models/page.html",
        releases=views,
        servings=servings,
        away=away,
        reports=reports,
        measure_names=MEASURE_NAMES,
    )


@router.api_route("/models/reports/{report_id}", methods=_READ)
@requires("jobs")
async def report_page(request: Request, context: Ctx, report_id: str) -> Response:
    document = await asyncio.to_thread(read_document, context.settings.reports_dir, report_id, REPORT_FILE)
    return render(request, "models/report.html", report_id=report_id, tables=report_tables(document))


@router.api_route("/models/reports/{report_id}/files/{name:path}", methods=_READ)
@requires("jobs")
async def file_of_report(context: Ctx, report_id: str, name: str) -> Response:
    data, media_type = await asyncio.to_thread(report_file, context.settings.reports_dir, report_id, name)
    suffix = name.rpartition(".")[2]
    headers = {"Content-Security-Policy": _REPORT_POLICY, "Cache-Control": "no-store"}
    if suffix in _ATTACHED:
        headers["Content-Disposition"] = f'attachment; filename="{report_id}-{name.rpartition("/")[2]}"'
    return Response(data, media_type=media_type, headers=headers)


@router.api_route("/models/maps/{report_id}", methods=_READ)
@requires("jobs")
async def map_page(request: Request, context: Ctx, report_id: str) -> Response:
    document = await asyncio.to_thread(read_document, context.settings.reports_dir, report_id, MAP_FILE)
    planes = document.get("planes")
    return render(
        request,
        "models/map.html",
        report_id=report_id,
        title=str(document.get("title") or "Map"),
        count=len(document.get("ids") or ()),
        methods=list(planes) if isinstance(planes, dict) else [],
    )


@router.api_route("/models/maps/{report_id}/data", methods=_READ)
@requires("jobs")
async def map_data(context: Ctx, report_id: str) -> Response:
    return JsonAnswer(await asyncio.to_thread(read_document, context.settings.reports_dir, report_id, MAP_FILE))


@router.api_route("/models/health/{report_id}", methods=_READ)
@requires("jobs")
async def health_page(request: Request, context: Ctx, report_id: str) -> Response:
    document = await asyncio.to_thread(read_document, context.settings.reports_dir, report_id, HEALTH_FILE)
    view = health_view(document, home=home_of(request))
    return render(request, "models/health.html", report_id=report_id, health=view)


@router.api_route("/models/{release_id}", methods=_READ)
@requires("jobs")
async def release_page(request: Request, context: Ctx, release_id: str) -> Response:
    stored, releases, away = await _releases(context)
    found = next((release for release in releases if release.id == release_id), None)
    if found is None:
        raise ReleaseNotFound(f"there is no release {release_id[:140]!r}")
    store, folder = context.releases, context.settings.reports_dir
    measured, fitted, history, tuning, tried, confusion = await asyncio.gather(
        asyncio.to_thread(measured_figures, folder, measures=SHOWN_MEASURES),
        asyncio.to_thread(fitted_on, store, release_id),
        *(
            asyncio.to_thread(training_document, store, release_id, name)
            for name in ("history.json", "tuning.json", "projections.json", "confusion.json")
        ),
    )
    return render(
        request,
        "models/release.html",
        view=release_view(found, stored, measured),
        servings={(one.dataset, release.model): release.id for release in releases for one in release.indexed
                  if one.serving},
        away=away,
        fitted=fitted,
        curves=history_series(history),
        projections=projection_series(tuning, tried),
        confused=confusion_pairs(confusion),
        measure_names=MEASURE_NAMES,
    )  # fmt: skip


async def _releases(
    context: Context,
) -> tuple[dict[str, StoredManifest | None], tuple[KnownRelease, ...], tuple[str, ...]]:
    """(stored releases, all known releases, a sentence for each unavailable service)."""
    away = []
    indexed, stored = {}, {}
    try:
        indexed = await indexed_releases(context)
    except VectorStoreUnavailable:
        away.append("Qdrant is down: it is not known which releases serve, and none can be activated.")
    try:
        stored = await stored_manifests(context)
    except OSError:
        away.append("The release store cannot be read: only what is indexed is listed.")
    return stored, known_releases(stored, indexed), tuple(away)
