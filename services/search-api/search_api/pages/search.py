"""The search page: the start page, results, further results and errors. One request stores a dropped picture, finds the
garments in it, searches with the most prominent one and returns the results.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from search_api.auth import opaque_caller
from search_api.context import Context, Ctx
from search_api.pages import search_view as view
from search_api.pages.search_dropped import search_dropped
from search_api.pages.search_finding import MOST_FOUND, PAGE_SIZE, Answers, Offer, Samples, find, find_all, offer
from search_api.pages.search_garments import filters_of, first_of, garments_of
from search_api.pages.search_regions import Seen, see_garments
from search_api.pages.search_state import SearchState
from search_api.pages.templating import Pages, is_fragment_request, render
from search_api.search.query_embedding import Asked
from vitrine.errors import DatasetNotFound, ImageRejected, ParameterInvalid, ParserNotFound, VitrineError
from vitrine.telemetry import get_logger
from vitrine.web import read_form, requires

router = APIRouter(include_in_schema=False)
_READ: Final = ["GET", "HEAD"]
_PICTURE_FIELD: Final = "image"
_RETRY_S: Final = 3
_samples = Samples()


@router.api_route("/", methods=_READ)
@requires("search")
async def search_page(request: Request, context: Ctx) -> Response:
    state = SearchState.of(request.query_params.multi_items())
    return await _page(request, context, state)


@router.post("/")
@requires("search", work="query")
async def search_with_picture(request: Request, context: Ctx) -> Response:
    """Store the picture and return its results. Without JavaScript the form is redirected to the results page."""
    asked_s = time.perf_counter()
    form = await read_form(request)
    state = SearchState.of(form.fields(except_for=frozenset({_PICTURE_FIELD})))
    picture = form.one_picture(_PICTURE_FIELD)
    if not picture:
        raise ImageRejected("empty", "the picture file is empty")
    asked = Asked(opaque_caller(request.scope), asked_s)
    if not is_fragment_request(request):
        with contextlib.suppress(ParserNotFound):  # what cannot be kept is shown once
            return await _to_results(request, context, state, asked, picture)
    return await _page(request, context, state, picture=picture, asked_s=asked_s)


async def _to_results(
    request: Request, context: Context, state: SearchState, asked: Asked, picture: bytes
) -> RedirectResponse:
    """Store a picture and redirect to its results. Raises ParserNotFound if it cannot be stored."""
    kept = await context.uploads.keep(picture, caller=asked.caller)
    state = state.without_picture().having(upload=kept.id)
    with contextlib.suppress(VitrineError):  # the page shows it
        found = await offer(context, state)
        seen = await see_garments(context, found, dataclasses.replace(asked, upload=kept.id), kept.picture)
        if seen.regions is not None and (first := first_of(seen.regions)) is not None:
            state = state.searching_part(str(first))
    pages: Pages = request.app.state.pages
    return RedirectResponse(pages.url("/") + state.query(), status_code=303)


@router.get("/search/more")
@requires("search", work="query")
async def more_results(request: Request, context: Ctx) -> Response:
    """The next results of a state, after the first `offset`."""
    pairs = request.query_params.multi_items()
    state = SearchState.of(pairs)
    offset = _offset(next((value for name, value in pairs if name == "offset"), ""))
    found = await offer(context, state)
    asked = Asked(opaque_caller(request.scope), time.perf_counter())
    answer = await find(context, state, found, asked, offset=offset, with_facets=False)
    home = _home(request)
    return render(
        request,
        "search/_more.html",
        state=state,
        tiles=view.tiles(state, answer, home, after=offset),
        more=_more(state, answer, offset),
    )


@router.get("/search/facets")
@requires("search", work="query")
async def facets(request: Request, context: Ctx) -> Response:
    """The filters of a state, loaded after the results of a new picture so as not to delay them."""
    state = SearchState.of(request.query_params.multi_items())
    found = await offer(context, state)
    asked = Asked(opaque_caller(request.scope), time.perf_counter())
    answer = await find(context, state, found, asked)
    counted = view.facets(state, answer, found.info.kinds)
    return render(request, "search/_rail_facets.html", home=_home(request), facets=counted)


@router.get("/search/garments")
@requires("search", work="query")
async def garments(request: Request, context: Ctx) -> Response:
    """The garments of a state, loaded after its results where finding them takes long."""
    state = SearchState.of(request.query_params.multi_items())
    found = await offer(context, state)
    asked = Asked(opaque_caller(request.scope), time.perf_counter(), upload=state.upload)
    picture = await context.uploads.get(state.upload or "")
    seen = await see_garments(context, found, asked, picture, patience_s=None)
    shown = garments_of(state, seen.regions, _home(request)) if seen.regions is not None else None
    return render(request, "search/_late_garments.html", state=state, garments=shown)


async def _page(
    request: Request,
    context: Context,
    state: SearchState,
    *,
    picture: bytes | None = None,
    asked_s: float | None = None,
) -> Response:
    """The page of a state, or its content for a fragment. The page shows errors and keeps the state."""
    asked = Asked(opaque_caller(request.scope), time.perf_counter() if asked_s is None else asked_s)
    home = _home(request)
    values: dict[str, Any] = {
        "home": home,
        "offer": None,
        "samples": [],
        "answer": None,
        "garments": None,
        "garments_query": None,
        "look": [],
        "trouble": None,
        "retry_s": None,
        "chips": view.chips(state, home),
        "max_bytes": context.settings.max_body_bytes,
        "can_parse": await _can_parse(context),
        "unkept": False,
    }
    status = 200
    try:
        values["offer"] = found = await offer(context, state)
        if picture is None and not state.searches:
            values["samples"] = view.tiles(state, await _samples.of(context, found), home)
        elif picture is None:
            values |= await _found(context, state, found, asked, home)
        else:
            state, more = await _dropped(context, state, found, asked, home, picture)
            values |= more
    except VitrineError as error:
        unindexed = isinstance(error, DatasetNotFound) and state.dataset is None
        # The start page works without its samples; a search without results does not.
        status = error.status if (state.searches or picture is not None) and not unindexed else 200
        if not unindexed:
            values["trouble"] = error.problem()
            values["retry_s"] = _retry_s(error)
    # If the picture was not stored, only the filters of the page remain in the state.
    values["state"] = state
    fragment = is_fragment_request(request)
    headers = {"HX-Push-Url": home + state.query()} if fragment and picture is not None and status == 200 else {}
    return render(
        request, "search/_view.html" if fragment else "search/page.html", status=status, headers=headers, **values
    )


async def _can_parse(context: Context) -> bool:
    """Whether garments are found, and faces blurred. A damaged parser costs the page both, and nothing else."""
    try:
        return await context.search.parser() is not None
    except VitrineError as error:
        get_logger("search_page").warning("parser_unusable", code=error.code, detail=error.detail)
        return False


async def _dropped(
    context: Context, state: SearchState, found: Offer, asked: Asked, home: str, picture: bytes
) -> tuple[SearchState, dict[str, Any]]:
    """(the state with the stored picture and its first garment, the answer). Its filters are loaded later."""
    first = await search_dropped(context, state, found, asked, picture)
    shown = _shown(first.state, found, home, first.seen, first.answers, deferred=True)
    if not first.kept:
        shown |= {"unkept": True, "facets_query": None, "kinds": [], "more": None}
    return first.state, shown


async def _found(context: Context, state: SearchState, found: Offer, asked: Asked, home: str) -> dict[str, Any]:
    """The template values of an answer."""
    asked = dataclasses.replace(asked, upload=state.upload)
    picture = await context.uploads.get(state.upload) if state.upload is not None else None
    seen, answers = await asyncio.gather(
        see_garments(context, found, asked, picture),
        find_all(context, state, found, asked, picture, with_facets=True),
    )
    return _shown(state, found, home, seen, answers)


def _shown(
    state: SearchState, found: Offer, home: str, seen: Seen, answers: Answers, *, deferred: bool = False
) -> dict[str, Any]:
    """The template values of an answer, and of the other model's in a comparison. `deferred`: without filters."""
    answer, other = answers
    garments = garments_of(state, seen.regions, home) if seen.regions is not None else None
    kind = filters_of(seen.regions, state) if seen.regions is not None else ()
    attribute_kinds = found.info.kinds
    look = view.look_rows(state, answer, garments, home) if state.shows_look and garments is not None else []
    return {
        "answer": answer,
        "other": other,
        "garments": garments,
        "garments_query": state.query() if seen.late else None,
        "look": look,
        "chips": view.chips(state, home, kind),
        "tiles": view.tiles(state, answer, home, other=other["ranking"] if other else ()),
        "other_tiles": view.tiles(state, other, home, other=answer["ranking"]) if other else [],
        "facets": [] if deferred else view.facets(state, answer, attribute_kinds),
        "facets_query": state.query() if deferred else None,
        # A predicted kind outside the garment's own would find nothing.
        "kinds": [] if look or kind else view.kinds(state, answer, attribute_kinds, home),
        "relaxations": view.relaxations(state, answer, home),
        "more": None if other or state.shows_look else _more(state, answer, 0),
    }


def _more(state: SearchState, answer: dict[str, Any], offset: int) -> str | None:
    """The query for the next page of products, or None on the last page."""
    reached = offset + len(answer["results"])
    total = answer.get("total", reached + 1)
    if len(answer["results"]) < PAGE_SIZE or reached >= min(total, MOST_FOUND):
        return None
    return state.query(("offset", str(reached)))


def _offset(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text[:9]) < MOST_FOUND:
        raise ParameterInvalid(f"'offset' is a number from 1 to {MOST_FOUND - 1}")
    return int(text)


def _retry_s(error: VitrineError) -> int | None:
    """Seconds until the page retries by itself; None if a retry cannot help."""
    if error.status not in (429, 503, 504):
        return None
    return max(1, round(error.retry_after_s or _RETRY_S))


def _home(request: Request) -> str:
    pages: Pages = request.app.state.pages
    return pages.url("/")
