"""Parameters shared by the calls about a product."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

ProductId = Annotated[str, Path(description="The product's id, unique in its dataset", examples=["7747"])]
Dataset = Annotated[
    str | None, Query(description="The dataset; may be left out where one is configured or only one is served")
]
