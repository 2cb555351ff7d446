"""The answer of an explanation."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from search_api.products.schemas import PublicId
from search_api.search.schemas import MatchedPicture


class HeatOut(BaseModel):
    """The heatmap of one picture."""

    heat: list[list[float]] = Field(description="By row and column, how much the likeness falls without that part")


class QueryHeatOut(HeatOut):
    """The heatmap of the query."""

    picture: str = Field(
        description="What was searched with, small, as a data address of a PNG: with `region` the part or the garment"
    )


class ExplainAnswer(BaseModel):
    """The heatmaps of a picture and a product that it is compared with."""

    success: Literal[True]
    id: PublicId
    dataset: str
    model: str
    release: str
    score: float = Field(description="Cosine similarity of the two")
    query: QueryHeatOut
    product: HeatOut
    matchedPicture: MatchedPicture | None = Field(  # noqa: N815 - the member's name in the answer
        default=None, description="The picture of the product that is explained: the nearest; absent if it has only one"
    )
    picture: str = Field(description="Both pictures with their heat, as a data address of a PNG")
