"""Write docs/configuration.md from the settings classes: one table of every environment variable, its default, which
services read it and what it means. `--check` writes nothing and fails when the page is stale.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any, Final

from pydantic import AliasChoices, SecretStr
from pydantic.fields import FieldInfo

from vitrine.settings import CommonSettings

SERVICES: Final = {
    "embedder": "embedder.settings",
    "indexer": "indexer.settings",
    "trainer": "trainer.settings",
    "search-api": "search_api.settings",
}
PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"
HEAD: Final = """# Configuration

Every setting comes from the environment. This page is made from the settings classes by `make docs`.
`vitrine up` sets the addresses and folders itself; what is set in its environment it passes on.

"""


def render() -> str:
    """The page: the settings all services share, then each service's own."""
    common = CommonSettings.model_fields
    sections = [HEAD, "## Shared by all services\n\n", _table(common)]
    for service, module in SERVICES.items():
        fields = importlib.import_module(module).Settings.model_fields
        own = {name: field for name, field in fields.items() if name not in common}
        sections += [f"\n## {service}\n\n", _table(own)]
    return "".join(sections)


def _table(fields: dict[str, FieldInfo]) -> str:
    rows = ["| variable | default | meaning |\n", "|---|---|---|\n"]
    for name, field in fields.items():
        meaning = (field.description or "").replace("|", "\\|")
        rows.append(f"| {_variables(name, field)} | {_default(field)} | {meaning} |\n")
    return "".join(rows)


def _variables(name: str, field: FieldInfo) -> str:
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return ", ".join(f"`{choice}`" for choice in alias.choices)
    return f"`{alias}`" if isinstance(alias, str) else f"`VITRINE_{name.upper()}`"


def _default(field: FieldInfo) -> str:
    value: Any = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value == () or value == "" or isinstance(value, SecretStr):
        return "none"
    return f"`{value}`"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when the page is stale, write nothing")
    page = render()
    if parser.parse_args().check:
        if PAGE.read_text() != page:
            sys.stderr.write(f"{PAGE.name} is stale: run 'make docs'\n")
            return 1
        return 0
    PAGE.write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
