"""The training recipe: all parameters of a training run except the catalogue. It is written as TOML and sent as JSON;
the search API and the trainer both validate it, and the release keeps it.
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
    """The training products, and what makes two products relevant to each other."""

    subset: str | None = Field(
        default=None, max_length=120, description="A named subset, e.g. fashion-22; default: all products"
    )
    label: str = Field(
        default="articleType", max_length=64, description="The attribute to classify, by which the split is stratified"
    )
    relevance: tuple[Name, ...] = Field(
        default=("articleType",), min_length=1, max_length=8, description="The attributes that relevant products share"
    )
    split: Literal["stratified", "official"] = Field(
        default="stratified", description="60/20/20 within each class, or the dataset's own split"
    )
    group: str | None = Field(
        default=None,
        max_length=64,
        description="Products with the same value of this attribute stay in one part of the split",
    )
    train_on: tuple[Literal["train", "validation"], ...] = Field(
        default=("train",),
        min_length=1,
        max_length=2,
        description="Parts of the split to train on; with validation among them, the last epoch is kept",
    )
    least_pictures: int = Field(
        default=3, ge=1, le=1_000_000, description="Minimum number of pictures of a class; smaller classes are left out"
    )

    @field_validator("label", "group")
    @classmethod
    def _attribute(cls, name: str | None) -> str | None:
        return name if name is None else check_attribute_name(name)

    @field_validator("relevance")
    @classmethod
    def _attributes(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(check_attribute_name(name) for name in names)


class ModelRecipe(_Part):
    """The network and its initial weights: of a model, or of a release."""

    model: str | None = Field(default=None, max_length=120, description="A model of the model table, or timm:NAME")
    weights: str = Field(default="pretrained", max_length=4096, description="pretrained, seed:N or a safetensors file")
    weights_trained_on: str | None = Field(
        default=None,
        max_length=200,
        description="What the weights file was trained on, as free text, e.g. ImageNet; default: unknown",
    )
    release: str | None = Field(
        default=None, max_length=140, description="The release to start from, instead of a model"
    )
    options: Options = Field(
        default={}, description="Options of the architecture and the input, e.g. input_px, pad_type"
    )
    pooling: Literal["gem"] | None = Field(default=None, description="Pooling of the last feature map; default: mean")
    embedding: int | None = Field(default=None, ge=2, le=4096, description="Size of a learned embedding")
    trainable: Literal["all", "table"] | ModuleNames = Field(
        default="all", description="all; table: the modules in the model table; or module names. The rest stays frozen"
    )
    frozen: ModuleNames = Field(default=(), description="Module names that stay frozen; has priority over `trainable`")
    half: bool = Field(default=False, description="Store the release's weights in half precision")

    @model_validator(mode="after")
    def _one_start(self) -> Self:
        if (self.model is None) == (self.release is None):
            raise ValueError("set either a model or a release to start from")
        return self


class TermRecipe(_Part):
    """One term of the loss function."""

    kind: TermKind = Field(description="The loss")
    weight: float = Field(default=1.0, gt=0, description="Weight in the sum of all terms")
    on: tuple[Name, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=8,
        description="Attributes whose combination is the class; default: data.label",
    )
    of: Literal["feature", "embedding"] = Field(
        default="embedding", description="The loss's input: the network's embedding, or the feature before it"
    )
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="Label smoothing of cross_entropy")
    options: Parameters = Field(default={}, description="Parameters of the loss, e.g. temperature")


class OptimRecipe(_Part):
    """Optimizer and schedule."""

    epochs: int = Field(default=10, ge=1, le=10_000, description="Number of passes over the pictures")
    batch: int = Field(default=64, ge=2, le=4096, description="Pictures per forward pass")
    accumulate: int = Field(default=1, ge=1, le=1024, description="Forward passes per optimizer step")
    optimizer: Literal["adamw", "sgd"] = Field(default="adamw", description="AdamW, or SGD with momentum")
    learning_rate: float = Field(default=1e-3, gt=0, description="Maximum learning rate")
    backbone_rate: float = Field(default=1.0, ge=0, description="Factor of the learning rate for pretrained weights")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Momentum of sgd")
    weight_decay: float = Field(
        default=0.01, ge=0, description="Weight decay; not applied to biases and normalization layers"
    )
    schedule: Literal["constant", "cosine", "one-cycle"] = Field(
        default="cosine", description="Schedule of the learning rate"
    )
    warmup: float = Field(default=0.05, ge=0, lt=1, description="Share of the steps for warm-up")
    clip_norm: float | None = Field(default=None, gt=0, description="Maximum norm of the gradient")
    ema: float | None = Field(
        default=None, gt=0, lt=1, description="Decay of the exponential moving average of the weights; default: none"
    )
    train_norm: bool = Field(default=True, description="Whether batch normalization updates its statistics")


class SamplerRecipe(_Part):
    """Class balance, and batches of `classes` x `per_class` (P x K) pictures."""

    balance: float = Field(default=0.0, ge=0, le=1, description="0: natural frequencies; 1: all classes equally often")
    classes: int | None = Field(default=None, ge=2, le=4096, description="P: classes per batch")
    per_class: int | None = Field(default=None, ge=2, le=4096, description="K: pictures per class and batch")

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.classes is None) != (self.per_class is None):
            raise ValueError("set both classes and per_class, or neither")
        return self


# Changes of training pictures, as every kind of training has them; 0 turns one off.
Flip = Annotated[float, Field(ge=0, le=1, description="Probability of mirroring")]
Shift = Annotated[float, Field(ge=0, le=0.5, description="Maximum shift, as a share of a side")]
Rotation = Annotated[float, Field(ge=0, le=180, description="Maximum rotation in either direction")]
Factor = Annotated[float, Field(ge=0, lt=1, description="Maximum deviation of the factor from 1")]
Hue = Annotated[float, Field(ge=0, le=0.5, description="Maximum hue shift; 0.5 is half the colour circle")]
Tint = Annotated[float, Field(ge=0, lt=1, description="Maximum scaling of a channel, as by coloured light")]
Grey = Annotated[float, Field(ge=0, le=1, description="Probability of conversion to grey")]
Blur = Annotated[float, Field(ge=0, le=1, description="Probability of blur")]


class PictureChanges(_Part):
    """Augmentation of the training pictures of any kind of training. 0 turns an operation off."""

    flip: Flip = 0.0
    shift: Shift = 0.0
    rotate_degrees: Rotation = 0.0
    brightness: Factor = 0.0
    contrast: Factor = 0.0
    saturation: Factor = 0.0
    hue: Hue = 0.0
    tint: Tint = 0.0
    grey: Grey = 0.0
    blur: Blur = 0.0


class AugmentRecipe(PictureChanges):
    """Augmentation of training pictures. 0 turns an operation off."""

    crop: Range | None = Field(default=None, description="Random crop: minimum and maximum share of the area")
    crop_ratio: Range = Field(
        default=(0.8, 1.25), description="Random crop: minimum and maximum of its aspect ratio relative to the input's"
    )
    shrink: float = Field(default=1.0, gt=0, le=1, description="Minimum scale of the garment in its frame")
    perspective: float = Field(
        default=0.0, ge=0, lt=1, description="Maximum shift of the corners, as a share of half a side"
    )
    noise: float = Field(default=0.0, ge=0, le=1, description="Maximum standard deviation of added noise")
    erase: float = Field(default=0.0, ge=0, le=1, description="Probability of erasing a rectangle")
    erase_area: Range = Field(default=(0.02, 0.2), description="Minimum and maximum share of the erased area")
    background: float = Field(default=0.0, ge=0, le=1, description="Probability of replacing the white background")
    undress: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Skin removal: probability that the wearer's skin is replaced with the background",
    )
    alone: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Isolated garment: probability that the garment alone on white fills the frame",
    )

    @model_validator(mode="after")
    def _worn_on_a_background(self) -> Self:
        if self.undress and not self.background:
            raise ValueError("undress needs background: skin is replaced together with the background")
        return self


class UnlabelledRecipe(_Part):
    """Pseudo-labels on pictures of another catalogue, whose labels are not used."""

    share: float = Field(
        default=0.5, gt=0, le=4, description="Unlabelled pictures per batch, as a share of its pictures"
    )
    threshold: float = Field(default=0.7, gt=0, lt=1, description="Minimum confidence of the averaged weights")
    balance: float = Field(
        default=0.5, ge=0, le=1, description="Strength of balancing: classes that are predicted too often count less"
    )
    backgrounds: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Probability that a replaced background is taken from an unlabelled picture",
    )
    from_epoch: int = Field(default=2, ge=1, le=10_000, description="First epoch with unlabelled pictures")


class StreetRecipe(_Part):
    """Garments of street photographs beside the catalogue's pictures. Each has a set of labels that it may have.

    They come from outlined photographs (`--street`), without those held out for validation.
    """

    share: float = Field(default=0.5, gt=0, le=4, description="Street garments per batch, as a share of its pictures")
    weight: float = Field(default=0.5, gt=0, description="Weight of their classification, relative to the catalogue's")
    paired: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description=(
            "Share of the street garments whose batch has a product of a label, and colour if there is one, that they "
            "may have"
        ),
    )
    views: int = Field(
        default=4, ge=1, le=64, description="Views of each garment, drawn before the first epoch and then augmented"
    )
    boxes: float = Field(
        default=0.3, ge=0, le=1, description="Share of the views in a box with the background; the others are cut out"
    )
    occlude: float = Field(
        default=0.3, ge=0, le=1, description="Probability that a part of a cut-out garment is missing"
    )
    coarse: float = Field(default=0.5, ge=0, le=1, description="Probability that a view has less detail")
    coarse_scale: Range = Field(
        default=(0.3, 1.0), description="Minimum and maximum detail of such a view, as a share of its height"
    )
    least_share: float = Field(
        default=0.0015, gt=0, lt=1, description="Garments smaller than this share of their photograph are left out"
    )
    balance: float = Field(
        default=0.5, ge=0, le=1, description="0: natural frequencies of the street labels; 1: all equally often"
    )

    @field_validator("coarse_scale")
    @classmethod
    def _scales(cls, scale: Range) -> Range:
        if not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError("coarse_scale must be two numbers above 0 and up to 1, the smaller one first")
        return scale


class MapsRecipe(_Part):
    """Keep the maps of the frozen first modules: they see each picture a few times only, instead of once per epoch."""

    copies: int = Field(
        default=2, ge=1, le=100, description="Augmented copies of each picture; epoch N trains on copy N modulo copies"
    )


class ValidationRecipe(_Part):
    """Validation, choice of the best epoch, and early stopping."""

    best_by: BestBy = Field(default="precision_at_15", description="Metric by which the best epoch is chosen")
    queries: int = Field(
        default=600, ge=1, le=100_000, description="Maximum number of validation pictures used as queries"
    )
    every: int = Field(
        default=1, ge=1, le=10_000, description="Epochs between validations; the last epoch is always validated"
    )
    patience: int | None = Field(
        default=None, ge=1, le=10_000, description="Validations without improvement after which training stops"
    )


class ProjectionRecipe(_Part):
    """The PCA projections to try. The release gets the best one on the validation part."""

    components: tuple[Components, ...] = Field(
        default=(20, 32, 64, 128), min_length=1, max_length=256, description="Numbers of components to try"
    )
    whiten: tuple[bool, ...] = Field(
        default=(False, True), min_length=1, max_length=2, description="Without whitening, with whitening, or both"
    )
    raw: bool = Field(default=True, description="Try the unprojected embedding too")


class Recipe(_Part):
    """A complete training recipe."""

    kind: Kind = Field(description="The kind of training")
    name: str = Field(max_length=120, description="The model name in releases, aliases and searches")
    seed: int = Field(
        default=0, ge=0, le=2**31 - 1, description="Seed of the split, the order of the pictures and the augmentation"
    )
    data: DataRecipe = DataRecipe()
    model: ModelRecipe
    terms: tuple[TermRecipe, ...] = Field(
        default=(), max_length=16, description="The terms of the loss; default: those of the kind"
    )
    teacher: str | None = Field(default=None, max_length=140, description="distill: the release to learn from")
    optim: OptimRecipe = OptimRecipe()
    sampler: SamplerRecipe = SamplerRecipe()
    augment: AugmentRecipe = AugmentRecipe()
    unlabelled: UnlabelledRecipe | None = Field(
        default=None, description="Pseudo-labels on pictures of another catalogue; default: none"
    )
    street: StreetRecipe | None = Field(
        default=None, description="Garments of street photographs as a second domain; default: none"
    )
    maps: MapsRecipe | None = Field(
        default=None, description="Keep the maps of the frozen first modules; default: compute them in each epoch"
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
            raise ValueError("distill needs a teacher: the id of the release to learn from")
        if self.kind != "distill" and self.teacher is not None:
            raise ValueError("only distill has a teacher")
        if self.teacher is not None and self.unlabelled is not None:
            raise ValueError("distill cannot use unlabelled pictures: the teacher knows only the catalogue")
        if self.maps is not None and not self.model.frozen:
            raise ValueError("maps are those of frozen modules: set model.frozen to the network's first modules")
        if self.maps is not None and self.unlabelled is not None:
            raise ValueError("unlabelled pictures cannot be kept as maps: leave out maps or unlabelled")
        if self.kind == "retrain" and self.model.release is None:
            raise ValueError("retrain starts from a release: set model.release")
        if "validation" in self.data.train_on and self.validation.patience is not None:
            raise ValueError("training on the validation part cannot stop by it: leave out validation.patience")
        return self

    def as_json(self) -> dict[str, Any]:
        """The recipe as JSON, with all defaults."""
        return self.model_dump(mode="json")


def changed(
    recipe: Recipe, *, weights: str | None = None, release: str | None = None, teacher: str | None = None
) -> Recipe:
    """The recipe with other initial weights, release or teacher. Raises ParameterInvalid if they cannot be combined."""
    content = recipe.as_json()
    if release is not None:
        content["model"] |= {"release": release, "model": None}
    if weights is not None:
        if content["model"]["release"] is not None:
            raise ParameterInvalid("--weights cannot be combined with a release to start from")
        content["model"]["weights"] = weights
    if teacher is not None:
        content["teacher"] = teacher
    return parse_recipe(content)


def parse_recipe(content: dict[str, Any]) -> Recipe:
    """Validate parsed TOML or JSON. Raises ParameterInvalid, which names the invalid fields."""
    return parse_as(Recipe, content, what="recipe")
