"""The answers about datasets."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from search_api.models.schemas import CollectionOut, ServedModel
from search_api.products.schemas import PublicId


class DatasetOut(BaseModel):
    """A dataset: its collections, and the number of products put or deleted through the API."""

    dataset: str
    models: list[ServedModel]
    collections: list[CollectionOut]
    uploaded: int = Field(description="Products put through the API")
    deleted: int = Field(description="Products deleted through the API")


class DatasetsAnswer(BaseModel):
    """Every dataset that is indexed or has uploads."""

    success: Literal[True]
    datasets: list[DatasetOut]


class DeletedProductsAnswer(BaseModel):
    """The ids of deleted products, sorted."""

    success: Literal[True]
    dataset: str
    total: int
    deleted: list[PublicId]


class DatasetDroppedAnswer(BaseModel):
    """The dataset was dropped."""

    success: Literal[True]
    dataset: str
    collections: list[str] = Field(description="The collections that were removed")
    uploads: bool = Field(description="Whether the products put through the API were removed too")
