"""Validate network names and options from requests, recipes and manifests, before they reach timm's builders.
Unchecked, those would also download from a hub, open files or build networks too large for any machine.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from vitrine.errors import ParameterInvalid
from vitrine.products import check_model_name
from vitrine.types import Whole

TIMM_PREFIX: Final = "timm:"
MAX_OPTIONS: Final = 32
MAX_OPTION_CHARS: Final = 200
_MAX_NUMBER: Final = 16_384
_MAX_REPEATS: Final = 512
# An architecture with an optional tag, as in timm's list; `hf-hub:`, `local-dir:` and paths are refused.
_TIMM_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_]{0,79}(\.[A-Za-z0-9_-]{1,79})?")
_OPTION_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
# Arguments of timm's builders that callers may not set: they download, read a file or contradict the manifest.
_INTERNAL: Final = frozenset(
    {
        "exportable",
        "extra_head",
        "feature_cls",
        "feature_cfg",
        "features_only",
        "in_chans",
        "no_jit",
        "num_classes",
        "out_indices",
        "scriptable",
    }
)
_INTERNAL_WORDS: Final = re.compile(r"pretrained|checkpoint|cache|(^|_)(cfg|url|file|dir|weights|cls|fn)$")
# Options for the number of repeated modules.
_REPEATS: Final = re.compile(r"depth|layers|blocks|stages|repeat")

OptionValue = Annotated[str, Field(max_length=MAX_OPTION_CHARS)] | Whole | float | bool


def is_timm_name(name: str) -> bool:
    """Whether the name has the form of timm's list, and not of a path, an address or a hub."""
    return _TIMM_NAME.fullmatch(name) is not None


def check_timm_name(name: str) -> str:
    """Return the name. Raises ParameterInvalid if it does not have the form of timm's list."""
    if not is_timm_name(name):
        raise ParameterInvalid(
            f"{name[:120]!r} is not a name of timm's list: "
            "use an architecture, optionally with a tag, e.g. resnet50.a1_in1k"
        )
    return name


def check_network_name(model: str) -> str:
    """Return the name of a model in the model table, or `timm:NAME`. Raises ParameterInvalid."""
    if model.startswith(TIMM_PREFIX):
        check_timm_name(model.removeprefix(TIMM_PREFIX))
    else:
        check_model_name(model)
    return model


def check_options(options: Mapping[str, OptionValue]) -> Mapping[str, OptionValue]:
    """Return the options of an architecture and its input. Raises ParameterInvalid, which names the invalid one."""
    if len(options) > MAX_OPTIONS:
        raise ParameterInvalid(f"a network has at most {MAX_OPTIONS} options")
    for name, value in options.items():
        if _OPTION_NAME.fullmatch(name) is None:
            raise ParameterInvalid(f"{name[:80]!r} is not a valid option name: use letters, digits and underscores")
        if name in _INTERNAL or _INTERNAL_WORDS.search(name):
            raise ParameterInvalid(f"the option {name!r} cannot be set")
        _check_value(name, value)
    return options


def _check_value(name: str, value: OptionValue) -> None:
    if isinstance(value, str):
        if len(value) > MAX_OPTION_CHARS:
            raise ParameterInvalid(f"the option {name!r} has at most {MAX_OPTION_CHARS} characters")
        if "/" in value or "\\" in value or ":" in value or "\0" in value:
            raise ParameterInvalid(f"the option {name!r} cannot be a path or an address")
        return
    most = _MAX_REPEATS if _REPEATS.search(name) else _MAX_NUMBER
    if not math.isfinite(value) or abs(value) > most:
        raise ParameterInvalid(f"the option {name!r} must be from -{most} to {most}")


def _options(options: dict[str, OptionValue]) -> dict[str, OptionValue]:
    check_options(options)
    return options


OptionName = Annotated[str, Field(max_length=64)]
Options = Annotated[dict[OptionName, OptionValue], Field(max_length=MAX_OPTIONS), AfterValidator(_options)]
