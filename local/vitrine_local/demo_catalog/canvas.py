"""The canvas for garments: outlines in garment units, filled with fabric, with soft light and shadow.

Garment units are independent of the picture's size: x from -50 to 50 around the middle, y from 0 at the top to 133 at
the bottom. A pose rotates, scales and moves them. Everything is drawn at twice the size and reduced at the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Final, Self

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from vitrine_local.demo_catalog.style import Colour

Point = tuple[float, float]
FloatArray = np.ndarray[tuple[int, ...], np.dtype[np.float32]]

UNITS_WIDE: Final = 100.0
UNITS_HIGH: Final = 133.0
_OVERSAMPLING: Final = 2
_CURVE_STEPS: Final = 10


class Path:
    """An outline of straight lines and curves."""

    def __init__(self, x: float, y: float) -> None:
        self.points: list[Point] = [(x, y)]

    def to(self, *points: Point) -> Self:
        """Add straight lines through the points."""
        self.points.extend(points)
        return self

    def bend(self, control: Point, end: Point) -> Self:
        """Add a quadratic Bézier curve."""
        (x0, y0), (x1, y1), (x2, y2) = self.points[-1], control, end
        for step in range(1, _CURVE_STEPS + 1):
            t = step / _CURVE_STEPS
            a, b, c = (1 - t) ** 2, 2 * t * (1 - t), t * t
            self.points.append((a * x0 + b * x1 + c * x2, a * y0 + b * y1 + c * y2))
        return self

    def mirrored(self) -> Self:
        """Close the outline of a right half with its mirror image."""
        self.points.extend((-x, y) for x, y in reversed(self.points) if x != 0)
        return self


def ellipse(x: float, y: float, radius_x: float, radius_y: float) -> Path:
    angles = [2 * math.pi * step / 36 for step in range(36)]
    path = Path(x + radius_x, y)
    return path.to(*((x + radius_x * math.cos(a), y + radius_y * math.sin(a)) for a in angles[1:]))


def box(x: float, y: float, width: float, height: float, radius: float = 0.0) -> Path:
    """A rectangle with rounded corners. (x, y) is its top left corner."""
    right, bottom, r = x + width, y + height, radius
    path = Path(x + r, y).to((right - r, y)).bend((right, y), (right, y + r)).to((right, bottom - r))
    path.bend((right, bottom), (right - r, bottom)).to((x + r, bottom)).bend((x, bottom), (x, bottom - r))
    return path.to((x, y + r)).bend((x, y), (x + r, y))


def mirror(points: Iterable[Point]) -> list[Point]:
    return [(-x, y) for x, y in points]


@dataclass(frozen=True, slots=True)
class Pose:
    """Rotation, scale and position of a garment. `turn` is in radians, moves are in garment units."""

    turn: float = 0.0
    scale: float = 1.0
    stretch: float = 1.0
    move_x: float = 0.0
    move_y: float = 0.0


class Canvas:
    """One drawing. `size` is (width, height) of the finished picture in pixels."""

    def __init__(self, size: tuple[int, int], pose: Pose) -> None:
        self._size = size
        width, height = size[0] * _OVERSAMPLING, size[1] * _OVERSAMPLING
        self._unit_px = min(width / UNITS_WIDE, height / UNITS_HIGH)
        self._layer = Image.new("RGB", (width, height))
        self._alpha = Image.new("L", (width, height))
        cos, sin = math.cos(pose.turn), math.sin(pose.turn)
        across, down = self._unit_px * pose.scale * pose.stretch, self._unit_px * pose.scale
        self._matrix = (cos * across, -sin * down, sin * across, cos * down)
        self._origin = (width / 2 + pose.move_x * self._unit_px, height / 2 + pose.move_y * self._unit_px)

    def garment_units(self) -> tuple[FloatArray, FloatArray]:
        """(x, y) of every pixel in garment units, each (height, width) float32."""
        a, b, c, d = self._matrix
        determinant = a * d - b * c
        width, height = self._layer.size
        dx = (np.arange(width, dtype=np.float32) - np.float32(self._origin[0]))[None, :]
        dy = (np.arange(height, dtype=np.float32) - np.float32(self._origin[1]))[:, None]
        x = (np.float32(d / determinant) * dx - np.float32(b / determinant) * dy).astype(np.float32)
        y = (np.float32(a / determinant) * dy - np.float32(c / determinant) * dx).astype(np.float32)
        return x, y + np.float32(UNITS_HIGH / 2)

    def fill(
        self,
        path: Path,
        paint: Image.Image | Colour,
        *,
        roundness: float = 0.3,
        edge: float = 0.35,
        holes: Sequence[Path] = (),
    ) -> None:
        """Fill an outline with fabric or one colour.

        roundness: darkening towards the rim, 0 to 1, as on something soft. edge: darkening of the rim itself.
        holes: outlines that stay empty.
        """
        pixels = self._pixels(path.points)
        # The light comes from blurred masks, which need a margin outside the outline.
        area = self._area(pixels, margin=round(self._unit_px * 4))
        part = Image.new("L", (area[2] - area[0], area[3] - area[1]))
        draw = ImageDraw.Draw(part)
        draw.polygon([(x - area[0], y - area[1]) for x, y in pixels], fill=255)
        for hole in holes:
            draw.polygon([(x - area[0], y - area[1]) for x, y in self._pixels(hole.points)], fill=0)
        piece = paint.crop(area) if isinstance(paint, Image.Image) else Image.new("RGB", part.size, paint)
        piece = _lit(piece, part, roundness=roundness, edge=edge, unit_px=self._unit_px)
        self._layer.paste(piece, area[:2], part)
        self._alpha.paste(255, area[:2], part)

    def stroke(self, points: Sequence[Point], colour: Colour, width: float, *, on_garment: bool = True) -> None:
        """Draw a line through the points, `width` in garment units, with round ends.

        on_garment: clip it to the garment. False: a separate part, such as a handle.
        """
        self._strokes([points], colour, width, on_garment=on_garment)

    def dashes(self, points: Sequence[Point], colour: Colour, width: float, *, every: float = 2.2) -> None:
        """Draw a seam: short stitches along straight lines."""
        stitches: list[list[Point]] = []
        for (x0, y0), (x1, y1) in pairwise(points):
            count = max(round(math.hypot(x1 - x0, y1 - y0) / every), 1)
            for index in range(count):
                ends = (index / count, (index + 0.6) / count)
                stitches.append([(x0 + (x1 - x0) * share, y0 + (y1 - y0) * share) for share in ends])
        self._strokes(stitches, colour, width, on_garment=True)

    def _strokes(self, lines: Sequence[Sequence[Point]], colour: Colour, width: float, *, on_garment: bool) -> None:
        thickness = max(round(width * self._unit_px), 1)
        radius = thickness / 2
        drawn = [self._pixels(line) for line in lines]
        area = self._area([point for line in drawn for point in line], margin=thickness + 2)
        mask = Image.new("L", (area[2] - area[0], area[3] - area[1]))
        draw = ImageDraw.Draw(mask)
        for line in drawn:
            pixels = [(x - area[0], y - area[1]) for x, y in line]
            draw.line(pixels, fill=255, width=thickness, joint="curve")
            if thickness > 2:
                for x, y in (pixels[0], pixels[-1]):
                    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
        if on_garment:
            mask = ImageChops.multiply(mask, self._alpha.crop(area))
        else:
            self._alpha.paste(255, area[:2], mask)
        self._layer.paste(colour, area, mask)

    def folds(self, lines: Sequence[Sequence[Point]], *, width: float = 2.2, depth: float = 0.35) -> None:
        """Draw soft dark creases along the lines, clipped to the garment."""
        crease = Image.new("L", self._layer.size)
        draw = ImageDraw.Draw(crease)
        for line in lines:
            draw.line(self._pixels(line), fill=255, width=max(round(width * self._unit_px), 1), joint="curve")
        crease = crease.filter(ImageFilter.BoxBlur(width * self._unit_px * 0.7))
        crease = ImageChops.multiply(crease, self._alpha).point(_scaled(depth))
        self._layer.paste((0, 0, 0), (0, 0), crease)

    def finished(self, background: Colour, *, shadow: float, grain: FloatArray | None = None) -> Image.Image:
        """The finished RGB picture: background, slightly darker towards the bottom, shadow and garment.

        shadow: strength, 0 to 1. grain: (height, width), added to the pixels.
        """
        width, height = self._layer.size
        shades = np.asarray(background, dtype=np.float32) * np.linspace(1.0, 0.955, height, dtype=np.float32)[:, None]
        column = Image.fromarray(shades.astype(np.uint8)[:, None, :])
        picture = column.resize((width, height), Image.Resampling.NEAREST)
        offset = round(self._unit_px * 1.6)
        shade = ImageChops.offset(self._alpha, offset // 2, offset).filter(ImageFilter.BoxBlur(self._unit_px * 2.2))
        picture.paste((60, 60, 70), (0, 0), shade.point(_scaled(round(shadow * 0.5, 2))))
        picture.paste(self._layer, (0, 0), self._alpha)
        picture = picture.reduce(_OVERSAMPLING)
        if grain is None:
            return picture
        noisy = np.asarray(picture, dtype=np.float32) + grain[:, :, None]
        return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))

    def _area(self, pixels: Sequence[Point], *, margin: int) -> tuple[int, int, int, int]:
        """The bounding box of the points on the canvas, at least one pixel."""
        width, height = self._layer.size
        left = min(max(math.floor(min(x for x, _ in pixels)) - margin, 0), width - 1)
        top = min(max(math.floor(min(y for _, y in pixels)) - margin, 0), height - 1)
        right = min(max(math.ceil(max(x for x, _ in pixels)) + margin, left + 1), width)
        bottom = min(max(math.ceil(max(y for _, y in pixels)) + margin, top + 1), height)
        return left, top, right, bottom

    def _pixels(self, points: Iterable[Point]) -> list[Point]:
        a, b, c, d = self._matrix
        x0, y0 = self._origin
        middle = UNITS_HIGH / 2
        return [(x0 + a * x + b * (y - middle), y0 + c * x + d * (y - middle)) for x, y in points]


def _lit(piece: Image.Image, mask: Image.Image, *, roundness: float, edge: float, unit_px: float) -> Image.Image:
    """The piece, darker towards the rim of its mask: a wide falloff for roundness, a narrow one for the edge."""
    for depth, reach, dark_below, power in ((roundness, 3.2, 90, 1.3), (edge, 0.45, 120, 1.0)):
        if depth:
            shade = mask.filter(ImageFilter.BoxBlur(unit_px * reach)).point(_falloff(depth, dark_below, power))
            piece.paste((0, 0, 0), (0, 0), shade)
    return piece


@cache
def _falloff(depth: float, dark_below: int, power: float) -> list[int]:
    """A lookup table: darkness, 0 to 255, for each value of a blurred mask; `depth` for `dark_below` and less."""
    span = 255 - dark_below
    return [round(255 * depth * (1 - max(value - dark_below, 0) / span) ** power) for value in range(256)]


@cache
def _scaled(share: float) -> list[int]:
    return [round(value * share) for value in range(256)]
