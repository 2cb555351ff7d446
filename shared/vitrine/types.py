"""Types of bounded size, for what callers write into requests, recipes, plans and experiments. A job is kept in Redis,
logged and shown, so nothing of it may be of any length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field
from typing_extensions import TypeAliasType

# The largest whole number that every JSON reader keeps exactly.
Whole = Annotated[int, Field(ge=-(2**53), le=2**53)]
# A name of an attribute, a model, a release, a module, a measure.
Name = Annotated[str, Field(max_length=140)]
ShortText = Annotated[str, Field(max_length=200)]
Text = Annotated[str, Field(max_length=4096)]

# Parameters whose names the caller chooses, such as those of a loss.
Parameters = Annotated[dict[Name, ShortText | Whole | float | bool], Field(max_length=32)]

# A part of a document that another model checks later. What reads it sees plain JSON.
if TYPE_CHECKING:
    BoundedJson = Any
else:
    BoundedJson = TypeAliasType(
        "BoundedJson",
        "Annotated[list[BoundedJson], Field(max_length=4096)] "
        "| Annotated[dict[Name, BoundedJson], Field(max_length=64)] | Text | Whole | float | bool | None",
    )
JsonObject = Annotated[dict[Name, BoundedJson], Field(max_length=64)]
