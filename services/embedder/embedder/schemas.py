"""The embedder's JSON answers."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from vitrine.embedding.wire import FAMILIAR_HEADER, PREDICTED_HEADER
from vitrine.images.garment_masks import MAX_GARMENTS

Fraction = Annotated[float, Field(ge=0, le=1)]


class PredictedLabel(BaseModel):
    """A label of the release's classifier."""

    label: str
    probability: float = Field(description="From 0 to 1, as the validation of the release's training scores it")


class EmbedResponse(BaseModel):
    """One picture's vector: the mean of several views, if requested."""

    release: str
    dim: int
    vector: list[float] = Field(description="float32, length 1 where projected")
    views: list[list[float]] = Field(description="A vector for each view, the first one first; one view: the vector")
    also: EmbedResponse | None = Field(
        default=None, description="The same by the second release, where one is asked for"
    )
    predicted: list[PredictedLabel] | None = Field(
        default=None, description=f"The likeliest labels, where asked for and known; also as `{PREDICTED_HEADER}`"
    )
    familiar: bool | None = Field(
        default=None,
        description=f"Whether it shows something of the release's kind, where known; also as `{FAMILIAR_HEADER}`",
    )


class Box(BaseModel):
    """A rectangle in the upright picture, in fractions of its sides."""

    x: Fraction
    y: Fraction
    width: Fraction
    height: Fraction


class FoundGarment(BaseModel):
    """A garment in a picture."""

    number: int = Field(description="From 1, the most prominent first: by area and probability")
    kind: str
    title: str
    probability: Fraction
    box: Box
    outline: list[list[tuple[Fraction, Fraction]]] = Field(
        description="Closed polygons of at most 60 points, the largest first, in fractions of the picture's sides"
    )
    share: Fraction = Field(description="Of the picture's area")
    searchable: bool


class RegionsResponse(BaseModel):
    """The garments of a picture."""

    release: str = Field(description="The parser that found them")
    width: int = Field(description="Of the upright picture, in pixels")
    height: int
    garments: list[FoundGarment] = Field(max_length=MAX_GARMENTS)


class EmbeddedGarment(BaseModel):
    """One garment's vector: the mean of several views, if requested."""

    number: int
    vector: list[float] = Field(description="float32, length 1 where projected")
    views: list[list[float]] = Field(description="A vector for each view, the first one first; one view: the vector")
    familiar: bool | None = Field(default=None, description="As of a picture")
    predicted: list[PredictedLabel] | None = Field(default=None, description="As of a picture")


class GarmentsResponse(BaseModel):
    """The garments of a picture, and the vectors of those asked for."""

    release: str
    regions: RegionsResponse
    embedded: list[EmbeddedGarment]


class PictureError(BaseModel):
    """Why a picture has no vector."""

    code: str
    detail: str


class PictureResult(BaseModel):
    """A vector or an error."""

    vector: list[float] | None = None
    familiar: bool | None = Field(default=None, description="As of a single picture; float32 answers leave it out")
    error: PictureError | None = None


class BatchResponse(BaseModel):
    """One result for each picture, in the order of the parts."""

    release: str
    dim: int
    results: list[PictureResult]


class ReleaseInfo(BaseModel):
    """A release of the store."""

    release: str
    loaded: bool
    bytes: int | None = Field(default=None, description="Memory it takes, where it is loaded")


class ReleasesResponse(BaseModel):
    """Every release this embedder can load."""

    releases: list[ReleaseInfo]
