"""Types used across packages: arrays of the embedding space, and pydantic types of bounded size.

Requests, recipes, plans and experiments use the bounded types: a job is stored in Redis, logged and shown, so none of
its fields may have an unlimited length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field
from typing_extensions import TypeAliasType

# Array aliases name the dtype; docstrings give the shape.
Vectors = npt.NDArray[np.float32]  # features or embeddings, (N, D) or (D,); scores
Rows = npt.NDArray[np.int64]  # row numbers
Codes = npt.NDArray[np.int64]  # labels as whole numbers, -1 for an unknown one
Flags = npt.NDArray[np.bool_]
Values = npt.NDArray[np.float64]  # measures, probabilities and statistics
Pixels = npt.NDArray[np.uint8]  # (H, W, 3) or (N, H, W, 3)

# The largest whole number that every JSON reader keeps exactly.
Whole = Annotated[int, Field(ge=-(2**53), le=2**53)]
# The name of an attribute, a model, a release, a module or a metric.
Name = Annotated[str, Field(max_length=140)]
ShortText = Annotated[str, Field(max_length=200)]
Text = Annotated[str, Field(max_length=4096)]

# Parameters whose names the caller chooses, such as those of a loss.
Parameters = Annotated[dict[Name, ShortText | Whole | float | bool], Field(max_length=32)]

# A part of a document that another model validates later.
if TYPE_CHECKING:
    BoundedJson = Any
else:
    BoundedJson = TypeAliasType(
        "BoundedJson",
        "Annotated[list[BoundedJson], Field(max_length=4096)] "
        "| Annotated[dict[Name, BoundedJson], Field(max_length=64)] | Text | Whole | float | bool | None",
    )
JsonObject = Annotated[dict[Name, BoundedJson], Field(max_length=64)]
