"""Log in with an API key, and log out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final
from urllib.parse import parse_qs

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from search_api.pages.sessions import Sessions
from search_api.pages.templating import Pages, render
from search_api.pages.visitors import Visitor
from vitrine.errors import AccessDenied, BodyTooLarge, ForeignSite
from vitrine.web import KeyRing, address_of, error_headers, is_same_origin, open_to_all

router = APIRouter(include_in_schema=False)
_MAX_FORM_BYTES: Final = 8_192
_NO_STORE: Final = {"Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class LoginForm:
    """The sent form: the key, and the page to open afterwards."""

    key: str
    wanted: str | None


@router.api_route("/login", methods=["GET", "HEAD"])
@open_to_all
async def login_page(
    request: Request, wanted: Annotated[str | None, Query(alias="next")] = None, arriving: bool = False
) -> Response:
    """The form. A visitor who is logged in and only `arriving` from another site is redirected at once."""
    pages: Pages = request.app.state.pages
    visitor = pages.visitor_of(request.scope)
    if not visitor.keys_needed or (arriving and visitor.name):
        return _see_other(pages, _within(pages, wanted))
    return render(request, "login.html", wanted=_within(pages, wanted), fault=None)


@router.post("/login")
@open_to_all
async def login(request: Request) -> Response:
    pages: Pages = request.app.state.pages
    sessions: Sessions = request.app.state.sessions
    ring: KeyRing = request.app.state.key_ring
    _check_own_form(request)
    form = await _read(request, pages)
    if not ring:
        return _see_other(pages, form.wanted)
    if not form.key:
        return render(request, "login.html", status=422, wanted=form.wanted, fault="Type or paste an API key.")
    try:
        key = ring.identify(form.key.encode(), address_of(request.scope))
    except AccessDenied as error:
        fault = f"{error.detail[:1].upper()}{error.detail[1:]}."
        return render(
            request, "login.html", status=error.status, headers=error_headers(error), wanted=form.wanted, fault=fault
        )
    visitor = Visitor(keys_needed=True, name=key.name, scopes=key.allowed)
    first = next((path for _, path in pages.navigation(visitor)), "/")
    answer = _see_other(pages, form.wanted or first)
    sessions.start(answer.headers, key, secure=request.scope["scheme"] == "https")
    return answer


@router.post("/logout")
@open_to_all
async def logout(request: Request) -> Response:
    pages: Pages = request.app.state.pages
    sessions: Sessions = request.app.state.sessions
    _check_own_form(request)
    answer = _see_other(pages, "/")
    sessions.end(answer.headers, secure=request.scope["scheme"] == "https")
    return answer


def _check_own_form(request: Request) -> None:
    """Raise ForeignSite if another site sends the form, even one that may call the API."""
    if not is_same_origin(request.scope):
        raise ForeignSite("logging in and out works only from Vitrine's own pages")


async def _read(request: Request, pages: Pages) -> LoginForm:
    body = await request.body()
    if len(body) > _MAX_FORM_BYTES:
        raise BodyTooLarge("the form is larger than a form of this page can be")
    fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=8)
    wanted = _within(pages, fields.get("next", [""])[0])
    return LoginForm(fields.get("key", [""])[0].strip(), wanted)


def _within(pages: Pages, wanted: str | None) -> str | None:
    """A path of this application to redirect to; None for anything else, such as another site."""
    return pages.path_of(f"{pages.path_prefix}{wanted}") if wanted and wanted.startswith("/") else None


def _see_other(pages: Pages, wanted: str | None) -> RedirectResponse:
    return RedirectResponse(pages.url(wanted or "/"), status_code=303, headers=_NO_STORE)
