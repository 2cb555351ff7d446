"""The options a set of weights needs, sorted: some say how pictures are prepared (`input_px`, `mean`), every other one
goes to timm as the architecture is built (`pad_type`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from vitrine.architectures import OptionValue, check_options
from vitrine.errors import ParameterInvalid
from vitrine.images.decode import DECODE_RULES_VERSION
from vitrine.releases import Preprocessing
from vitrine.vision.models import ModelEntry, timm_defaults

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
    """What `resolve_options` makes of a caller's options."""

    preprocessing: Preprocessing
    architecture: dict[str, OptionValue]


def resolve_options(entry: ModelEntry, options: Mapping[str, OptionValue]) -> ResolvedOptions:
    """Preprocessing from timm's configuration, the table and the caller, in that order; the rest for the architecture.

    `mean` and `std` are one number for all channels or three separated by commas, on pixels scaled to 0..1.
    Raises ParameterInvalid.
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
