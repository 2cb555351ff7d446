"""Writes docs/recipes.md from the recipe classes: every field with its default and meaning.

`--check` writes nothing and fails if the page is stale.
"""

from __future__ import annotations

import re
import sys
from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tools.pages import DOCS, field_table, write_or_check
from vitrine.parse_recipes import (
    ParseAugmentRecipe,
    ParseDataRecipe,
    ParseLossRecipe,
    ParseModelRecipe,
    ParseRecipe,
    ParseStage,
    ParseValidationRecipe,
)
from vitrine.recipes import (
    AugmentRecipe,
    DataRecipe,
    MapsRecipe,
    ModelRecipe,
    OptimRecipe,
    ProjectionRecipe,
    Recipe,
    SamplerRecipe,
    StreetRecipe,
    TermRecipe,
    UnlabelledRecipe,
    ValidationRecipe,
)

PAGE: Final = DOCS / "recipes.md"
TABLES: Final[dict[str, type[BaseModel]]] = {
    "[data]": DataRecipe,
    "[model]": ModelRecipe,
    "[[terms]]": TermRecipe,
    "[optim]": OptimRecipe,
    "[sampler]": SamplerRecipe,
    "[augment]": AugmentRecipe,
    "[unlabelled]": UnlabelledRecipe,
    "[street]": StreetRecipe,
    "[maps]": MapsRecipe,
    "[validation]": ValidationRecipe,
    "[projection]": ProjectionRecipe,
}
PARSER_TABLES: Final[dict[str, type[BaseModel]]] = {
    "[data]": ParseDataRecipe,
    "[model]": ParseModelRecipe,
    "[loss]": ParseLossRecipe,
    "[augment]": ParseAugmentRecipe,
    "[[stages]]": ParseStage,
    "[validation]": ParseValidationRecipe,
}
PARSER_HEAD: Final = """
# Recipes of parsers

A recipe of the kind `parse` trains a parser of garments. Its catalogue is a folder of outlined photographs: `photos/`,
`masks/` with one byte a pixel, and `labels.csv` with the name of each value. `[optim]` has the fields above; its
`train_norm` is about the backbone.

"""
HEAD: Final = """# Recipes

A recipe is a TOML file that defines a training completely. `vitrine train RECIPE.toml` starts it as a job, and
`POST /api/jobs/train` takes the same fields as JSON. The recipes in [recipes](../recipes) made the releases whose
results the documentation reports. This page is generated from the recipe classes by `make docs`.

A table `[catalog]` (`dataset`, `reader`, `root`, `limit`, `mapping`) may name the catalogue; `mapping` is a table of
columns, such as `{id = "Handle"}`. Options of the command line override it.

`after = "OTHER.toml"` names a recipe in the same folder that is trained first. This recipe then starts from its
release. The other recipe may have an `after` of its own: `vitrine train` trains the whole chain in order. With
`--release ID` it starts from that release and trains only the last recipe.

"""


def render() -> str:
    """The page: first the fields of the recipe itself, then those of each table."""
    own = {name: field for name, field in Recipe.model_fields.items() if not _is_table(field)}
    parser = {name: field for name, field in ParseRecipe.model_fields.items() if not _is_table(field)}
    return "".join(
        [
            HEAD,
            "## The recipe itself\n\n",
            field_table(own, COLUMNS),
            *_sections(TABLES),
            PARSER_HEAD,
            "## The recipe of a parser\n\n",
            field_table(parser, COLUMNS),
            *_sections(PARSER_TABLES, suffix=" of a parser"),
        ]
    )


def _sections(tables: dict[str, type[BaseModel]], *, suffix: str = "") -> list[str]:
    sections = []
    for name, recipe in tables.items():
        meaning = " ".join((recipe.__doc__ or "").split())
        sections += [f"\n## `{name}`{suffix}\n\n{meaning}\n\n", field_table(recipe.model_fields, COLUMNS)]
    return sections


def _is_table(field: FieldInfo) -> bool:
    kind = field.annotation
    optional = ("TermRecipe", "UnlabelledRecipe", "StreetRecipe", "MapsRecipe", "ParseStage")
    return (isinstance(kind, type) and issubclass(kind, BaseModel)) or any(name in str(kind) for name in optional)


def _name(name: str, _field: FieldInfo) -> str:
    return f"`{name}`"


def _takes(_field_name: str, field: FieldInfo) -> str:
    kind = field.annotation
    text = kind.__name__ if isinstance(kind, type) and not hasattr(kind, "__args__") else str(kind)
    text = re.sub(r"(?:Union|Optional)\[(.*)\]$", lambda found: found[1].replace("], ", "] or "), text)
    text = re.sub(r"typing\.|vitrine\.(?:parse_)?recipes\.", "", text)
    text = re.sub(r"Literal\[([^\]]*)\]", lambda found: found[1].replace(", ", " or "), text)
    text = text.replace("NoneType", "none").replace("None", "none")
    return text.replace("|", "or").replace("tuple", "list").replace("'", "`")


def _default(_field_name: str, field: FieldInfo) -> str:
    if field.is_required():
        return "must be given"
    value: Any = field.get_default(call_default_factory=True, validated_data={})
    return "none" if value is None or value == () or value == {} else f"`{value}`"


COLUMNS: Final = {"field": _name, "takes": _takes, "default": _default}

if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, render, description=__doc__))
