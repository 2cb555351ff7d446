"""Writes the generated modules of the client from docs/openapi/search-api.json and the classes of vitrine.errors:
the models, the options of searches, and the error classes.

`--check` writes nothing and fails if a module is stale. Constraints of values are left out: the server checks them.
"""

from __future__ import annotations

import argparse
import json
import keyword
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic.alias_generators import to_camel, to_snake

from tools.client_errors import render_errors
from tools.client_sync import PACKAGE, ROOT, formatted, sync_modules

Schema = Mapping[str, Any]

DOCUMENT: Final = ROOT / "docs" / "openapi" / "search-api.json"
_REF: Final = "#/components/schemas/"
_SCALARS: Final = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
_WIDTH: Final = 112
# A recursive union, which is any JSON value.
_JSON_VALUE: Final = "BoundedJson"
_UNUSED: Final = frozenset({_JSON_VALUE, "Problem", "Activation"})
# Texts of the API for which Python has a better type.
_OPTION_TYPES: Final = {"facets": "str | Sequence[str]", "region": "str | int | tuple[float, float, float, float]"}
_OPTION_CLASSES: Final = {
    "ListOptions": ("/api/recommend", "Options of every search."),
    "MatchOptions": ("/api/products/{product_id}/similar", "Options of a search by product."),
    "SearchOptions": ("/api/search", "Options of a search by picture."),
}
_OWN_ARGUMENTS: Final = frozenset({"filters", "positive", "negative"})


class Models:
    """The schemas of the document as Python classes, in an order in which each class follows those it names."""

    def __init__(self, document: Schema) -> None:
        self.schemas: dict[str, Schema] = document["components"]["schemas"]
        self.names = {name: self._short(name) for name in self.schemas}
        self.sent = self._reachable(_bodies(document))
        self.jobs = {
            self.names[body.removeprefix(_REF)]: path.rpartition("/")[2] for path, body in _job_bodies(document)
        }

    def render(self) -> str:
        parts = [_head("The models of the search API: what its calls take and answer.")]
        parts += [
            "from typing import Any, Final, Literal",
            "from pydantic import Field, JsonValue",
            "from vitrine_client.model import AttributesModel, Model, Parameters",
        ]
        parts += [self._module_member(name) for name in self._ordered()]
        kinds = "".join(f"    {name}: {kind!r},\n" for name, kind in sorted(self.jobs.items()))
        parts.append(f"JobParams = {' | '.join(sorted(self.jobs))}\n")
        parts.append("# The kind of job that each class of parameters starts.")
        parts.append(f"JOB_KINDS: Final[dict[type[Parameters], str]] = {{\n{kinds}}}")
        return formatted("\n".join(parts))

    def _short(self, name: str) -> str:
        """`JobOut` becomes `Job`, unless there is another `Job`."""
        short = name.removesuffix("Out")
        return name if short in self.schemas else short

    def _reachable(self, names: set[str]) -> set[str]:
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting.extend(_refs(self.schemas[name]))
        return found

    def _ordered(self) -> list[str]:
        done: dict[str, None] = {}

        def visit(name: str) -> None:
            if name in _UNUSED or name in done:
                return
            for other in sorted(_refs(self.schemas[name]) - {name}):
                visit(other)
            done[name] = None

        for name in sorted(self.schemas):
            visit(name)
        return list(done)

    def _module_member(self, name: str) -> str:
        schema, is_sent = self.schemas[name], name in self.sent
        if "properties" not in schema:
            return f"{self.names[name]} = {self._type(schema, is_sent=is_sent)}\n"
        required = set(schema.get("required", ()))
        more = schema.get("additionalProperties")
        base = "Parameters" if is_sent else "AttributesModel" if isinstance(more, dict) else "Model"
        lines = [f"class {self.names[name]}({base}):", _docstring(schema.get("description", f"{name}."))]
        if base == "AttributesModel":
            lines.append(f"    __pydantic_extra__: dict[str, {self._type(more or {}, is_sent=is_sent)}]\n")
        for field, of in schema["properties"].items():
            lines.append(self._field(field, of, required=field in required, is_sent=is_sent))
        return "\n".join(lines) + "\n"

    def _field(self, name: str, schema: Schema, *, required: bool, is_sent: bool) -> str:
        python = _identifier(name)
        kind = self._type(schema, is_sent=is_sent)
        default = "" if required else _default(schema, kind)
        if not required and default == "None" and "None" not in kind.split(" | "):
            kind += " | None"
        if python != name:
            value = f" = Field({f'default={default}, ' if default else ''}alias={name!r})"
        else:
            value = f" = {default}" if default else ""
        return _comment(schema.get("description", "")) + f"    {python}: {kind}{value}"

    def _type(self, schema: Schema, *, is_sent: bool) -> str:
        """The annotation of a schema. Answers may have values of an enumeration that this version does not know."""
        if "$ref" in schema:
            name = schema["$ref"].removeprefix(_REF)
            return "JsonValue" if name == _JSON_VALUE else self.names[name]
        if "anyOf" in schema:
            return " | ".join(dict.fromkeys(self._type(one, is_sent=is_sent) for one in schema["anyOf"]))
        if "const" in schema:
            return f"Literal[{schema['const']!r}]"
        if "enum" in schema:
            values = f"Literal[{', '.join(map(repr, schema['enum']))}]"
            return values if is_sent else f"{values} | str"
        kind = schema.get("type")
        if kind == "array":
            if "prefixItems" in schema:
                items = ", ".join(self._type(one, is_sent=is_sent) for one in schema["prefixItems"])
                return f"tuple[{items}]"
            return f"list[{self._type(schema.get('items', {}), is_sent=is_sent)}]"
        if kind == "object":
            more = schema.get("additionalProperties")
            return f"dict[str, {self._type(more, is_sent=is_sent) if isinstance(more, dict) else 'Any'}]"
        return _SCALARS.get(str(kind), "Any")


