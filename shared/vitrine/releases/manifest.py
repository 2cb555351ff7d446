"""The manifest of a release: everything that determines its results. Its hash is part of the release id.

It contains no time and no path, so the same inputs always give the same release.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, ClassVar, Final, Literal, Self

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from vitrine.architectures import Options, check_timm_name
from vitrine.errors import ParameterInvalid, ReleaseCorrupt, ReleaseOfOtherKind
from vitrine.evaluation.calibration import Boundary, Curve
from vitrine.products import check_model_name

SCHEMA_VERSION: Final = 1
ID_DIGITS: Final = 10
MAX_MANIFEST_BYTES: Final = 16_000_000
# More than the float32 weights of timm's largest networks.
MAX_WEIGHTS_BYTES: Final = 8_000_000_000
MAX_COMPONENTS: Final = 65_536

# The queries that calibrations are measured on by default: validation queries, which are pictures of the catalogue.
CATALOGUE_PICTURES: Final = "catalogue pictures"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Triple = tuple[float, float, float]


class _Frozen(BaseModel):
    """`GROWN` names fields that are newer than the first releases.

    If such a field is None, it is left out of the JSON, so that the ids of older releases do not change.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    GROWN: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_unused(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = serialize(self)
        return {name: value for name, value in written.items() if value is not None or name not in self.GROWN}


class Architecture(_Frozen):
    """The network: timm's name and options, the layer that its feature comes from, and what follows it."""

    GROWN = frozenset({"pooling", "embedding"})

    timm_name: str = Field(max_length=160)
    options: Options = {}
    cut: Literal["pooled", "pooled_before_last_activation", "convolutions_mean"] = "pooled"
    raw_dim: int = Field(
        ge=1,
        le=MAX_COMPONENTS,
        description="Components of the network's output: of the embedding, if it has one",
    )
    pooling: Literal["gem"] | None = Field(default=None, description="Pooling of the last map; the mean, if absent")
    embedding: int | None = Field(
        default=None, ge=1, le=16_384, description="Components of a trained embedding, if there is one"
    )

    @field_validator("timm_name")
    @classmethod
    def _known_to_timm(cls, name: str) -> str:
        return check_timm_name(name)


class WeightsOrigin(_Frozen):
    """The source of the weights, and the hash of the release's copy."""

    source: str = Field(description="pretrained:NAME, seed:N or file:NAME")
    source_sha256: Sha256 | None = Field(default=None, description="Of the file they were read from")
    sha256: Sha256 = Field(description="Of the release's weights.safetensors")
    size_bytes: int = Field(ge=1, le=MAX_WEIGHTS_BYTES)


class Preprocessing(_Frozen):
    """How a picture becomes the network's input of `height_px` by `width_px` pixels.

    By default the picture is resized to cover a box of the input's aspect ratio and height `resize_px`, and its center
    is cropped. For a square input `resize_px` is the short side.
    """

    GROWN = frozenset({"input_width_px", "fit", "detail_px"})

    input_px: int = Field(ge=16, le=2048, description="Height of the network's input; also its width by default")
    input_width_px: int | None = Field(default=None, ge=16, le=2048, description="Width, if the input is not square")
    resize_px: int = Field(ge=16, le=4096)
    fit: Literal["pad", "stretch"] | None = Field(
        default=None,
        description="Keep the whole picture: padded with white, or stretched; the center is cropped, if absent",
    )
    detail_px: int | None = Field(
        default=None,
        ge=8,
        le=2048,
        description="Height to which the picture is reduced first, so that all pictures are equally sharp",
    )
    interpolation: Literal["bilinear", "bicubic"]
    mean: Triple
    std: Triple
    decode_rules_version: int = Field(ge=1)

    @property
    def height_px(self) -> int:
        return self.input_px

    @property
    def width_px(self) -> int:
        return self.input_px if self.input_width_px is None else self.input_width_px

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if self.resize_px < self.input_px:
            raise ValueError("resize_px is smaller than input_px, so the crop would not fit")
        return self


class FittedOn(_Frozen):
    """The products a projection was fitted on. `ids_sha256` is the hash of the sorted product ids, one a line."""

    dataset: str
    part: Literal["train", "all"]
    seed: int
    count: int = Field(ge=1)
    ids_sha256: Sha256


class ProjectionSpec(_Frozen):
    """How features become vectors: L2, PCA with or without whitening, L2 (Jegou and Chum, ECCV 2012)."""

    components: int = Field(ge=1, le=MAX_COMPONENTS)
    whiten: bool
    solver: str
    random_state: int
    explained_variance: float = Field(ge=0, le=1.000001, description="Share of the variance the components keep")
    sha256: Sha256 = Field(description="Of the release's projection.safetensors")
    fitted_on: FittedOn


class Familiarity(_Frozen):
    """A linear out-of-distribution detector: a query is in distribution if `weights` x feature + `bias` >= 0.

    The feature is L2-normalised and not projected: in a few components, noise looks like a garment.
    """

    weights: tuple[float, ...] = Field(min_length=1, description="One for each component of the raw feature")
    bias: float
    pictures: int = Field(ge=1, description="Generated out-of-distribution pictures that it was fitted on")


class Calibration(_Frozen):
    """The probability that a match of a score is right: a rising, piecewise linear curve through knots.

    No match is right for a query that is out of distribution.
    """

    GROWN = frozenset({"familiarity", "calibrated_for"})

    attribute: str = Field(description="A match is right if it equals the query in this attribute")
    scores: tuple[float, ...] = Field(min_length=2, description="Cosines, ascending")
    probabilities: tuple[float, ...] = Field(
        min_length=2, description="Probability that a match of that cosine is right"
    )
    pairs: int = Field(ge=1, description="Matches of validation queries that it was fitted on")
    familiarity: Familiarity | None = Field(default=None, description="The out-of-distribution detector")
    calibrated_for: str | None = Field(
        default=None,
        pattern=r"^[\x20-\x7e]{1,80}$",
        description="The kind of queries it was measured on; pictures of the catalogue, if absent",
    )

    @property
    def boundary(self) -> Boundary | None:
        """The out-of-distribution detector, ready to use."""
        plane = self.familiarity
        return None if plane is None else Boundary(np.array(plane.weights), plane.bias)

    @model_validator(mode="after")
    def _rises(self) -> Self:
        Curve.of(self.scores, self.probabilities)
        return self


class Augmentation(_Frozen):
    """Database-side augmentation: each indexed vector is averaged with its neighbours. Queries are not changed."""

    neighbours: int = Field(ge=1, le=200, description="Number of nearest other products that are added")
    alpha: float = Field(
        ge=0, le=20, allow_inf_nan=False, description="A neighbour's weight is its score to this power"
    )


class _Identified(_Frozen):
    """What the manifests of all releases have. The hash of the canonical JSON is part of the release id."""

    schema_version: Literal[1] = SCHEMA_VERSION
    model: str
    weights: WeightsOrigin
    preprocessing: Preprocessing
    recipe: dict[str, Any] | None = Field(default=None, description="The recipe that it was trained by, if any")
    metrics: dict[str, float] = {}
    parent: str | None = Field(default=None, description="The release it was trained from")

    @field_validator("model")
    @classmethod
    def _model_name(cls, name: str) -> str:
        return check_model_name(name)

    @property
    def release_id(self) -> str:
        """`<model>-<first 10 hex digits of the SHA-256 of the canonical JSON>`."""
        return f"{self.model}-{hashlib.sha256(self.canonical_json()).hexdigest()[:ID_DIGITS]}"

    def canonical_json(self) -> bytes:
        """JSON with sorted keys and no spaces: the bytes that are hashed and stored."""
        return json.dumps(
            self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        ).encode()


class ParserNetwork(_Frozen):
    """The network of a parser: timm's backbone, and the feature pyramid on its maps."""

    timm_name: str = Field(max_length=160)
    options: Options = {}
    levels: tuple[int, ...] = Field(
        min_length=1, max_length=6, description="The backbone's maps that are used, by timm's `out_indices`, ascending"
    )
    channels: int = Field(ge=8, le=1024, description="Channels of the pyramid")

    @field_validator("timm_name")
    @classmethod
    def _known_to_timm(cls, name: str) -> str:
        return check_timm_name(name)


class ParserManifest(_Identified):
    """A release that finds garments in a photograph, and has no vectors."""

    kind: Literal["parser"] = "parser"
    network: ParserNetwork
    classes: tuple[str, ...] = Field(
        min_length=2,
        max_length=255,
        description="Kinds of `vitrine.garments`, by the value in a mask; background first",
    )


class Manifest(_Identified):
    """A release that embeds pictures: everything that determines the vector of a picture."""

    GROWN = frozenset({"classifier_sha256", "calibration", "augmentation", "split_sha256"})

    architecture: Architecture
    projection: ProjectionSpec
    labels: tuple[str, ...] | None = Field(default=None, description="Class names in order, if it has a classifier")
    classifier_sha256: Sha256 | None = Field(default=None, description="Of its classifier.safetensors, if there is one")
    split_sha256: Sha256 | None = Field(
        default=None, description="Of its split.safetensors: its split, and every product that it was fitted on"
    )
    calibration: Calibration | None = Field(default=None, description="The meaning of its scores, if it was measured")
    augmentation: Augmentation | None = Field(
        default=None, description="How its gallery is augmented, by neighbours in the parent's vectors"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.projection.components > self.architecture.raw_dim:
            raise ValueError("the projection has more components than the feature")
        familiarity = self.calibration.familiarity if self.calibration is not None else None
        if familiarity is not None and len(familiarity.weights) != self.architecture.raw_dim:
            raise ValueError("familiarity needs one weight for each component of the feature")
        if self.augmentation is not None and self.parent is None:
            raise ValueError("an augmented gallery needs a parent: neighbours are found by the parent's vectors")
        return self

    @property
    def dim(self) -> int:
        """Components of a vector."""
        return self.projection.components

    @property
    def label(self) -> str | None:
        """The attribute whose values the classifier predicts; None if it has none or its recipe does not name it."""
        data = (self.recipe or {}).get("data")
        found = data.get("label") if isinstance(data, dict) and self.labels is not None else None
        return found if isinstance(found, str) else None

    @classmethod
    def parse(cls, data: bytes, *, release_id: str) -> Manifest:
        """Parse the stored manifest of a release that embeds pictures.

        Raises ReleaseCorrupt if it is not valid or does not have the id `release_id`, ReleaseOfOtherKind for a parser.
        """
        found = parse_manifest(data, release_id=release_id)
        if isinstance(found, ParserManifest):
            raise ReleaseOfOtherKind(
                f"release {release_id!r} is a parser of garments and has no vectors: name one that embeds pictures"
            )
        return found


def parse_manifest(data: bytes, *, release_id: str) -> Manifest | ParserManifest:
    """Parse a stored manifest of either kind.

    Raises ReleaseCorrupt if it is not valid or does not have the id `release_id`.
    """
    try:
        given = json.loads(data)
        kind = ParserManifest if isinstance(given, dict) and given.get("kind") == "parser" else Manifest
        manifest: Manifest | ParserManifest = kind.model_validate_json(data)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:5])
        raise ReleaseCorrupt(f"the manifest of release {release_id!r} is not valid: {faults}") from error
    except (ValueError, RecursionError) as error:
        raise ReleaseCorrupt(f"the manifest of release {release_id!r} is not valid JSON") from error
    except ParameterInvalid as error:
        raise ReleaseCorrupt(f"the manifest of release {release_id!r} is not valid: {error.detail}") from error
    if manifest.release_id != release_id:
        raise ReleaseCorrupt(
            f"the manifest stored as release {release_id!r} belongs to {manifest.release_id!r}; "
            "restore the release or make it again"
        )
    return manifest
