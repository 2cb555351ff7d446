"""Writes docs/configuration.md from the settings classes: every environment variable with its default and meaning.

`--check` writes nothing and fails if the page is stale.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, Final

from pydantic import AliasChoices, SecretStr
from pydantic.fields import FieldInfo

from tools.pages import DOCS, field_table, write_or_check
from vitrine.settings import CommonSettings

SERVICES: Final = {
    "embedder": "embedder.settings",
    "indexer": "indexer.settings",
    "trainer": "trainer.settings",
    "search-api": "search_api.settings",
}
PAGE: Final = DOCS / "configuration.md"
HEAD: Final = """# Configuration

Every setting comes from the environment. This page is generated from the settings classes by `make docs`.
`vitrine up` sets the addresses and folders itself, and passes its environment to the services.

"""


def render() -> str:
    """The page: first the settings shared by all services, then those of each service."""
    common = CommonSettings.model_fields
    sections = [HEAD, "## Shared by all services\n\n", field_table(common, COLUMNS)]
    for service, module in SERVICES.items():
        fields = importlib.import_module(module).Settings.model_fields
        own = {name: field for name, field in fields.items() if name not in common}
        sections += [f"\n## {service}\n\n", field_table(own, COLUMNS)]
    return "".join(sections)


def _variables(name: str, field: FieldInfo) -> str:
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return ", ".join(f"`{choice}`" for choice in alias.choices)
    return f"`{alias}`" if isinstance(alias, str) else f"`VITRINE_{name.upper()}`"


def _default(_name: str, field: FieldInfo) -> str:
    value: Any = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value == () or value == "" or isinstance(value, SecretStr):
        return "none"
    return f"`{value}`"


COLUMNS: Final = {"variable": _variables, "default": _default}

if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, render, description=__doc__))
