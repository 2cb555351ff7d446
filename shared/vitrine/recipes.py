"""A training recipe: everything that decides what a run of training does, as data. It is written as TOML, travels as
JSON, is checked once by the search API and once by the trainer, and is kept in the release it made.

The catalogue is not part of it: the same recipe trains on any.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from vitrine.architectures import Options
from vitrine.errors import ParameterInvalid
from vitrine.parsing import parse_as
from vitrine.products import check_attribute_name, check_model_name
from vitrine.types import Name, Parameters, ShortText

Kind = Literal["classify", "metric", "retrain", "distill"]
TermKind = Literal[
    "cross_entropy",
    "supervised_contrastive",
    "multi_similarity",
    "proxy_anchor",
    "arcface",
    "cosface",
    "triplet",
    "distill",
]
BestBy = Literal["precision_at_15", "mean_average_precision", "accuracy", "loss"]
Range = tuple[float, float]
Components = Annotated[int, Field(ge=1, le=16_384)]
ModuleNames = Annotated[tuple[ShortText, ...], Field(max_length=256)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataRecipe(_Part):
    """Which products are trained on, and what makes two of them relevant to each other."""

    subset: str | None = Field(
        default=None, max_length=120, description="A named selection, e.g. fashion-22; all products, if absent"
    )
    label: str = Field(
        default="articleType", max_length=64, description="The attribute that is classified, and stratified by"
    )
    relevance: tuple[Name, ...] = Field(
        default=("articleType",), min_length=1, max_length=8, description="The attributes that relevant products share"
    )
    split: Literal["stratified", "official"] = Field(
        default="stratified", description="60/20/20 within each class, or the parts the dataset comes with"
    )
    group: str | None = Field(
        default=None, max_length=64, description="Products equal in this attribute stay in one part"
    )
    train_on: tuple[Literal["train", "validation"], ...] = Field(
        default=("train",),
        min_length=1,
        max_length=2,
        description="The parts whose pictures are trained on; with validation among them the last epoch is kept",
    )
    least_pictures: int = Field(default=3, ge=1, le=1_000_000, description="Classes with fewer pictures are left out")

    @field_validator("label", "group")
    @classmethod
    def _attribute(cls, name: str | None) -> str | None:
        return name if name is None else check_attribute_name(name)

    @field_validator("relevance")
    @classmethod
    def _attributes(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(check_attribute_name(name) for name in names)


class ModelRecipe(_Part):
    """The network that is trained, and where it starts: a model's weights, or a release."""

    model: str | None = Field(default=None, max_length=120, description="A model of the table, or timm:NAME")
    weights: str = Field(default="pretrained", max_length=4096, description="pretrained, seed:N or a safetensors file")
    weights_trained_on: str | None = Field(
        default=None,
        max_length=200,
        description="What the weights of a file were trained on, in your words, e.g. ImageNet; unknown, if absent",
    )
    release: str | None = Field(default=None, max_length=140, description="The release to start from, for a model's")
    options: Options = Field(default={}, description="Of the architecture and the input, e.g. input_px, pad_type")
    pooling: Literal["gem"] | None = Field(default=None, description="What pools the last map; the mean, if absent")
    embedding: int | None = Field(default=None, ge=2, le=4096, description="Components of a learned embedding")
    trainable: Literal["all", "table"] | ModuleNames = Field(
        default="all", description="all; table: what the model table names; or module names. All else stays frozen"
    )
    frozen: ModuleNames = Field(default=(), description="Module names that stay frozen, before `trainable`")
    half: bool = Field(default=False, description="Whether the release stores its weights in half precision")

    @model_validator(mode="after")
    def _one_start(self) -> Self:
        if (self.model is None) == (self.release is None):
            raise ValueError("name either a model or a release to start from")
        return self


class TermRecipe(_Part):
    """One term of the loss."""

    kind: TermKind = Field(description="The loss")
    weight: float = Field(default=1.0, gt=0, description="What it counts in the sum")
    on: tuple[Name, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=8,
        description="The attributes whose combination is the class; the label, if absent",
    )
    of: Literal["feature", "embedding"] = Field(
        default="embedding", description="What is looked at: the network's output, or what its embedding starts from"
    )
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="Of cross_entropy")
    options: Parameters = Field(default={}, description="Parameters of the loss, e.g. temperature")


