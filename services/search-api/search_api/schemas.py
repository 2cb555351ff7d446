"""The shapes of the answers, for the OpenAPI document and its readers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

PublicId = int | str
Value = str | int | float

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
    """A product. Its attributes stand beside these members under their own names."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [_PRODUCT_EXAMPLE]})
    __pydantic_extra__: dict[str, Value]

    id: PublicId = Field(description="A number where the catalogue's ids are numbers")
    dataset: str
    image: str = Field(description="Address of the picture, relative to this API")


class ScoredProduct(ProductOut):
    """A found product."""

    score: float = Field(description="Cosine similarity to the query, 1 at most")
    confidence: float | None = Field(
        default=None,
        description=(
            "How likely it is of the query's kind, 0 to 1, and 0 where the query shows nothing of the catalogue's "
            "kind; absent where the release is not calibrated. It holds for queries of the kind in `calibratedFor`"
        ),
    )


class TookMs(BaseModel):
    """Where the time went, in milliseconds."""

    decode: float = Field(description="Decoding and resizing the picture; 0 where there is none")
    embed: float = Field(description="The rest of the call to the embedder")
    search: float = Field(description="Qdrant")
    total: float = Field(description="All of the request, reading it included")


class SearchAnswer(BaseModel):
    """Found products, best first."""

    success: Literal[True]
    ranking: list[PublicId] = Field(description="The products' ids, best first")
    results: list[ScoredProduct] = Field(description="The same products with their attributes")
    calibratedFor: str | None = Field(  # noqa: N815 - the member's name in the answer
        default=None,
        description=(
            "The queries that confidences were measured on, and so hold for, e.g. `catalogue pictures`: for other "
            "pictures, such as photographs of people, they are not calibrated. Absent if the release has no calibration"
        ),
    )
    dataset: str
    model: str
    release: str = Field(description="The release that made the vectors")
    plan: Literal["exact", "acorn", "graph"] = Field(description="How the collection was searched")
    tookMs: TookMs  # noqa: N815 - the member's name in the answer


class HeatOut(BaseModel):
    """Where a picture was seen."""

    heat: list[list[float]] = Field(description="By row and column, how much the likeness falls without that part")


class ExplainAnswer(BaseModel):
    """Where a picture and a product look alike."""

    success: Literal[True]
    id: PublicId
    dataset: str
    model: str
    release: str
    score: float = Field(description="Cosine similarity of the two")
    query: HeatOut
    product: HeatOut
    picture: str = Field(description="Both pictures with their heat, as a data address of a PNG")


class ProductAnswer(BaseModel):
    """One product."""

    success: Literal[True]
    product: ProductOut
    notices: list[str] = Field(
        default=[], description="After a put: attributes that were stored under another name, and why"
    )


class DeletedAnswer(BaseModel):
    """The product is gone."""

    success: Literal[True]
    id: PublicId
    dataset: str


class RestoredAnswer(BaseModel):
    """The deletion is undone."""

    success: Literal[True]
    id: PublicId
    dataset: str
    served: bool = Field(description="Whether searches find the product again already")
    detail: str = Field(description="If not, why, and what brings it back")


class FacetValue(BaseModel):
    """A value and how many products have it."""

    value: Value
    count: int


class FacetsAnswer(BaseModel):
    """Values with counts, the commonest first, for each field."""

    success: Literal[True]
    dataset: str
    model: str
    release: str
    facets: dict[str, list[FacetValue]] = Field(
        examples=[{"gender": [{"value": "Men", "count": 22160}, {"value": "Women", "count": 18632}]}]
    )


class ModelDetail(BaseModel):
    """What serves a model in a dataset."""

    dataset: str
    model: str
    release: str
    collection: str
    dim: int = Field(description="Components of a vector")
    products: int
    fields: dict[str, Literal["keyword", "integer", "float"]] = Field(description="Fields that filters may name")
    catalog: str = Field(description="The reader the catalogue was read with")
    publishedAt: str | None  # noqa: N815


class ModelsAnswer(BaseModel):
    """The models that can be searched with."""

    success: Literal[True]
    models: list[str] = Field(examples=[["mobilenetv2_100", "resnet50"]])
    details: list[ModelDetail]


class CollectionOut(BaseModel):
    """A release's vectors of one dataset."""

    dataset: str
    collection: str
    state: Literal["building", "ready"]
    products: int
    serving: bool


class ServedModel(BaseModel):
    """What serves a model in a dataset."""

    model: str
    release: str
    collection: str
    products: int
    publishedAt: str | None  # noqa: N815


class DatasetOut(BaseModel):
    """A dataset, by what is indexed of it and what was put or deleted through the API."""

    dataset: str
    models: list[ServedModel]
    collections: list[CollectionOut]
    uploaded: int = Field(description="Products put through the API")
    deleted: int = Field(description="Products deleted through the API")


class DatasetsAnswer(BaseModel):
    """Every dataset that is indexed, or that something was put into."""

    success: Literal[True]
    datasets: list[DatasetOut]


class DeletedProductsAnswer(BaseModel):
    """The ids of deleted products, ordered."""

    success: Literal[True]
    dataset: str
    total: int
    deleted: list[PublicId]


class DatasetDroppedAnswer(BaseModel):
    """The dataset is gone."""

    success: Literal[True]
    dataset: str
    collections: list[str] = Field(description="The collections that were removed")
    uploads: bool = Field(description="Whether the products put through the API were removed too")


class ReleaseOut(BaseModel):
    """A release, and where it is used."""

    id: str
    model: str
    dim: int | None = Field(description="Components of a vector; null where the manifest cannot be read")
    stored: bool = Field(description="Whether the release store holds it")
    collections: list[CollectionOut]


class ReleasesAnswer(BaseModel):
    """Every release that is stored or indexed."""

    success: Literal[True]
    releases: list[ReleaseOut]


class ActivatedAnswer(BaseModel):
    """The release serves."""

    success: Literal[True]
    dataset: str
    model: str
    release: str
    collection: str
    previous: str | None = Field(description="The release that served before; activate it to go back")
    previousCollection: str | None = Field(description="The collection that served before")  # noqa: N815


class JobOut(BaseModel):
    """A job's record."""

    model_config = ConfigDict(extra="allow")

    id: str
    kind: str
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    version: int = Field(description="Grows by one with every change")


class JobAnswer(BaseModel):
    """One job."""

    success: Literal[True]
    job: JobOut


class JobsAnswer(BaseModel):
    """Jobs, the newest first."""

    success: Literal[True]
    jobs: list[JobOut]


class JobDeletedAnswer(BaseModel):
    """The job whose record was removed."""

    success: Literal[True]
    id: str


class StatusAnswer(BaseModel):
    """The parts of the system as this process sees them."""

    success: Literal[True]
    services: dict[str, dict[str, Any]]
    datasets: list[dict[str, Any]]
