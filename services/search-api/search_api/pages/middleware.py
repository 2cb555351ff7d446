"""The outermost middleware: the path prefix, and for pages security headers, errors as HTML and the redirect to the
login form. The path decides what is a page, so that clients of `/api` always get problem documents.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from search_api.answers import PATH_PREFIX
from search_api.pages.static_files import URL_ROOT
from search_api.pages.templating import Pages, html_answer, is_fragment_request
from vitrine.web.problems import MEDIA_TYPE as PROBLEM

CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "font-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_DATA_PATHS: Final = frozenset({"/api", "/openapi.json", "/livez", "/readyz", "/metrics", "/favicon.ico"})
_MAX_DETAIL_HEADER_BYTES: Final = 600
# Headers about the problem document, which the page replaces.
_REPLACED: Final = ("content-type", "content-length", "www-authenticate")


def is_page(path: str) -> bool:
    """Whether a path (without the prefix) is a page."""
    return not (path.startswith(("/api/", f"{URL_ROOT}/")) or path in _DATA_PATHS)


class PageAnswers:
    """ASGI middleware. Errors of pages become HTML, for htmx a fragment; 401 redirects to the login form."""

    def __init__(self, app: ASGIApp, *, pages: Pages) -> None:
        self._app = app
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_page(scope["path"]):
            await self._app(scope, receive, send)
            return
        refused: Message | None = None
        body = b""

        async def send_page(message: Message) -> None:
            nonlocal refused, body
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=list(message.get("headers", ())))
                if headers.get("content-type") == PROBLEM:
                    refused = message
                    return
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                await send({**message, "headers": headers.raw})
                return
            if refused is None:
                await send(message)
                return
            body += message.get("body", b"")
            if not message.get("more_body"):
                await self._error_page(scope, refused, json.loads(body))(scope, receive, send)

        await self._app(scope, receive, send_page)

    def _error_page(self, scope: Scope, refused: Message, problem: Mapping[str, Any]) -> Response:
        request = Request(scope)
        kept = MutableHeaders(raw=[(k, v) for k, v in refused["headers"] if k.decode().lower() not in _REPLACED])
        if problem["status"] == 401:
            answer = self._login(request)
        else:
            answer = self._page_of(request, problem, retry_after_s=kept.get("retry-after"))
        for name, value in {**kept, **SECURITY_HEADERS}.items():
            answer.headers[name] = value
        return answer

    def _page_of(self, request: Request, problem: Mapping[str, Any], *, retry_after_s: str | None) -> Response:
        fragment = is_fragment_request(request)
        text = self._pages.text(
            request,
            "fragments/error.html" if fragment else "error.html",
            {"problem": problem, "retry_after_s": int(retry_after_s) if retry_after_s else None},
        )
        headers = {"X-Vitrine-Detail": _header_text(problem["detail"])} if fragment else {}
        return html_answer(request, text, status=problem["status"], headers=headers)

    def _login(self, request: Request) -> Response:
        """Redirect to the login form and then back. After a POST, back to the page with the form."""
        query = request.scope["query_string"].decode("latin-1")
        wanted = request.scope["path"] + (f"?{query}" if query else "")
        if is_fragment_request(request):
            wanted = self._pages.path_of(request.headers.get("hx-current-url", ""))
            headers = {"HX-Redirect": self._pages.url("/login", next=wanted), "Cache-Control": "no-store"}
            return Response(status_code=401, headers=headers)
        if request.method == "GET" and request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            text = self._pages.text(request, "arriving.html", {"wanted": wanted})
            return html_answer(request, text)
        address = self._pages.url("/login", next=wanted if request.method in ("GET", "HEAD") else None)
        return RedirectResponse(address, status_code=303, headers={"Cache-Control": "no-store"})


class PathPrefix:
    """ASGI middleware for an application that a proxy serves below a path: the `root_path` that a trusted proxy
    forwards, by default `prefix`.

    The proxy may strip the prefix or not; health checks bypass the proxy and have none. Within the application paths
    have no prefix, and `root_path` and PATH_PREFIX hold it for making addresses.
    """

    def __init__(self, app: ASGIApp, *, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        prefix = scope.get("root_path") or self._prefix
        if scope["type"] != "http" or not prefix:
            await self._app(scope, receive, send)
            return
        path, raw_path = scope["path"], scope.get("raw_path")
        if path == prefix or path.startswith(f"{prefix}/"):
            path = path[len(prefix) :] or "/"
            if raw_path is not None:
                raw_path = raw_path.removeprefix(prefix.encode()) or b"/"
        before = PATH_PREFIX.set(prefix)
        try:
            await self._app({**scope, "path": path, "raw_path": raw_path, "root_path": prefix}, receive, send)
        finally:
            PATH_PREFIX.reset(before)


def _header_text(text: str) -> str:
    """Text encoded for a header; `decodeURIComponent` decodes it."""
    return quote(text[:_MAX_DETAIL_HEADER_BYTES], safe=" ,.:;'!?()/")
