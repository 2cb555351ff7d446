"""The answers about models and releases."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from vitrine.products import AttributeKind


class ModelDetail(BaseModel):
    """The release and collection that serve a model in a dataset."""

    dataset: str
    model: str
    release: str
    collection: str
    dim: int = Field(description="Components of a vector")
    products: int
    fields: dict[str, AttributeKind] = Field(description="Fields that filters may name, and the kind of each")
    catalog: str = Field(description="The reader the catalogue was read with")
    publishedAt: str | None  # noqa: N815


class ModelsAnswer(BaseModel):
    """The searchable models."""

    success: Literal[True]
    models: list[str] = Field(examples=[["mobilenetv2_100", "resnet50"]])
    details: list[ModelDetail]


class CollectionOut(BaseModel):
    """A collection: the vectors of a dataset, made by a release."""

    dataset: str
    collection: str
    state: Literal["building", "ready"]
    products: int
    serving: bool


class ServedModel(BaseModel):
    """The release and collection that serve a model in a dataset."""

    model: str
    release: str
    collection: str
    products: int
    publishedAt: str | None  # noqa: N815


class ReleaseOut(BaseModel):
    """A release and its collections."""

    id: str
    model: str
    kind: Literal["embedding", "parser"] | None = Field(
        description="Whether it embeds pictures or finds garments in them; null where the manifest cannot be read"
    )
    dim: int | None = Field(
        description="Components of a vector; null for a parser, and where the manifest cannot be read"
    )
    stored: bool = Field(description="Whether the release store holds it")
    collections: list[CollectionOut]


class ReleasesAnswer(BaseModel):
    """Every release that is stored or indexed."""

    success: Literal[True]
    releases: list[ReleaseOut]


class ActivatedAnswer(BaseModel):
    """The release that serves now."""

    success: Literal[True]
    dataset: str
    model: str
    release: str
    collection: str
    previous: str | None = Field(description="The release that served before; activate it to go back")
    previousCollection: str | None = Field(description="The collection that served before")  # noqa: N815
