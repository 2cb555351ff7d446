"""Files and bodies that people write, read into checked models, with every fault told by the field it is in."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from vitrine.errors import ParameterInvalid

M = TypeVar("M", bound=BaseModel)
_MAX_FAULTS_TOLD: Final = 5


def parse_as(kind: type[M], content: object, *, what: str) -> M:
    """`content`, parsed TOML or JSON, as a model. Raises ParameterInvalid, naming each field that is wrong; `what` it
    is said to be of is one word, e.g. recipe.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or what}: {fault['msg']}" for fault in error.errors()[:_MAX_FAULTS_TOLD]
        )
        raise ParameterInvalid(f"the {what} is not valid: {faults}") from error


def read_toml(path: Path, *, what: str) -> dict[str, Any]:
    """The content of a TOML file. Raises ParameterInvalid where it is not there, is no text or no TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ParameterInvalid(f"the {what} {path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ParameterInvalid(f"the {what} {path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ParameterInvalid(f"the {what} {path} is not TOML: {error}") from error


def without_catalog(content: dict[str, Any], path: Path, *, what: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The content and its `catalog` table (dataset, reader, root, limit), empty where it has none.

    Raises ParameterInvalid where that is no table.
    """
    rest = dict(content)
    catalog = rest.pop("catalog", {})
    if not isinstance(catalog, dict):
        raise ParameterInvalid(f"the {what} {path} has a 'catalog' that is no table")
    return rest, catalog
