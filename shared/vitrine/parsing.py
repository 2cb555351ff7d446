"""Read TOML files and parsed documents into pydantic models, with errors that name the invalid fields."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from vitrine.errors import ParameterInvalid

M = TypeVar("M", bound=BaseModel)
_MAX_SHOWN_ERRORS: Final = 5


def message_of(fault: Mapping[str, Any]) -> str:
    """What a pydantic error says, without pydantic's own prefix for an error that a validator raised."""
    return str(fault["msg"]).removeprefix("Value error, ")


def parse_as(kind: type[M], content: object, *, what: str) -> M:
    """Validate parsed TOML or JSON as a model. `what` names it in messages, e.g. recipe.

    Raises ParameterInvalid, which names the invalid fields.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        errors = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or what}: {message_of(one)}" for one in error.errors()[:_MAX_SHOWN_ERRORS]
        )
        raise ParameterInvalid(f"the {what} is not valid: {errors}") from error


def read_toml(path: Path, *, what: str) -> dict[str, Any]:
    """Read a TOML file. Raises ParameterInvalid if it is missing, not text or not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ParameterInvalid(f"the {what} {path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ParameterInvalid(f"the {what} {path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ParameterInvalid(f"the {what} {path} is not TOML: {error}") from error


def without_catalog(content: dict[str, Any], path: Path, *, what: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split off the `catalog` table (dataset, reader, root, limit, mapping); empty if there is none.

    Raises ParameterInvalid if it is not a table.
    """
    rest = dict(content)
    catalog = rest.pop("catalog", {})
    if not isinstance(catalog, dict):
        raise ParameterInvalid(f"'catalog' in the {what} {path} must be a table")
    return rest, catalog
