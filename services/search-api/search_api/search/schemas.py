"""The answers of searches."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from search_api.products.schemas import ProductOut, PublicId, Value
from search_api.search.garments import LEAST_LIKELY


class MatchedPicture(BaseModel):
    """The picture of a product that is nearest to the query."""

    index: int = Field(description="Its place among the product's `pictures`, from 0")
    image: str = Field(description="Its address, relative to this API")


class ScoredProduct(ProductOut):
    """A result."""

    score: float = Field(
        description="Cosine similarity to the query, 1 at most; of several pictures, that of the nearest one"
    )
    matchedPicture: MatchedPicture | None = Field(  # noqa: N815 - the member's name in the answer
        default=None, description="Which picture matched; absent where the product has only one"
    )
    confidence: float | None = Field(
        default=None,
        description=(
            "How likely it is of the query's kind, 0 to 1, and 0 where the query shows nothing of the catalogue's "
            "kind; absent where the release is not calibrated. It holds for queries of the kind in `calibratedFor`"
        ),
    )


class TookMs(BaseModel):
    """Where the time went, in milliseconds."""

    decode: float = Field(description="Decoding and resizing the picture; 0 for a search without one")
    embed: float = Field(description="The rest of the call to the embedder")
    search: float = Field(description="Qdrant")
    total: float = Field(description="All of the request, reading it included")


class PredictionOut(BaseModel):
    """A label predicted for the query."""

    field: str | None = Field(description="The attribute whose values are predicted, so that it can be filtered by")
    label: str
    probability: float


Point = tuple[float, float]


class BoxOut(BaseModel):
    """A rectangle in fractions of the upright picture, from its top left."""

    x: float
    y: float
    width: float
    height: float


class GarmentOut(BaseModel):
    """A garment in a picture."""

    number: int = Field(description="From 1, the most prominent first; a search takes it as `region`")
    kind: str = Field(description="Such as `dress`, `trousers` or `shoes`", examples=["dress"])
    title: str = Field(description="The kind for people to read", examples=["Dress"])
    probability: float = Field(description="How sure the parser is of the kind, 0 to 1")
    box: BoxOut
    outline: list[list[Point]] = Field(
        description="Polygons of [x, y], as fractions of the upright picture: both shoes are one garment"
    )
    share: float = Field(description="Of the picture's area that it covers, 0 to 1")
    searchable: bool = Field(description="Whether `regions=auto` searches with it")
    filters: dict[str, list[str]] = Field(
        description="The filters that follow from its kind, where the dataset has the attribute and its values",
        examples=[{"subCategory": ["Dress"]}],
    )


class RegionsAnswer(BaseModel):
    """The garments in a picture."""

    success: Literal[True]
    parser: str = Field(description="The release that found them")
    width: int = Field(description="Pixels of the upright picture")
    height: int
    garments: list[GarmentOut] = Field(description="The most prominent first; empty if no garment is found")
    tookMs: TookMs  # noqa: N815


class RangeOut(BaseModel):
    """The bounds of a field of numbers or dates."""

    min: float | str
    max: float | str


class RelaxOut(BaseModel):
    """A filter that excludes products."""

    filter: str
    values: list[str]
    products: int = Field(description="How many products the other filters let through")


class FacetValue(BaseModel):
    """A value and how many products have it."""

    value: Value
    count: int


class FacetBucket(BaseModel):
    """A part of the values of a field of numbers or dates, and how many products have one of them.

    `min` and `max` can be used as a filter. Decimal buckets share their edges; a value on one counts in the upper one.
    """

    min: float | str
    max: float | str
    count: int


class Ranked(BaseModel):
    """Products in the order of their similarity, and the rest of the answer."""

    ranking: list[PublicId] = Field(description="The products' ids, best first")
    results: list[ScoredProduct] = Field(description="The same products with their attributes")
    calibratedFor: str | None = Field(  # noqa: N815 - the member's name in the answer
        default=None,
        description=(
            "The queries that confidences were measured on, and so hold for, e.g. `catalogue pictures`: for other "
            "pictures, such as photographs of people, they are not calibrated. Absent if the release has no calibration"
        ),
    )
    plan: Literal["exact", "acorn", "graph"] = Field(description="How the collection was searched")
    total: int = Field(default=0, description="How many products pass the filters")
    predicted: list[PredictionOut] | None = Field(
        default=None, description="The query's likeliest labels, where the release has a classifier"
    )
    facets: dict[str, list[FacetValue | FacetBucket]] | None = Field(
        default=None,
        description=(
            "Of the fields asked for. Keywords, booleans and a few integers: values with their counts, the commonest "
            "first; each value of a list and each level of a category path counts. Decimals, dates and many integers: "
            "buckets with round edges, in ascending order"
        ),
    )
    ranges: dict[str, RangeOut] | None = Field(
        default=None, description="The least and greatest value of the fields of numbers and dates among them"
    )
    withoutValue: dict[str, int] | None = Field(  # noqa: N815 - the member's name in the answer
        default=None, description="How many of the counted products have no value of a field, where there are any"
    )
    hints: list[str] | None = Field(
        default=None, description="Where nothing was found: values of filters that no product has, and close ones"
    )
    relax: list[RelaxOut] | None = Field(
        default=None, description="Where nothing was found: the filters that keep products out, the strictest first"
    )
    nothingLikeThis: bool | None = Field(  # noqa: N815
        default=None,
        description=(
            "Of a garment: whether the dataset has nothing like it. Nothing was found, or by the release's calibration "
            f"even the best match is less than {LEAST_LIKELY:.0%} likely"
        ),
    )


class GarmentRanking(GarmentOut, Ranked):
    """A garment of the picture, and the results of the search with it. `filters` are those that were applied."""


class SearchAnswer(Ranked):
    """The results of a search, best first. With `regions=auto` they are those of the first garment."""

    success: Literal[True]
    dataset: str
    model: str
    release: str = Field(description="The release that made the vectors")
    tookMs: TookMs  # noqa: N815 - the member's name in the answer
    parser: str | None = Field(default=None, description="The release that found the garments, in a search with them")
    garment: GarmentOut | None = Field(
        default=None, description="With a number as `region`: the garment, and the filters that were applied"
    )
    width: int | None = Field(default=None, description="With `regions=auto`: pixels of the upright picture")
    height: int | None = None
    garments: list[GarmentRanking] | None = Field(
        default=None,
        description=(
            "With `regions=auto`: a ranking for each garment, the most prominent first. Empty if none was found; then "
            "the answer is the ranking of the whole picture"
        ),
    )


class FacetsAnswer(BaseModel):
    """The values of each field with counts, most frequent first, or the buckets of numbers and dates in order."""

    success: Literal[True]
    dataset: str
    model: str
    release: str
    facets: dict[str, list[FacetValue | FacetBucket]] = Field(
        examples=[{"gender": [{"value": "Men", "count": 22160}, {"value": "Women", "count": 18632}]}]
    )
    withoutValue: dict[str, int] = Field(  # noqa: N815 - the member's name in the answer
        description="How many products have no value of each field"
    )


class UploadAnswer(BaseModel):
    """A stored query picture."""

    success: Literal[True]
    upload: str = Field(description="Its id, which stands for the picture wherever one is taken")
    expiresAt: str  # noqa: N815
    width: int = Field(description="Pixels, as stored in the file")
    height: int
