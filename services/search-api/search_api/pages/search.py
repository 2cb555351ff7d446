"""The search page: the start page, results, further results and errors. One request stores a dropped picture, searches
with it and returns the results.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from search_api.auth import opaque_caller
from search_api.context import Context, Ctx
from search_api.pages import search_view as view
from search_api.pages.search_finding import MOST_FOUND, PAGE_SIZE, Offer, Samples, find, offer
from search_api.pages.search_state import SearchState
from search_api.pages.templating import Pages, is_fragment_request, render
from search_api.search.query_embedding import Asked
from vitrine.errors import DatasetNotFound, ImageRejected, ParameterInvalid, VitrineError
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
    if not is_fragment_request(request):
        kept = await context.uploads.keep(picture)
        pages: Pages = request.app.state.pages
        state = state.having(upload=kept.id, id=None, region=None, by_examples=False)
        return RedirectResponse(pages.url("/") + state.query(), status_code=303)
    return await _page(request, context, state, picture=picture, asked_s=asked_s)


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
        "trouble": None,
        "retry_s": None,
        "chips": [],
        "max_bytes": context.settings.max_body_bytes,
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
    # The picture was not stored, so only the filters of the page remain in the state.
    values |= {"state": state, "chips": view.chips(state, home)}
    fragment = is_fragment_request(request)
    headers = {"HX-Push-Url": home + state.query()} if fragment and picture is not None and status == 200 else {}
    return render(
        request, "search/_view.html" if fragment else "search/page.html", status=status, headers=headers, **values
    )


async def _dropped(
    context: Context, state: SearchState, found: Offer, asked: Asked, home: str, picture: bytes
) -> tuple[SearchState, dict[str, Any]]:
    """(the state with the stored picture, the answer). The picture is stored first, because links need its id."""
    kept = await context.uploads.keep(picture)
    state = state.having(upload=kept.id, id=None, region=None, by_examples=False)
    return state, await _found(context, state, found, asked, home, picture=picture)


async def _found(
    context: Context,
    state: SearchState,
    found: Offer,
    asked: Asked,
    home: str,
    *,
    picture: bytes | None = None,
) -> dict[str, Any]:
    """The template values of an answer, and of the other model's answer in a comparison."""
    comparing = state.compare is not None and state.compare != found.serving.model
    deferred = picture is not None
    searches = [find(context, state, found, asked, picture=picture, with_facets=not deferred)]
    if comparing:
        searches.append(find(context, state, found, asked, picture=picture, model=state.compare, with_facets=False))
    answer, *others = await asyncio.gather(*searches)
    other = others[0] if others else None
    attribute_kinds = found.info.kinds
    return {
        "answer": answer,
        "other": other,
        "tiles": view.tiles(state, answer, home, other=other["ranking"] if other else ()),
        "other_tiles": view.tiles(state, other, home, other=answer["ranking"]) if other else [],
        "facets": [] if deferred else view.facets(state, answer, attribute_kinds),
        "facets_query": state.query() if deferred else None,
        "kinds": view.kinds(state, answer, attribute_kinds, home),
        "relaxations": view.relaxations(state, answer, home),
        "more": None if other else _more(state, answer, 0),
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
