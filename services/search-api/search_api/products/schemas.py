"""Schemas of the products calls: their shared parameters and their answers."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from search_api.product_addresses import id_of_path

PublicId = int | str
Value = str | int | float | bool | list[str]

_PRODUCT_EXAMPLE: dict[str, JsonValue] = {
    "id": 7747,
    "score": 0.9137,
    "dataset": "fashion-product",
    "image": "/api/images/7747?dataset=fashion-product",
    "gender": "Women",
    "masterCategory": "Apparel",
    "articleType": "Dresses",
    "baseColour": "Blue",
    "year": 2012,
    "name": "Blue Printed Dress",
}


class ProductOut(BaseModel):
    """A product. Its attributes are further members, under their own names."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [_PRODUCT_EXAMPLE]})
    __pydantic_extra__: dict[str, Value]

    id: PublicId = Field(description="A number where the catalogue's ids are numbers")
    dataset: str
    image: str = Field(description="Address of the picture, relative to this API; of several, the first")
    pictures: list[str] | None = Field(
        default=None, description="Addresses of all pictures, the first one first; absent where there is only one"
    )
    variantOf: PublicId | None = Field(  # noqa: N815 - the member's name in the answer
        default=None,
        description="The id that it shares with its variants; absent if that is its own id, or if it has none",
    )
    variants: int | None = Field(
        default=None,
        description=(
            "How many more variants of the product pass the filters; absent if none does, in an export, and in a "
            "search for all variants"
        ),
    )


class ProductAnswer(BaseModel):
    """One product."""

    success: Literal[True]
    product: ProductOut
    notices: list[str] = Field(
        default=[], description="After a put: attributes that were stored under another name, and why"
    )


class ProductsAnswer(BaseModel):
    """Products of a dataset."""

    success: Literal[True]
    dataset: str
    total: int = Field(description="Products that the filters let through, on all pages together; each variant counts")
    products: list[ProductOut]
    next: str | None = Field(description="The cursor of the next page; null at the end")


class VariantsAnswer(BaseModel):
    """The other variants of a product, ordered by id."""

    success: Literal[True]
    dataset: str
    total: int = Field(description="Other variants that the filters let through")
    products: list[ProductOut]


class DeletedAnswer(BaseModel):
    """The product was deleted."""

    success: Literal[True]
    id: PublicId
    dataset: str


class RestoredAnswer(BaseModel):
    """The product was restored."""

    success: Literal[True]
    id: PublicId
    dataset: str
    served: bool = Field(description="Whether searches find the product again already")
    detail: str = Field(description="If not, why, and what brings it back")


ProductId = Annotated[
    str,
    Path(description="The product's id, unique in its dataset; a slash in it may be written `%2F`", examples=["7747"]),
    AfterValidator(id_of_path),
]
Dataset = Annotated[
    str | None, Query(description="The dataset; may be left out where one is configured or only one is served")
]
