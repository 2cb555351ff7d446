"""The table of models (`models.toml`), and the options that a model is built with."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal

import timm
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from timm.data.config import resolve_data_config

from vitrine.architectures import TIMM_PREFIX, OptionValue, check_options, is_timm_name
from vitrine.errors import ModelUnknown, ParameterInvalid
from vitrine.images.decode import DECODE_RULES_VERSION
from vitrine.products import check_model_name
from vitrine.releases import Preprocessing

Cut = Literal["pooled", "pooled_before_last_activation", "convolutions_mean"]


class AuxiliaryEntry(BaseModel):
    """An auxiliary classifier for training, on the feature map of the module `at`, which has `channels` channels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: str
    channels: int = Field(ge=1)
    weight: float = Field(gt=0)


class ModelEntry(BaseModel):
    """One model of the table. Without `input_px` it has timm's input size."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    timm: str
    input_px: int | None = Field(default=None, ge=16)
    cut: Cut = "pooled"
    trainable: tuple[str, ...] = ()
    auxiliary: AuxiliaryEntry | None = None
    batch: int = Field(default=32, ge=1)


class TimmDefaults(BaseModel):
    """The preprocessing that a set of timm's weights was trained with."""

    model_config = ConfigDict(frozen=True)

    input_px: int
    crop_share: float
    interpolation: Literal["bilinear", "bicubic"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@cache
def model_table() -> dict[str, ModelEntry]:
    """Every model of the table, by its name."""
    text = files("vitrine.vision").joinpath("models.toml").read_text(encoding="utf-8")
    return {name: ModelEntry(name=name, **fields) for name, fields in tomllib.loads(text).items()}


def model_entry(model: str) -> ModelEntry:
    """The entry of a model of the table, or a new one for `timm:NAME`. Raises ModelUnknown, naming the table."""
    if model in model_table():
        return model_table()[model]
    architecture = model.removeprefix(TIMM_PREFIX)
    if model.startswith(TIMM_PREFIX) and is_timm_name(architecture) and timm.is_model(architecture):
        return ModelEntry(name=check_model_name(architecture), timm=architecture)
    raise ModelUnknown(f"there is no model {model[:120]!r}: it is one of {', '.join(model_table())}, or timm:NAME")


def timm_defaults(timm_name: str) -> TimmDefaults:
    """timm's data configuration of an architecture and its tag. A release keeps a copy in its manifest."""
    pretrained = timm.get_pretrained_cfg(timm_name)
    fields: dict[str, Any] = {} if pretrained is None else pretrained.to_dict()  # type: ignore[no-untyped-call]
    config: dict[str, Any] = resolve_data_config({}, pretrained_cfg=fields)  # type: ignore[no-untyped-call]
    return TimmDefaults(
        input_px=int(config["input_size"][-1]),
        crop_share=float(config["crop_pct"]),
        interpolation="bilinear" if config["interpolation"] == "bilinear" else "bicubic",
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )


PREPROCESSING_OPTIONS: Final = (
    "input_px",
    "input_width_px",
    "resize_px",
    "fit",
    "detail_px",
    "interpolation",
    "mean",
    "std",
)


@dataclass(frozen=True, slots=True)
class ResolvedOptions:
    """A caller's options, split into preprocessing and timm's arguments."""

    preprocessing: Preprocessing
    architecture: dict[str, OptionValue]


def resolve_options(entry: ModelEntry, options: Mapping[str, OptionValue]) -> ResolvedOptions:
    """Split a caller's options. The caller's override the table's, and those override timm's.

    `mean` and `std` are one number for all channels, or three separated by commas, for pixels scaled to 0..1. Options
    that are not about preprocessing are arguments of timm's architecture (`pad_type`). Raises ParameterInvalid.
    """
    check_options(options)
    defaults = timm_defaults(entry.timm)
    own = {name: value for name, value in options.items() if name in PREPROCESSING_OPTIONS}
    try:
        input_px = int(own.get("input_px", entry.input_px or defaults.input_px))
        preprocessing = Preprocessing.model_validate(
            {
                "input_px": input_px,
                "input_width_px": own.get("input_width_px"),
                "resize_px": int(own.get("resize_px", round(input_px / defaults.crop_share))),
                "fit": own.get("fit"),
                "detail_px": own.get("detail_px"),
                "interpolation": own.get("interpolation", defaults.interpolation),
                "mean": _triple(own["mean"]) if "mean" in own else defaults.mean,
                "std": _triple(own["std"]) if "std" in own else defaults.std,
                "decode_rules_version": DECODE_RULES_VERSION,
            }
        )
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "preprocessing"
        raise ParameterInvalid(f"the option {where!r} cannot be used: {fault['msg']}") from error
    except ValueError as error:
        raise ParameterInvalid(f"an option cannot be used: {error}") from error
    if min(preprocessing.std) <= 0:
        raise ParameterInvalid("the option 'std' must be above 0")
    architecture = {name: value for name, value in options.items() if name not in PREPROCESSING_OPTIONS}
    return ResolvedOptions(preprocessing, architecture)


def _triple(value: OptionValue) -> tuple[float, float, float]:
    numbers = [float(part) for part in str(value).split(",")]
    if len(numbers) == 1:
        return (numbers[0],) * 3
    if len(numbers) != 3:
        raise ValueError("mean and std are one number or three separated by commas")
    return (numbers[0], numbers[1], numbers[2])