class OptimRecipe(_Part):
    """How long, and by what steps."""

    epochs: int = Field(default=10, ge=1, le=10_000, description="How often every picture is seen")
    batch: int = Field(default=64, ge=2, le=4096, description="Pictures in one pass")
    accumulate: int = Field(default=1, ge=1, le=1024, description="Passes before a step")
    optimizer: Literal["adamw", "sgd"] = Field(default="adamw", description="AdamW, or gradient descent with momentum")
    learning_rate: float = Field(default=1e-3, gt=0, description="At its highest")
    backbone_rate: float = Field(default=1.0, ge=0, description="Share of it for what was trained before")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Of sgd")
    weight_decay: float = Field(default=0.01, ge=0, description="Of weights; biases and norms do not decay")
    schedule: Literal["constant", "cosine", "one-cycle"] = Field(
        default="cosine", description="How the rate goes over the steps"
    )
    warmup: float = Field(default=0.05, ge=0, lt=1, description="Share of the steps on which the rate rises")
    clip_norm: float | None = Field(default=None, gt=0, description="Longest gradient that is stepped by")
    ema: float | None = Field(default=None, gt=0, lt=1, description="Decay of the average of the weights, if kept")
    train_norm: bool = Field(default=True, description="Whether batch normalisation follows the batches")


class SamplerRecipe(_Part):
    """In which proportion classes come. `classes` and `per_class` make each batch of P x K pictures."""

    balance: float = Field(default=0.0, ge=0, le=1, description="0: as they are; 1: every class equally often")
    classes: int | None = Field(default=None, ge=2, le=4096, description="P")
    per_class: int | None = Field(default=None, ge=2, le=4096, description="K")

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.classes is None) != (self.per_class is None):
            raise ValueError("classes and per_class belong together")
        return self


class AugmentRecipe(_Part):
    """How a picture is changed each time it is seen. A 0 leaves it be."""

    crop: Range | None = Field(default=None, description="Share of the picture's area that is kept, from and to")
    crop_ratio: Range = Field(default=(0.8, 1.25), description="How far the cut's form may leave the input's")
    flip: float = Field(default=0.0, ge=0, le=1, description="How often it is mirrored")
    shrink: float = Field(default=1.0, gt=0, le=1, description="Least size of the garment in its frame")
    shift: float = Field(default=0.0, ge=0, le=0.5, description="Most of a side by which it is moved")
    rotate_degrees: float = Field(default=0.0, ge=0, le=180, description="Most it is turned, either way")
    perspective: float = Field(default=0.0, ge=0, lt=1, description="Most of half a side by which corners are moved")
    brightness: float = Field(default=0.0, ge=0, lt=1, description="Most the factor leaves 1")
    contrast: float = Field(default=0.0, ge=0, lt=1, description="Most the factor leaves 1")
    saturation: float = Field(default=0.0, ge=0, lt=1, description="Most the factor leaves 1")
    hue: float = Field(default=0.0, ge=0, le=0.5, description="Most it turns; 0.5 is half the circle")
    tint: float = Field(default=0.0, ge=0, lt=1, description="Most by which a channel is scaled, as by coloured light")
    grey: float = Field(default=0.0, ge=0, le=1, description="How often it loses its colour")
    blur: float = Field(default=0.0, ge=0, le=1, description="How often it is blurred")
    noise: float = Field(default=0.0, ge=0, le=1, description="Most deviation of added noise")
    erase: float = Field(default=0.0, ge=0, le=1, description="How often a rectangle is hidden")
    erase_area: Range = Field(default=(0.02, 0.2), description="Share of the area that the rectangle has")
    background: float = Field(default=0.0, ge=0, le=1, description="How often the white background is replaced")
    undress: float = Field(
        default=0.0, ge=0, le=1, description="How often the skin of who wears the garment is replaced with it"
    )
    alone: float = Field(
        default=0.0, ge=0, le=1, description="How often it is the garment alone on white that fills the frame"
    )

    @model_validator(mode="after")
    def _worn_on_a_background(self) -> Self:
        if self.undress and not self.background:
            raise ValueError("undress goes with background: skin is replaced where the background is")
        return self


