"""The API's documentation as a page: rendered here from the OpenAPI document, so that it needs no script and nothing
from another host.
"""

from __future__ import annotations

from html import escape
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from vitrine.web import open_to_all

router = APIRouter(include_in_schema=False)

_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
_STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font: 14px/1.4 ui-monospace, monospace; }
details { border-top: 1px solid #8885; padding: .5rem 0; }
summary { cursor: pointer; }
summary b { display: inline-block; min-width: 4.5rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
th, td { text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0; border-top: 1px solid #8883; }
"""


@router.get("/docs")
@open_to_all
async def documentation(request: Request) -> Response:
    return HTMLResponse(page(request.app.openapi()), headers=_HEADERS)


def page(document: dict[str, Any]) -> str:
    """The whole page for an OpenAPI document."""
    info = document["info"]
    by_tag: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            by_tag.setdefault(operation.get("tags", ["other"])[0], []).append(_operation(method, path, operation))
    sections = [
        f"<h2>{escape(tag['name'].capitalize())}</h2><p>{escape(tag['description'])}</p>{''.join(by_tag[tag['name']])}"
        for tag in document.get("tags", [])
        if tag["name"] in by_tag
    ]
    paragraphs = "".join(f"<p>{_text(paragraph)}</p>" for paragraph in info["description"].split("\n\n"))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(info["title"])}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(info['title'])} {escape(info['version'])}</h1>{paragraphs}"
        f'<p><a href="/openapi.json">The OpenAPI document</a></p>{"".join(sections)}</body></html>'
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    parameters = [
        (item["name"], item["in"], item.get("required", False), _kind(item["schema"]), item.get("description", ""))
        for item in operation.get("parameters", [])
    ]
    bodies = operation.get("requestBody", {}).get("content", {})
    parts = [
        f"<p>{_text(operation['description'])}</p>" if operation.get("description") else "",
        f"<p>Scope: {_text(' or '.join(f'`{scope}`' for scope in operation['x-scopes']))}</p>"
        if operation.get("x-scopes")
        else "",
        _table(("Parameter", "In", "Required", "Type", ""), parameters),
        *(_body(media_type, content) for media_type, content in bodies.items()),
        _table(("Status", ""), [(status, item["description"]) for status, item in operation["responses"].items()]),
    ]
    return (
        f"<details><summary><b>{method.upper()}</b> <code>{escape(path)}</code> "
        f"{escape(operation.get('summary', ''))}</summary>{''.join(parts)}</details>"
    )


def _body(media_type: str, content: dict[str, Any]) -> str:
    schema = content.get("schema", {})
    required = set(schema.get("required", ()))
    members = [
        (name, name in required, _kind(item), item.get("description", ""))
        for name, item in schema.get("properties", {}).items()
    ]
    shown = _table(("Field", "Required", "Type", ""), members) if members else ""
    if "$ref" in schema:
        shown = f"<p><code>{escape(_kind(schema))}</code></p>"
    return f"<h4>Body: <code>{escape(media_type)}</code></h4>{shown}"


def _table(heads: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return _text(str(value))


def _kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_kind(choice) for choice in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type") or "any")


def _text(text: str) -> str:
    """Text with `code` in backticks."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
