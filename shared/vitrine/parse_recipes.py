"""The recipe of a parser of garments (`kind = "parse"`): everything about its training except the folder of outlined
photographs. It is written as TOML and sent as JSON like the other recipes, and the release keeps it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from vitrine.architectures import Options
from vitrine.errors import ParameterInvalid
from vitrine.parsing import parse_as
from vitrine.products import check_model_name
from vitrine.recipes import (
    Blur,
    Factor,
    Flip,
    Grey,
    Hue,
    ModuleNames,
    OptimRecipe,
    PictureChanges,
    Range,
    Recipe,
    Rotation,
    Shift,
    Tint,
    parse_recipe,
)

# A multiple of the stride of the backbone's last map.
Side = Annotated[int, Field(ge=64, le=1024, multiple_of=32)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ParseDataRecipe(_Part):
    """How often each photograph is trained on."""

    balance: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="0: each photograph equally often; 1: those with a rare class as often as the class is rare",
    )
    outlined_share: float = Field(
        default=0.3, gt=0, lt=1, description="Share of the draws from the second folder, if there is one (`--outlined`)"
    )


class ParseModelRecipe(_Part):
    """The network, its input and its initial weights."""

    timm: str = Field(default="mobilenetv2_100", max_length=160, description="timm's name of the backbone")
    options: Options = Field(default={}, description="Options of the backbone, e.g. pad_type")
    weights: str = Field(
        default="pretrained", max_length=4096, description="Of the backbone: pretrained, seed:N or a safetensors file"
    )
    release: str | None = Field(
        default=None, max_length=140, description="The parser to start from, of the same network, instead of weights"
    )
    keep: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of the weights of `release` in those that are published; the rest are the trained ones",
    )
    weights_trained_on: str | None = Field(
        default=None, max_length=200, description="What the weights file was trained on, as free text, e.g. ImageNet"
    )
    width: int = Field(default=64, ge=8, le=512, description="Channels of the feature pyramid")
    height_px: Side = Field(default=384, description="Height of the input, a multiple of 32")
    width_px: Side = Field(default=256, description="Width of the input, a multiple of 32")
    frozen: ModuleNames = Field(
        default=(), description="Modules of the backbone that stay frozen, by timm's names, e.g. blocks.0"
    )
    half: bool = Field(default=True, description="Store the release's weights in half precision")


class ParseLossRecipe(_Part):
    """Cross-entropy, weighted by class, and the Lovasz-softmax loss."""

    balance: float = Field(
        default=0.3, ge=0, le=1, description="The weight of a class is its rarity to this power: 0 for none, 1 for all"
    )
    lovasz: float = Field(default=1.0, ge=0, le=100, description="Weight of the Lovasz-softmax loss")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="Label smoothing of the cross-entropy")


class ParseAugmentRecipe(PictureChanges):
    """Changes of training photographs; their masks follow. 0 turns one off."""

    flip: Flip = 0.5
    shift: Shift = 0.1
    rotate_degrees: Rotation = 8.0
    brightness: Factor = 0.3
    contrast: Factor = 0.3
    saturation: Factor = 0.4
    hue: Hue = 0.06
    tint: Tint = 0.08
    grey: Grey = 0.03
    blur: Blur = 0.2
    scale: Range = Field(default=(0.75, 1.6), description="Minimum and maximum scale of the photograph in the input")
    ratio: float = Field(default=0.1, ge=0, lt=1, description="Maximum change of the aspect ratio")
    paste: float = Field(
        default=0.3,
        ge=0,
        le=1,
        description="Probability that a garment of a rare kind of another photograph is pasted",
    )
    background: float = Field(
        default=0.0, ge=0, le=1, description="Probability that the background is replaced by a plain or a drawn one"
    )

    @model_validator(mode="after")
    def _scale_rises(self) -> ParseAugmentRecipe:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError("scale is a minimum above 0 and a maximum that is not smaller")
        return self


class ParseValidationRecipe(_Part):
    """Validation, and choice of the best epoch by the mean IoU."""

    every: int = Field(
        default=1, ge=1, le=10_000, description="Epochs between validations; the last epoch is always validated"
    )


class ParseStage(_Part):
    """A stage on smaller pictures before those of full size: its epochs, and the size of its input."""

    epochs: int = Field(ge=1, le=10_000, description="Number of passes over the photographs at this size")
    height_px: Side = Field(description="Height of the input, a multiple of 32")
    width_px: Side = Field(description="Width of the input, a multiple of 32")


class ParseRecipe(_Part):
    """A complete recipe of a parser. `optim.epochs` counts the stages too."""

    kind: Literal["parse"] = Field(description="The kind of training")
    name: str = Field(max_length=120, description="The model name in releases")
    seed: int = Field(
        default=0, ge=0, le=2**31 - 1, description="Seed of the weights, the order of the photographs and their changes"
    )
    data: ParseDataRecipe = ParseDataRecipe()
    model: ParseModelRecipe = ParseModelRecipe()
    loss: ParseLossRecipe = ParseLossRecipe()
    optim: OptimRecipe = OptimRecipe(train_norm=False)
    augment: ParseAugmentRecipe = ParseAugmentRecipe()
    stages: tuple[ParseStage, ...] = Field(
        default=(), max_length=8, description="Stages on smaller pictures, before the full size"
    )
    validation: ParseValidationRecipe = ParseValidationRecipe()

    @field_validator("name")
    @classmethod
    def _model_name(cls, name: str) -> str:
        return check_model_name(name)

    @model_validator(mode="after")
    def _stages_fit(self) -> ParseRecipe:
        if sum(stage.epochs for stage in self.stages) >= self.optim.epochs:
            raise ValueError("the stages need fewer epochs than optim.epochs: the last epochs use the full size")
        return self

    def size_of(self, epoch: int) -> tuple[int, int]:
        """The height and width of the input in an epoch, from 0, in pixels."""
        for stage in self.stages:
            if epoch < stage.epochs:
                return stage.height_px, stage.width_px
            epoch -= stage.epochs
        return self.model.height_px, self.model.width_px

    def as_json(self) -> dict[str, Any]:
        """The recipe as JSON, with all defaults."""
        return self.model_dump(mode="json")


def is_parse(content: object) -> bool:
    """Whether parsed TOML or JSON is meant as a recipe of a parser."""
    return isinstance(content, dict) and content.get("kind") == "parse"


def parse_any_recipe(content: dict[str, Any]) -> Recipe | ParseRecipe:
    """Validate parsed TOML or JSON of either kind. Raises ParameterInvalid, which names the invalid fields."""
    return parse_as(ParseRecipe, content, what="recipe") if is_parse(content) else parse_recipe(content)


def changed_parser(recipe: ParseRecipe, *, weights: str | None = None, release: str | None = None) -> ParseRecipe:
    """The recipe with other initial weights, or another parser to start from. Raises ParameterInvalid."""
    model = recipe.model.model_dump(mode="json")
    if release is not None:
        model["release"] = release
    if weights is not None:
        if model["release"] is not None:
            raise ParameterInvalid("--weights cannot be combined with a parser to start from")
        model["weights"] = weights
    return parse_as(ParseRecipe, {**recipe.as_json(), "model": model}, what="recipe")


def _of_its_kind(content: object) -> object:
    """Validated as the model that it names, so that errors name the fields of that one only."""
    if isinstance(content, Recipe | ParseRecipe):
        return content
    return (ParseRecipe if is_parse(content) else Recipe).model_validate(content)


AnyRecipe = Annotated[Recipe | ParseRecipe, BeforeValidator(_of_its_kind)]
