"""The manifest of a release: everything that decides what vector a picture gets, and the hash that names it. It holds
no time and no path, so the same inputs make the same release wherever and whenever it is made.
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
from vitrine.errors import ParameterInvalid, ReleaseCorrupt
from vitrine.evaluation.calibration import Boundary, Curve
from vitrine.products import check_model_name

SCHEMA_VERSION: Final = 1
ID_DIGITS: Final = 10
MAX_MANIFEST_BYTES: Final = 16_000_000
# The weights of the largest networks of timm's list, as float32, and some room.
MAX_WEIGHTS_BYTES: Final = 8_000_000_000
MAX_COMPONENTS: Final = 65_536

# What calibrations are measured on: validation queries, pictures of the catalogue itself.
CATALOGUE_PICTURES: Final = "catalogue pictures"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Triple = tuple[float, float, float]


class _Frozen(BaseModel):
    """`GROWN` names what was added since the first releases were made: left out of the JSON, and so of the release's
    id, where a release does without it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    GROWN: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_unused(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = serialize(self)
        return {name: value for name, value in written.items() if value is not None or name not in self.GROWN}


class Architecture(_Frozen):
    """The network: timm's name, the options it is built with, where its feature is taken, and what follows it."""

    GROWN = frozenset({"pooling", "embedding"})

    timm_name: str = Field(max_length=160)
    options: Options = {}
    cut: Literal["pooled", "pooled_before_last_activation", "convolutions_mean"] = "pooled"
    raw_dim: int = Field(
        ge=1,
        le=MAX_COMPONENTS,
        description="Components of what the network gives: of the embedding, where it has one",
    )
    pooling: Literal["gem"] | None = Field(default=None, description="What pools the last map; the mean, where absent")
    embedding: int | None = Field(
        default=None, ge=1, le=16_384, description="Components of a trained embedding, where it has one"
    )

    @field_validator("timm_name")
    @classmethod
    def _of_timms_list(cls, name: str) -> str:
        return check_timm_name(name)


class WeightsOrigin(_Frozen):
    """Where the weights came from, and the hash of what the release holds of them."""

    source: str = Field(description="pretrained:NAME, seed:N or file:NAME")
    source_sha256: Sha256 | None = Field(default=None, description="Of the file they were read from")
    sha256: Sha256 = Field(description="Of the release's weights.safetensors")
    size_bytes: int = Field(ge=1, le=MAX_WEIGHTS_BYTES)


class Preprocessing(_Frozen):
    """From a picture file to the network's input of `height_px` by `width_px` pixels.

    To crop, the picture is resized until it covers a box of `resize_px` height and the input's form, and the middle is
    cut from it; for a square input `resize_px` is then the short side.
    """

    GROWN = frozenset({"input_width_px", "fit", "detail_px"})

    input_px: int = Field(ge=16, le=2048, description="Height of the network's input; its width too, if not given")
    input_width_px: int | None = Field(default=None, ge=16, le=2048, description="Width, where the input is no square")
    resize_px: int = Field(ge=16, le=4096)
    fit: Literal["pad", "stretch"] | None = Field(
        default=None, description="Keep the whole picture, on white or out of proportion; the middle is cut, if absent"
    )
    detail_px: int | None = Field(
        default=None,
        ge=8,
        le=2048,
        description="Height to which the picture is shrunk on the way, so that a sharp one is no sharper than the rest",
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
    """The pictures a projection was fitted on. `ids_sha256` is over the sorted product ids, one a line."""

    dataset: str
    part: Literal["train", "all"]
    seed: int
    count: int = Field(ge=1)
    ids_sha256: Sha256


class ProjectionSpec(_Frozen):
    """How raw features become vectors: L2, PCA with or without whitening, L2 (Jegou and Chum, ECCV 2012)."""

    components: int = Field(ge=1, le=MAX_COMPONENTS)
    whiten: bool
    solver: str
    random_state: int
    explained_variance: float = Field(ge=0, le=1.000001, description="Share of the variance the components keep")
    sha256: Sha256 = Field(description="Of the release's projection.safetensors")
    fitted_on: FittedOn


class Familiarity(_Frozen):
    """Whether a query shows something of the catalogue's kind: `weights` by its feature, brought to length 1, plus
    `bias` is 0 or more. The feature and not the vector: projected to a few components, noise looks like a garment.
    """

    weights: tuple[float, ...] = Field(min_length=1, description="One for each component of the raw feature")
    bias: float
    pictures: int = Field(ge=1, description="Drawn pictures that show nothing, which it parts from the catalogue's")


class Calibration(_Frozen):
    """How likely a match of a score is right: a rising curve through knots, straight between them; and nothing is right
    for a query that is not familiar.
    """

    GROWN = frozenset({"familiarity", "calibrated_for"})

    attribute: str = Field(description="What makes a match right: that it equals the query in this")
    scores: tuple[float, ...] = Field(min_length=2, description="Cosines, ascending")
    probabilities: tuple[float, ...] = Field(min_length=2, description="How likely a match of that cosine is right")
    pairs: int = Field(ge=1, description="Matches of validation queries that it was fitted on")
    familiarity: Familiarity | None = Field(default=None, description="What tells a query that shows nothing")
    calibrated_for: str | None = Field(
        default=None,
        pattern=r"^[\x20-\x7e]{1,80}$",
        description="The queries it was measured on, and so holds for; pictures of the catalogue, where absent",
    )

    @property
    def boundary(self) -> Boundary | None:
        """What tells a query that shows nothing, ready to be asked."""
        plane = self.familiarity
        return None if plane is None else Boundary(np.array(plane.weights), plane.bias)

    @model_validator(mode="after")
    def _rises(self) -> Self:
        Curve.of(self.scores, self.probabilities)
        return self


class Augmentation(_Frozen):
    """How the vectors of a gallery are drawn to their neighbours when they are indexed; queries stay as they are."""

    neighbours: int = Field(ge=1, le=200, description="Nearest other products whose vectors are added")
    alpha: float = Field(ge=0, le=20, allow_inf_nan=False, description="Power of a neighbour's score that weighs it")


class Manifest(_Frozen):
    """Everything about a release. Its canonical JSON is hashed into the release's id."""

    GROWN = frozenset({"classifier_sha256", "calibration", "augmentation", "split_sha256"})

    schema_version: Literal[1] = SCHEMA_VERSION
    model: str
    architecture: Architecture
    weights: WeightsOrigin
    preprocessing: Preprocessing
    projection: ProjectionSpec
    labels: tuple[str, ...] | None = Field(default=None, description="Class names in order, where it classifies")
    classifier_sha256: Sha256 | None = Field(
        default=None, description="Of its classifier.safetensors, where it has one"
    )
    split_sha256: Sha256 | None = Field(
        default=None, description="Of its split.safetensors: the split it was made with, and all it was fitted on"
    )
    calibration: Calibration | None = Field(default=None, description="What its scores say, where that was measured")
    augmentation: Augmentation | None = Field(
        default=None, description="How its gallery is augmented, by the vectors of its parent, where it is"
    )
    recipe: dict[str, Any] | None = Field(default=None, description="How it was trained, where it was")
    metrics: dict[str, float] = {}
    parent: str | None = Field(default=None, description="The release it was trained from")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_model_name(self.model)
        if self.projection.components > self.architecture.raw_dim:
            raise ValueError("the projection has more components than the feature")
        familiarity = self.calibration.familiarity if self.calibration is not None else None
        if familiarity is not None and len(familiarity.weights) != self.architecture.raw_dim:
            raise ValueError("familiarity needs one weight for each component of the feature")
        if self.augmentation is not None and self.parent is None:
            raise ValueError("an augmented gallery needs a parent, whose vectors its neighbours are found by")
        return self

    @property
    def dim(self) -> int:
        """Components of a projected vector."""
        return self.projection.components

    @property
    def label(self) -> str | None:
        """The attribute whose values its classifier predicts, where it has one and its recipe names it."""
        data = (self.recipe or {}).get("data")
        found = data.get("label") if isinstance(data, dict) and self.labels is not None else None
        return found if isinstance(found, str) else None

    @property
    def release_id(self) -> str:
        """`<model>-<first 10 hex digits of the SHA-256 of the canonical JSON>`."""
        return f"{self.model}-{hashlib.sha256(self.canonical_json()).hexdigest()[:ID_DIGITS]}"

    def canonical_json(self) -> bytes:
        """The manifest as JSON with sorted keys and no spaces: the bytes that are hashed and stored."""
        return json.dumps(
            self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        ).encode()

    @classmethod
    def parse(cls, data: bytes, *, release_id: str) -> Manifest:
        """Read a stored manifest and hold it against the id it is stored under. Raises ReleaseCorrupt."""
        try:
            manifest = cls.model_validate_json(data)
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:5])
            raise ReleaseCorrupt(f"the manifest of release {release_id!r} is not valid: {faults}") from error
        except ParameterInvalid as error:
            raise ReleaseCorrupt(f"the manifest of release {release_id!r} is not valid: {error.detail}") from error
        if manifest.release_id != release_id:
            raise ReleaseCorrupt(
                f"the manifest stored as release {release_id!r} is that of {manifest.release_id!r}; "
                "restore the release or make it anew"
            )
        return manifest