def render_options(document: Schema) -> str:
    """The options of searches as typed dictionaries."""
    classes = [_head("The options of searches, under their names in Python: `top_k` is `topK` in the API.")]
    classes += ["from collections.abc import Sequence", "from typing import TypedDict"]
    for name, (path, text) in _OPTION_CLASSES.items():
        lines = [f"class {name}(TypedDict, total=False):", _docstring(text)]
        for option, schema in _options(document, path):
            python = to_snake(option)
            if to_camel(python) != option:
                raise SystemExit(f"{path}: the option {option!r} is not in camel case")
            kind = _OPTION_TYPES.get(option) or _SCALARS[_plain(schema)["type"]]
            lines.append(_comment(schema.get("description", "")) + f"    {python}: {kind} | None")
        classes.append("\n".join(lines) + "\n")
    return formatted("\n".join(classes))


def _options(document: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    operation = next(iter(document["paths"][path].values()))
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "query" and parameter["name"] not in _OWN_ARGUMENTS:
            yield parameter["name"], {"description": parameter.get("description", ""), **parameter["schema"]}
    if path == "/api/recommend":
        body = operation["requestBody"]["content"]["application/json"]["schema"]
        properties = ((name, of) for name, of in body["properties"].items() if name not in _OWN_ARGUMENTS)
        yield from ((name, of) for name, of in properties if _plain(of).get("type") != "array")  # examples


def _plain(schema: Schema) -> Schema:
    return next((one for one in schema.get("anyOf", ()) if one.get("type") != "null"), schema)


def _job_bodies(document: Schema) -> Iterator[tuple[str, str]]:
    for path, operations in document["paths"].items():
        if path.startswith("/api/jobs/") and "post" in operations:
            schema = operations["post"]["requestBody"]["content"]["application/json"]["schema"]
            yield path, schema["$ref"]


def _bodies(document: Schema) -> set[str]:
    return {
        name
        for operations in document["paths"].values()
        for operation in operations.values()
        for name in _refs(operation.get("requestBody", {}))
    }


def _refs(schema: object) -> set[str]:
    """The names of the schemas that a schema refers to."""
    if isinstance(schema, dict):
        own = {schema["$ref"].removeprefix(_REF)} if isinstance(schema.get("$ref"), str) else set()
        return own.union(*(_refs(part) for part in schema.values()))
    return set().union(*map(_refs, schema)) if isinstance(schema, list) else set()


def _default(schema: Schema, kind: str) -> str:
    value = schema.get("default")
    if value is None:
        if "None" in kind.split(" | "):
            return "None"
        return "[]" if kind.startswith("list") else "{}" if kind.startswith("dict") else "None"
    if kind.startswith("tuple"):
        return repr(tuple(value))
    holds_models = isinstance(value, list) and any(isinstance(one, dict) for one in value)
    is_model = isinstance(value, dict) and not kind.startswith("dict")
    return "None" if holds_models or is_model else repr(value)


def _identifier(name: str) -> str:
    python = re.sub(r"\W", "_", to_snake(name))
    return f"{python}_" if keyword.iskeyword(python) else python


def _docstring(text: str) -> str:
    lines: list[str] = []
    for paragraph in text.strip().split("\n\n"):
        lines += ["", *textwrap.wrap(" ".join(paragraph.split()), _WIDTH)]
    first, *rest = lines[1:]
    if not rest and len(first) <= _WIDTH - 4:
        return f'    """{first}"""\n'
    body = "\n".join(f"    {line}" if line else "" for line in [f'"""{first}', *rest])
    return f'{body}\n    """\n'


def _comment(text: str) -> str:
    return "".join(f"    # {line}\n" for line in textwrap.wrap(" ".join(text.split()), _WIDTH - 2))


def _head(text: str) -> str:
    return f'"""{text} Generated by `make docs`."""\n\nfrom __future__ import annotations\n'


def modules() -> dict[Path, Callable[[], str]]:
    """The generated modules, with the function that renders each."""
    document = json.loads(DOCUMENT.read_text())
    return {
        PACKAGE / "models.py": Models(document).render,
        PACKAGE / "options.py": lambda: render_options(document),
        PACKAGE / "api_errors.py": render_errors,
        **sync_modules(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail if a module is stale, write nothing")
    check = parser.parse_args().check
    stale = {path: text for path, render in modules().items() if _current(path) != (text := render())}
    for path, text in stale.items():
        if check:
            sys.stderr.write(f"{path.relative_to(ROOT)} is stale: run 'make docs'\n")
        else:
            path.write_text(text)
    return int(check and bool(stale))


def _current(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
