"""Render templates. `render` makes every page: it escapes all values, fails on undefined names, and adds the path
prefix to addresses.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.types import Scope

from search_api.answers import PATH_PREFIX
from search_api.pages.formats import FILTERS
from search_api.pages.static_files import StaticFiles, accepts_gzip
from search_api.pages.visitors import Visitor
from vitrine.web import DeclaredRoutes

# The top bar. Pages without a route are left out.
_NAVIGATION: Final = (
    ("Search", "/"),
    ("Catalogue", "/catalogue"),
    ("Datasets", "/datasets"),
    ("Jobs", "/jobs"),
    ("Models", "/models"),
    ("Status", "/status"),
)
_LEAST_COMPRESSED_BYTES: Final = 1_024
STYLESHEETS: Final = ("tokens", "base", "frame", "controls", "surfaces", "states", "floating")
_HTMX_CONFIG: Final = {
    # The Content-Security-Policy allows neither inline styles nor eval.
    "includeIndicatorStyles": False,
    "allowEval": False,
    "allowScriptTags": False,
    "selfRequestsOnly": True,
    # Going back reloads the page; nothing is kept in the browser's storage.
    "historyCacheSize": 0,
    "refreshOnHistoryMiss": True,
    "scrollIntoViewOnBoost": False,
    # Error responses are swapped in like others: `frame.js` shows them, and the console has only real defects.
    "responseHandling": [
        {"code": "204", "swap": False},
        {"code": "[23]..", "swap": True},
        {"code": "[45]..", "swap": False, "error": False},
    ],
}


@dataclass(frozen=True, slots=True)
class Pages:
    """The rendering environment, created by `create_app` and stored in the application's state as `pages`."""

    environment: Environment
    static: StaticFiles
    visitor_of: Callable[[Scope], Visitor]
    routes: DeclaredRoutes

    @property
    def path_prefix(self) -> str:
        """The path below which the request in hand reached the application; empty without a proxy's."""
        return PATH_PREFIX.get()

    def url(self, path: str, **query: Any) -> str:
        """An address of this application: the prefix, `path`, and the members of `query` that are not None."""
        asked = urlencode({name: value for name, value in query.items() if value is not None}, doseq=True)
        return f"{self.path_prefix}{path}{'?' if asked else ''}{asked}"

    def path_of(self, address: str) -> str | None:
        """The path and query of an address of this application, without the prefix; None for any other text."""
        parts = urlsplit(address)
        path = parts.path.removeprefix(self.path_prefix) if parts.path.startswith(self.path_prefix) else ""
        if not path.startswith("/") or path.startswith(("//", "/\\")):
            return None
        return path + (f"?{parts.query}" if parts.query else "")

    def navigation(self, visitor: Visitor) -> tuple[tuple[str, str], ...]:
        """The label and path of each page in the top bar that the visitor may open."""
        entries = []
        for label, path in _NAVIGATION:
            route = self.routes.match("GET", path)
            if route is not None and (route.scopes is None or visitor.scopes & route.scopes):
                entries.append((label, path))
        return tuple(entries)

    def text(self, request: Request, name: str, values: Mapping[str, Any]) -> str:
        """Render a template to text."""
        visitor = self.visitor_of(request.scope)
        return self.environment.get_template(name).render(
            path=request.scope["path"],
            visitor=visitor,
            navigation=self.navigation(visitor),
            is_fragment=is_fragment_request(request),
            **values,
        )


def build_pages(*, visitor_of: Callable[[Scope], Visitor], routes: DeclaredRoutes) -> Pages:
    """Load the static files and prepare the templates, which are compiled on first use."""
    static = StaticFiles.of_package()
    environment = Environment(
        loader=PackageLoader("search_api.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(FILTERS)
    pages = Pages(environment, static, visitor_of, routes)
    environment.globals.update(
        url=pages.url,
        static=lambda path: f"{pages.path_prefix}{static.url(path)}",
        vendor=lambda package, name: f"{pages.path_prefix}{static.vendored(package, name)}",
        stylesheets=STYLESHEETS,
        version=version("vitrine-search-api"),
        htmx_config=json.dumps(_HTMX_CONFIG),
        attributes=_attributes,
    )
    return pages


def render(
    request: Request,
    name: str,
    /,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **values: Any,
) -> HTMLResponse:
    """Respond with a template, compressed if the client accepts that. Pages are never cached, because they change and
    depend on the visitor.

    Raises jinja2.UndefinedError if `values` lacks a name that the template uses.
    """
    pages: Pages = request.app.state.pages
    return html_answer(request, pages.text(request, name, values), status=status, headers=headers)


def html_answer(
    request: Request, text: str, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> HTMLResponse:
    """A response with HTML text."""
    sent = {"Cache-Control": "no-store", "Vary": "Accept-Encoding, HX-Request, Cookie", **(headers or {})}
    data = text.encode()
    if len(data) >= _LEAST_COMPRESSED_BYTES and accepts_gzip(request):
        data = gzip.compress(data, 5, mtime=0)
        sent["Content-Encoding"] = "gzip"
    return HTMLResponse(data, status_code=status, headers=sent)


def is_fragment_request(request: Request) -> bool:
    """Whether htmx requests a part of a page. Going back in the history requests the whole page."""
    headers = request.headers
    return headers.get("hx-request") == "true" and headers.get("hx-history-restore-request") != "true"


def _attributes(values: Mapping[str, Any]) -> Markup:
    """Format HTML attributes. None and False omit one; True writes it without a value."""
    parts = [
        Markup(" {}").format(name) if value is True else Markup(' {}="{}"').format(name, value)
        for name, value in values.items()
        if value is not None and value is not False
    ]
    return Markup("").join(parts)
