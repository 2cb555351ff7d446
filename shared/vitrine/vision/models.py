"""The model table: what `models.toml` says of each model, and what stands in for it where a model is `timm:NAME`."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import timm
from pydantic import BaseModel, ConfigDict, Field
from timm.data.config import resolve_data_config

from vitrine.architectures import TIMM_PREFIX, is_timm_name
from vitrine.errors import ModelUnknown
from vitrine.products import check_model_name

Cut = Literal["pooled", "pooled_before_last_activation", "convolutions_mean"]


class AuxiliaryEntry(BaseModel):
    """A second classifier that training puts on the map of the module `at`, of so many `channels`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: str
    channels: int = Field(ge=1)
    weight: float = Field(gt=0)


class ModelEntry(BaseModel):
    """One model of the table. `input_px` is None where timm's own input size holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    timm: str
    input_px: int | None = Field(default=None, ge=16)
    cut: Cut = "pooled"
    trainable: tuple[str, ...] = ()
    auxiliary: AuxiliaryEntry | None = None
    batch: int = Field(default=32, ge=1)


class TimmDefaults(BaseModel):
    """What timm says a set of weights was trained with."""

    model_config = ConfigDict(frozen=True)

    input_px: int
    crop_share: float
    interpolation: Literal["bilinear", "bicubic"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@cache
def model_table() -> dict[str, ModelEntry]:
    """Every model that has a name of its own."""
    text = files("vitrine.vision").joinpath("models.toml").read_text(encoding="utf-8")
    return {name: ModelEntry(name=name, **fields) for name, fields in tomllib.loads(text).items()}


def model_entry(model: str) -> ModelEntry:
    """The entry of a model of the table, or of any other of timm's as `timm:NAME`.

    Raises ModelUnknown, naming the table, where it is neither.
    """
    if model in model_table():
        return model_table()[model]
    architecture = model.removeprefix(TIMM_PREFIX)
    if model.startswith(TIMM_PREFIX) and is_timm_name(architecture) and timm.is_model(architecture):
        return ModelEntry(name=check_model_name(architecture), timm=architecture)
    raise ModelUnknown(f"there is no model {model[:120]!r}: it is one of {', '.join(model_table())}, or timm:NAME")


def timm_defaults(timm_name: str) -> TimmDefaults:
    """Timm's data configuration of an architecture and its tag, frozen into a release when it is made."""
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
