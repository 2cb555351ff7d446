"""The answers about datasets."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from search_api.models.schemas import CollectionOut, ServedModel
from search_api.products.schemas import PublicId
from vitrine.products import AttributeKind


class DatasetOut(BaseModel):
    """A dataset: its collections, and the number of products put or deleted through the API."""

    dataset: str
    models: list[ServedModel]
    collections: list[CollectionOut]
    uploaded: int = Field(description="Products put through the API")
    deleted: int = Field(description="Products deleted through the API")


class AttributeOut(BaseModel):
    """An attribute of the products."""

    name: str
    kind: AttributeKind
    filterable: bool = Field(description="Whether searches can be filtered by it")


class CatalogOut(BaseModel):
    """Where the products come from."""

    reader: str = Field(description="How the folder is laid out")
    root: str = Field(description="The catalogue's folder")
    mapping: dict[str, str] = Field(description="Columns that were named for roles or attributes")


class JobErrorOut(BaseModel):
    """Why a job failed."""

    code: str
    detail: str


class IndexingOut(BaseModel):
    """How an indexing ended."""

    job: str
    model: str
    state: Literal["succeeded", "failed", "cancelled"]
    started_at: str | None = Field(alias="startedAt")
    finished_at: str | None = Field(alias="finishedAt")
    scheduled: bool = Field(description="Whether a schedule started it")
    counts: dict[str, float] = Field(description="Products: `added`, `changed`, `removed`, `indexed` and others")
    error: JobErrorOut | None


class ScheduleOut(BaseModel):
    """An indexing that is repeated."""

    model: str
    every: str = Field(description="The interval", examples=["6h"])
    root: str
    allow_removal: bool = Field(alias="allowRemoval")
    full: bool
    next_at: str = Field(alias="nextAt", description="When it is due next")
    last_job: str | None = Field(alias="lastJob", description="The job that it started last")


class DatasetAnswer(DatasetOut):
    """One dataset in detail."""

    success: Literal[True]
    products: int = Field(description="Products that are served")
    attributes: list[AttributeOut]
    catalogue: CatalogOut | None = Field(description="Of the collection that was published last; null if there is none")
    indexings: list[IndexingOut] = Field(description="The last indexing with each model, the latest first")
    schedules: list[ScheduleOut]


class ScheduleBody(BaseModel):
    """How often to index a dataset again."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    every: str = Field(max_length=40, description="The interval: a number and min, h, d or w", examples=["6h"])
    model: str | None = Field(
        default=None, max_length=120, description="The model; may be left out where one model serves the dataset"
    )
    allow_removal: bool = Field(
        default=False, alias="allowRemoval", description="Also where more than a fifth of the products would be removed"
    )
    full: bool = Field(default=False, description="Read every picture, also those whose file has not changed")


class ScheduleAnswer(BaseModel):
    """The schedule as it is now."""

    success: Literal[True]
    dataset: str
    schedule: ScheduleOut


class ScheduleRemovedAnswer(BaseModel):
    """The dataset is not indexed by a schedule any more."""

    success: Literal[True]
    dataset: str
    model: str


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
