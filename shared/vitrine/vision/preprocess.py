"""From a picture file to the network's input, by the rules in a release's manifest.

Pixels stay 8-bit until they are on the device, where `Normalise` scales them. That is a quarter of the bytes to move,
and the same in every service.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import nn

from vitrine.errors import ReleaseCorrupt
from vitrine.images.checks import DEFAULT_LIMITS, ImageLimits
from vitrine.images.decode import DECODE_RULES_VERSION, SERVED_RULES_VERSIONS, decode_image
from vitrine.images.views import AS_IT_IS, VIEWED_SHORT_SIDE_PX, CutOut, View, in_views
from vitrine.releases import Preprocessing
from vitrine.types import Pixels

_WHITE: Final = (255, 255, 255)
_INTERPOLATIONS: Final = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


class Preprocessor:
    """Turns picture bytes into the network's pixels. Thread-safe."""

    def __init__(self, rules: Preprocessing, *, limits: ImageLimits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        if rules.decode_rules_version not in SERVED_RULES_VERSIONS:
            raise ReleaseCorrupt(
                f"the release was made with decode rules {rules.decode_rules_version}, but this Vitrine has "
                f"{DECODE_RULES_VERSION}: its vectors would not match; make the release again"
            )
        self._rules = rules
        self._size = (rules.width_px, rules.height_px)
        self._interpolation = _INTERPOLATIONS[rules.interpolation]
        # JPEGs are not decoded smaller than this short side, from which the input is resized.
        self.decode_px = max(rules.resize_px, rules.width_px, rules.height_px)
        if rules.detail_px is not None:
            self._detail = (max(1, round(rules.detail_px * rules.width_px / rules.height_px)), rules.detail_px)

    def __call__(self, data: bytes) -> Pixels:
        """Decode and fit: (height_px, width_px, 3) uint8. Raises ImageRejected."""
        return self.fit(decode_image(data, target_px=self.decode_px, limits=self.limits))

    def decode_px_for(self, views: Sequence[View]) -> int:
        """The `target_px` of `decode_image` for these views."""
        return self.decode_px if tuple(views) == (AS_IT_IS,) else max(self.decode_px, VIEWED_SHORT_SIDE_PX)

    def in_views(self, data: bytes, views: Sequence[View], *, cut_out: CutOut | None = None) -> list[Pixels]:
        """Decode the picture once and fit each view of it. Raises ImageRejected."""
        image = decode_image(data, target_px=self.decode_px_for(views), limits=self.limits)
        return self.fit_views(image, views, cut_out=cut_out)

    def fit_views(self, image: Image.Image, views: Sequence[View], *, cut_out: CutOut | None = None) -> list[Pixels]:
        """`in_views` for a decoded RGB picture."""
        seen = in_views(image, views, short_side_px=self.decode_px_for(views), cut_out=cut_out)
        return [self.fit(view) for view in seen]

    def fit(self, image: Image.Image) -> Pixels:
        """Fit a decoded RGB picture: (height_px, width_px, 3) uint8.

        Resizing and cropping are one step: only the cropped part of the picture is resampled.
        """
        if self._rules.detail_px is None:
            return np.asarray(self._fitted(image, self._size))
        coarse = self._fitted(image, self._detail)
        return np.asarray(coarse.resize(self._size, self._interpolation))

    def _fitted(self, image: Image.Image, size: tuple[int, int]) -> Image.Image:
        if self._rules.fit == "stretch":
            return image.resize(size, self._interpolation)
        if self._rules.fit == "pad":
            return ImageOps.pad(image, size, self._interpolation, color=_WHITE)
        width, height = image.size
        across, down = self._size
        # The share of the covering box that the crop keeps. `min`: rounding must not push the crop over an edge.
        share = self._rules.input_px / self._rules.resize_px
        cover = min(width / across, height / down)
        cut_width, cut_height = min(across * cover * share, width), min(down * cover * share, height)
        left, top = (width - cut_width) / 2, (height - cut_height) / 2
        return image.resize(size, self._interpolation, box=(left, top, left + cut_width, top + cut_height))


class Normalise(nn.Module):
    """Scales 8-bit pixels to 0..1, subtracts the mean and divides by the standard deviation."""

    def __init__(self, rules: Preprocessing, *, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        mean = torch.tensor(rules.mean).view(1, 3, 1, 1)
        std = torch.tensor(rules.std).view(1, 3, 1, 1)
        self.register_buffer("scale", 1.0 / (255.0 * std), persistent=False)
        self.register_buffer("shift", -mean / std, persistent=False)
        self.dtype = dtype

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(N, H, W, 3) uint8 in, (N, 3, H, W) in channels-last memory out. The permutation copies nothing."""
        planes = pixels.permute(0, 3, 1, 2)
        scale: torch.Tensor = self.scale  # type: ignore[assignment]
        shift: torch.Tensor = self.shift  # type: ignore[assignment]
        return torch.addcmul(shift, planes.to(torch.float32), scale).to(self.dtype)