class UnlabelledRecipe(_Part):
    """How pictures of another catalogue are learned from without their labels."""

    share: float = Field(default=0.5, gt=0, le=4, description="How many come with a batch, as a share of its pictures")
    threshold: float = Field(default=0.7, gt=0, lt=1, description="How sure the average of the weights must be")
    balance: float = Field(default=0.5, ge=0, le=1, description="How much what is said too often is held back")
    backgrounds: float = Field(
        default=0.0, ge=0, le=1, description="How often a replaced background is a piece of one of them"
    )
    from_epoch: int = Field(default=2, ge=1, le=10_000, description="The first epoch in which they come")


class ValidationRecipe(_Part):
    """How an epoch is judged, and when to stop."""

    best_by: BestBy = Field(default="precision_at_15", description="What the kept epoch is best in")
    queries: int = Field(default=600, ge=1, le=100_000, description="Most validation pictures used as queries")
    every: int = Field(
        default=1, ge=1, le=10_000, description="Epochs between two validations; the last is always validated"
    )
    patience: int | None = Field(
        default=None, ge=1, le=10_000, description="Validations without gain after which to stop"
    )


class ProjectionRecipe(_Part):
    """The projections tried on the validation part, the best of which the release gets."""

    components: tuple[Components, ...] = Field(
        default=(20, 32, 64, 128), min_length=1, max_length=256, description="Sizes tried"
    )
    whiten: tuple[bool, ...] = Field(
        default=(False, True), min_length=1, max_length=2, description="With whitening, without, or both"
    )
    raw: bool = Field(default=True, description="Whether no projection at all is tried too")


class Recipe(_Part):
    """A whole recipe."""

    kind: Kind = Field(description="What the training learns by")
    name: str = Field(max_length=120, description="The model's name in releases, aliases and searches")
    seed: int = Field(
        default=0, ge=0, le=2**31 - 1, description="Of the split, the order and every change of a picture"
    )
    data: DataRecipe = DataRecipe()
    model: ModelRecipe
    terms: tuple[TermRecipe, ...] = Field(default=(), max_length=16, description="The loss; the kind's own, if absent")
    teacher: str | None = Field(default=None, max_length=140, description="distill: the release that is learned from")
    optim: OptimRecipe = OptimRecipe()
    sampler: SamplerRecipe = SamplerRecipe()
    augment: AugmentRecipe = AugmentRecipe()
    unlabelled: UnlabelledRecipe | None = Field(
        default=None, description="Whether, and how, pictures of another catalogue are learned from without labels"
    )
    validation: ValidationRecipe = ValidationRecipe()
    projection: ProjectionRecipe = ProjectionRecipe()

    @field_validator("name")
    @classmethod
    def _model_name(cls, name: str) -> str:
        return check_model_name(name)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.kind == "distill" and self.teacher is None:
            raise ValueError("distill needs a teacher: the id of the release that is learned from")
        if self.kind != "distill" and self.teacher is not None:
            raise ValueError("only distill has a teacher")
        if self.teacher is not None and self.unlabelled is not None:
            raise ValueError("a teacher has seen only the catalogue: unlabelled pictures do not go with distill")
        if self.kind == "retrain" and self.model.release is None:
            raise ValueError("retrain starts from a release: set model.release")
        if "validation" in self.data.train_on and self.validation.patience is not None:
            raise ValueError("who trains on the validation part cannot stop by it: leave validation.patience out")
        return self

    def as_json(self) -> dict[str, Any]:
        """The recipe as JSON, every default written out."""
        return self.model_dump(mode="json")


def changed(
    recipe: Recipe, *, weights: str | None = None, release: str | None = None, teacher: str | None = None
) -> Recipe:
    """The recipe with another start or teacher, where given. Raises ParameterInvalid where they do not go together."""
    content = recipe.as_json()
    if release is not None:
        content["model"] |= {"release": release, "model": None}
    if weights is not None:
        if content["model"]["release"] is not None:
            raise ParameterInvalid("--weights does not go with a release to start from")
        content["model"]["weights"] = weights
    if teacher is not None:
        content["teacher"] = teacher
    return parse_recipe(content)


def parse_recipe(content: dict[str, Any]) -> Recipe:
    """A recipe out of parsed TOML or JSON. Raises ParameterInvalid, naming each field that is wrong."""
    return parse_as(Recipe, content, what="recipe")
