"""Validation of a parser on the photographs held out, at their own size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from trainer.parser.metrics import Counts, boundary_f, boundary_hits, confusion, intersection_over_union, joined
from trainer.parser.photographs import label_numbers
from vitrine.catalogs.street_photographs import StreetPhotographs
from vitrine.garments import BY_NAME, KIND_NAMES
from vitrine.releases import Preprocessing
from vitrine.types import Pixels
from vitrine.vision.parser import Letterbox, letterboxed
from vitrine.vision.preprocess import Normalise

# Within this share of a photograph's diagonal a boundary is near, as in boundary F scores of outlined objects.
_NEAR: Final = 0.0075
_BATCH: Final = 8


@dataclass(frozen=True, slots=True)
class ParserMetrics:
    """`counts` (kinds, kinds) of points by their true and their found kind; `boundaries` (kinds,) F scores, NaN where a
    kind is neither there nor found, or not measured.
    """

    counts: Counts
    boundaries: tuple[float, ...]

    @property
    def mean_iou(self) -> float:
        """Over the kinds that are there or found."""
        return float(np.nanmean(intersection_over_union(self.counts)))

    @property
    def body_iou(self) -> float:
        """IoU of upper and outer garments as one kind."""
        both = [BY_NAME["upper"].number, BY_NAME["outer"].number]
        others = [[number] for number in range(len(KIND_NAMES)) if number not in both]
        return float(intersection_over_union(joined(self.counts, [both, *others]))[0])

    def as_metrics(self) -> dict[str, float]:
        """Flat numbers for a manifest, rounded to 4 digits."""
        values = {"mean_iou": self.mean_iou, "upper_and_outer_iou": self.body_iou}
        values |= {f"{name}_iou": value for name, value in zip(KIND_NAMES, self._iou(), strict=True)}
        values |= {f"{name}_boundary_f": value for name, value in zip(KIND_NAMES, self.boundaries, strict=True)}
        return {name: round(value, 4) for name, value in values.items() if np.isfinite(value)}

    def as_json(self) -> dict[str, Any]:
        """For the report: by kind, and the counts."""
        return {"kinds": list(KIND_NAMES), "metrics": self.as_metrics(), "counts": self.counts.tolist()}

    def _iou(self) -> list[float]:
        return [float(value) for value in intersection_over_union(self.counts)]


@dataclass(frozen=True, slots=True)
class Parsed:
    """A photograph (H, W, 3), its true kinds (H, W) and those found (H, W)."""

    photograph: Pixels
    truth: Pixels
    found: Pixels


def parsed_photographs(
    network: nn.Module,
    rules: Preprocessing,
    photographs: StreetPhotographs,
    names: Sequence[str],
    *,
    device: torch.device,
    precision: Callable[[], AbstractContextManager[object]],
    step: Callable[[], None],
) -> Iterator[Parsed]:
    """Parse these photographs as a release does. `network` gives logits and is left in evaluation mode.

    `step` is called before each batch and may raise to stop. Raises CatalogMalformed.
    """
    numbers = label_numbers(photographs.labels)
    normalise = Normalise(rules).to(device)
    network.eval()
    for start in range(0, len(names), _BATCH):
        step()
        outlined = [photographs.outlined(name) for name in names[start : start + _BATCH]]
        fitted = [letterboxed(Image.fromarray(photograph), rules) for photograph, _ in outlined]
        with torch.inference_mode():
            batch = torch.from_numpy(np.stack([pixels for pixels, _ in fitted])).to(device)
            with precision():
                logits = network(normalise(batch)).float()
            for (photograph, mask), (_, box), row in zip(outlined, fitted, logits, strict=True):
                yield Parsed(photograph, numbers[mask], _at_full_size(row, box, mask.shape))


def validate(
    network: nn.Module,
    rules: Preprocessing,
    photographs: StreetPhotographs,
    *,
    device: torch.device,
    precision: Callable[[], AbstractContextManager[object]],
    step: Callable[[], None],
    boundaries: bool = False,
) -> ParserMetrics:
    """Measure on the photographs held out. Boundaries take as long as the network, and are NaN if not wanted."""
    kinds = len(KIND_NAMES)
    counts: Counts = np.zeros((kinds, kinds), dtype=np.int64)
    hits = np.zeros((kinds, 4), dtype=np.int64)
    names = sorted(photographs.held_out)
    for parsed in parsed_photographs(network, rules, photographs, names, device=device, precision=precision, step=step):
        counts += confusion(parsed.truth, parsed.found, kinds)
        if boundaries:
            near_px = max(1, round(_NEAR * float(np.hypot(*parsed.truth.shape))))
            for kind in np.union1d(parsed.truth, parsed.found):
                masks = ((parsed.truth == kind).astype(np.uint8), (parsed.found == kind).astype(np.uint8))
                hits[kind] += boundary_hits(*masks, tolerance_px=near_px)
    return ParserMetrics(counts, tuple(boundary_f(row) for row in hits))


def _at_full_size(logits: torch.Tensor, box: Letterbox, shape: tuple[int, ...]) -> Pixels:
    """The likeliest kind (H, W) uint8 of logits (kinds, h, w) of a whole input."""
    part = logits[None, :, box.top : box.top + box.height, box.left : box.left + box.width]
    large = functional.interpolate(part, size=tuple(shape), mode="bilinear", align_corners=False)
    return np.asarray(large[0].argmax(dim=0).to(torch.uint8).cpu().numpy(), dtype=np.uint8)
