"""Why did it match? Occlusion maps: parts of a picture are covered one after the other, and the similarity falls most
at the parts that matter (Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014). Needs
only vectors of the network, so it works for every release.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from embedder.call import Upload
from embedder.model_cache import LoadedRelease
from vitrine.images.checks import DecodeCost, check_image, decode_cost
from vitrine.images.decode import decode_image
from vitrine.images.regions import Region, check_region, region_decode_px
from vitrine.types import Pixels, Values, Vectors

ROWS: Final = 8
COLUMNS: Final = 6
VECTORS: Final = 1 + ROWS * COLUMNS  # of each picture
COVERING_S: Final = 0.1  # CPU seconds of covering a picture, beside the decoding
# A cover is a little wider than two cells, so that a detail on the border of two cells is fully covered by one cover.
_COVER_CELLS: Final = 2.2
_SHORT_SIDE_PX: Final = 192
_SHOWN_HEIGHT_PX: Final = 480
_GAP_PX: Final = 16
_GLOW: Final = np.array([255.0, 64.0, 32.0])
_MAX_GLOW: Final = 0.65


class OccludedPicture:
    """`upload` gives the picture's vector, and one for each copy with a covered part. Once it is prepared, `picture` is
    what was seen, small.
    """

    def __init__(self, release: LoadedRelease, seen: Callable[[], Image.Image], cost: DecodeCost) -> None:
        """`cost` is that of calling `seen`, which returns an upright RGB picture."""
        self.picture = Image.new("RGB", (1, 1))
        self.upload = Upload(
            (release,) * VECTORS,
            lambda: self._prepare(release, seen()),
            DecodeCost(cost.cpu_s + COVERING_S, cost.memory_bytes),
        )

    @classmethod
    def of_file(cls, release: LoadedRelease, data: bytes, region: Region | None = None) -> Self:
        """A picture file, or a region of it. Raises ImageRejected if the header shows that it cannot be used."""
        preprocessor = release.preprocessor
        limits = preprocessor.limits
        header = check_image(data, limits=limits)
        target_px = max(_SHORT_SIDE_PX, preprocessor.decode_px)
        cost = decode_cost(header, len(data))
        if region is not None:
            check_region(header, region, limits=limits)
            short_px = region_decode_px(header, len(data), region, target_px=target_px, limits=limits)
            cost = decode_cost(header, len(data), short_side_px=short_px)
        return cls(release, lambda: decode_image(data, target_px=target_px, limits=limits, region=region), cost)

    @classmethod
    def of_image(cls, release: LoadedRelease, image: Image.Image) -> Self:
        """A picture that is decoded already."""
        return cls(release, lambda: image, DecodeCost(0.0, 0))

    def _prepare(self, release: LoadedRelease, whole: Image.Image) -> list[Pixels]:
        fit = release.preprocessor.fit
        covered = cover(whole)
        self.picture = covered.picture
        return [fit(whole), *map(fit, covered.copies)]


@dataclass(frozen=True, slots=True)
class Covered:
    """A small picture, and copies of it with one part covered each, row by row."""

    picture: Image.Image
    copies: list[Image.Image]


def cover(picture: Image.Image) -> Covered:
    """Cover the picture part by part with a blurred copy, which has its colours but not its shapes."""
    short = min(picture.size)
    if short > _SHORT_SIDE_PX:
        scale = _SHORT_SIDE_PX / short
        picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BOX)
    blurred = picture.filter(ImageFilter.GaussianBlur(max(picture.size) / 6))
    return Covered(picture, [_with_cover(picture, blurred, box) for box in _boxes(*picture.size)])


@dataclass(frozen=True, slots=True)
class Explanation:
    """The cosine similarity of two pictures, by how much it falls per covered part of each, a PNG of both, and one of
    the first alone, without its heat.
    """

    score: float
    heats: tuple[Values, Values]
    png: bytes
    first_png: bytes


def explanation_of(first: OccludedPicture, second: OccludedPicture, vectors: Vectors) -> Explanation:
    """`vectors` (2 * VECTORS, dim) are those of the first upload, then those of the second."""
    one, other = vectors[: len(vectors) // 2], vectors[len(vectors) // 2 :]
    score = float(one[0] @ other[0])
    heats = (
        heat_map(score, (one[1:] @ other[0]).astype(np.float64)),
        heat_map(score, (other[1:] @ one[0]).astype(np.float64)),
    )
    drawn = draw([(first.picture, heats[0]), (second.picture, heats[1])])
    return Explanation(score, heats, drawn, _png(first.picture))


def heat_map(whole: float, covered: npt.NDArray[np.float64]) -> Values:
    """(ROWS, COLUMNS) the fall of the similarity: `whole` minus (ROWS * COLUMNS,) `covered`, 0 where it rises."""
    return np.maximum(0.0, whole - covered).reshape(ROWS, COLUMNS)


def draw(pairs: list[tuple[Image.Image, Values]]) -> bytes:
    """A PNG of the pictures side by side, each with its heat as a glow. Each is scaled by its own maximum."""
    panels = [_glowing(picture, heat) for picture, heat in pairs]
    width = sum(panel.width for panel in panels) + _GAP_PX * (len(panels) - 1)
    sheet = Image.new("RGB", (width, _SHOWN_HEIGHT_PX), "white")
    left = 0
    for panel in panels:
        sheet.paste(panel, (left, 0))
        left += panel.width + _GAP_PX
    return _png(sheet)


def _boxes(width: int, height: int) -> list[tuple[int, int, int, int]]:
    cell_width, cell_height = width / COLUMNS, height / ROWS
    reach_x, reach_y = cell_width * _COVER_CELLS / 2, cell_height * _COVER_CELLS / 2
    boxes = []
    for row in range(ROWS):
        for column in range(COLUMNS):
            x, y = (column + 0.5) * cell_width, (row + 0.5) * cell_height
            box = (max(0, x - reach_x), max(0, y - reach_y), min(width, x + reach_x), min(height, y + reach_y))
            left, top, right, bottom = (round(side) for side in box)
            boxes.append((left, top, max(left + 1, right), max(top + 1, bottom)))
    return boxes


def _with_cover(picture: Image.Image, blurred: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    copy = picture.copy()
    copy.paste(blurred.crop(box), box[:2])
    return copy


def _glowing(picture: Image.Image, heat: Values) -> Image.Image:
    width = max(1, round(picture.width * _SHOWN_HEIGHT_PX / picture.height))
    shown = np.asarray(picture.resize((width, _SHOWN_HEIGHT_PX), Image.Resampling.BICUBIC), dtype=np.float64)
    maximum = float(heat.max())
    levels = (heat / maximum if maximum > 0 else heat).astype(np.float32)
    smooth = Image.fromarray(levels).resize((width, _SHOWN_HEIGHT_PX), Image.Resampling.BICUBIC)
    share = np.clip(np.asarray(smooth, dtype=np.float64), 0, 1)[..., None] * _MAX_GLOW
    grey = shown.mean(axis=2, keepdims=True)  # the glow is easier to see on paler colours
    mixed = (0.5 * shown + 0.5 * grey) * (1 - share) + _GLOW * share
    return Image.fromarray(mixed.round().clip(0, 255).astype(np.uint8))


def _png(picture: Image.Image) -> bytes:
    written = io.BytesIO()
    picture.save(written, "PNG", compress_level=1)
    return written.getvalue()
