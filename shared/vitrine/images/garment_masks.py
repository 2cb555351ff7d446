"""Garments in a picture, from the class probabilities of a parser: which there are, where, and their masks.

A garment is what one person wears of one kind: pieces of a kind that belong together are joined, such as both shoes,
or a coat that is open; pieces that are far apart and both large are worn by different persons. A part of a garment that
was taken for a small garment of another kind is left out, and what nobody wears, for want of skin, is one garment for
each part of the body. Every step is deterministic. A change of the results raises
`vitrine.images.views.VIEW_RULES_VERSION`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt

from vitrine.garments import BACKGROUND, BY_NAME, KINDS, SKIN, GarmentKind
from vitrine.images.regions import Region

# (classes, height, width) float32: the probability of each class of `vitrine.garments` at each pixel.
Probabilities = npt.NDArray[np.float32]
Mask = npt.NDArray[np.uint8]  # (height, width), 0 or 1
Polygon = tuple[tuple[float, float], ...]

MAX_GARMENTS: Final = 8
_BACKGROUND: Final = BY_NAME[BACKGROUND].number
_SKIN: Final = BY_NAME[SKIN].number
_SHOES: Final = BY_NAME["shoes"].number
_MIN_SHARE: Final = 0.004  # of the picture; less is a speck
_MIN_PIECE: Final = 0.03  # of the largest piece of the kind; less is a speck of its own
_MIN_RELATIVE: Final = 0.1  # of the largest garment of the kind
_MIN_PROBABILITY: Final = 0.4
_MAX_PIECES: Final = 24  # of a kind, the largest ones
# The distance over which pieces belong together, relative to the longest side of the larger one: on one person, and
# on what looks like two, because an arm or a bag was taken for background.
_REACH_ON_ONE: Final = 0.5
_REACH_BETWEEN: Final = 0.2
# Shoes are small, and stand apart.
_SHOES_REACH_ON_ONE: Final = 3.0
_SHOES_REACH_BETWEEN: Final = 1.5
# A garment is taken for a part of a larger one, of another kind for the same part of the body, if it covers less than
# this share of it, adjoins it along this share of its own border, and is less probable than this.
_PART_SHARE: Final = 0.2
_PART_BORDER: Final = 0.2
_PART_PROBABILITY: Final = 0.6
_ADJOINING: Final = 0.01  # of the longest side: as close as this they adjoin
# What has less skin than this share of it is worn by nobody. There a piece below this share of the largest kind is a
# part of that garment.
_WORN_SKIN: Final = 0.01
_UNWORN_PIECE: Final = 0.3
_PERSON_GAP: Final = 0.01  # of the longest side: a smaller gap of background does not divide a person
_MAX_POLYGONS: Final = 4
_MAX_POINTS: Final = 60
_MIN_POLYGON: Final = 0.05  # of the garment's area
_DIGITS: Final = 4  # of fractions


@dataclass(frozen=True, slots=True, eq=False)
class Garment:
    """`number` counts from 1, the most prominent first: area times probability.

    `probability` is the mean of its kind's over its pixels, and `share` its part of the picture's area. `box` and
    `outline` (closed polygons, the largest first) are in fractions of the picture's sides. `mask` covers the whole
    picture at the resolution of the probabilities.
    """

    number: int
    kind: GarmentKind
    probability: float
    box: Region
    outline: tuple[Polygon, ...]
    share: float
    mask: Mask


@dataclass(frozen=True, slots=True)
class _Piece:
    """A connected piece of a kind: its label in the map of pieces, its box in pixels, and the person it is part of."""

    label: int
    left: int
    top: int
    right: int
    bottom: int
    area: int
    person: int

    @property
    def longest_px(self) -> int:
        return max(self.right - self.left, self.bottom - self.top)


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """What may be a garment. `area` is in pixels."""

    kind: GarmentKind
    probability: float
    mask: Mask
    area: int


def enlarged(probabilities: Probabilities, factor: int) -> Probabilities:
    """The probabilities (classes, h, w) at `factor` times the resolution, so that borders are smooth."""
    _, height, width = probabilities.shape
    size = (width * factor, height * factor)
    return np.stack([cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) for plane in probabilities])


def find_garments(probabilities: Probabilities, *, with_parts: bool = False) -> tuple[Garment, ...]:
    """The garments of a picture, at most 8, the most prominent first. Specks are left out, and what is only a part of a
    larger garment: `with_parts` keeps these, for measurements.
    """
    classes = _likeliest(probabilities)
    height, width = classes.shape
    persons = _persons(classes)
    unworn = _join_unworn(classes, persons)
    areas = np.bincount(classes.ravel(), minlength=len(KINDS))
    found: list[_Found] = []
    for kind in KINDS:
        if kind.name in (BACKGROUND, SKIN) or areas[kind.number] < _MIN_SHARE * height * width:
            continue
        masks = list(_garments_of_kind(np.asarray(cv2.inRange(classes, kind.number, kind.number)), persons, kind))
        largest = max(map(cv2.countNonZero, masks))
        for mask in masks:
            area = cv2.countNonZero(mask)
            if area < _MIN_SHARE * height * width or area < _MIN_RELATIVE * largest:
                continue
            probability = float(cv2.mean(probabilities[kind.number], mask)[0])
            # On a floor it may be sure that it is a garment, but not of which kind.
            sure = _of_any_kind(probabilities, mask) if cv2.countNonZero(mask & unworn) > area / 2 else probability
            if sure >= _MIN_PROBABILITY:
                found.append(_Found(kind, probability, mask, area))
    found.sort(key=lambda one: -one.area * one.probability)  # stable: by kind, then from left to right
    kept = found if with_parts else [one for one in found if not any(_is_part(one, other) for other in found)]
    return tuple(
        Garment(
            number,
            one.kind,
            round(min(1.0, one.probability), _DIGITS),
            _box(one.mask),
            _outline(one.mask),
            round(one.area / (height * width), _DIGITS),
            one.mask,
        )
        for number, one in enumerate(kept[:MAX_GARMENTS], start=1)
    )


def covering(garments: tuple[Garment, ...], region: Region) -> Garment | None:
    """The searchable garment that covers most of a region of the picture, or None if none does."""

    def covered(garment: Garment) -> int:
        height, width = garment.mask.shape
        left, top, right, bottom = region.box(width, height)
        return int(garment.mask[top:bottom, left:right].sum())

    best = max((one for one in garments if one.kind.searchable), key=covered, default=None)
    return best if best is not None and covered(best) else None


def _is_part(one: _Found, larger: _Found) -> bool:
    """Whether a garment is only a part of a larger one, such as the sleeve of a dress that was taken for a top."""
    if one.probability >= _PART_PROBABILITY or not one.kind.rivals(larger.kind):
        return False
    if one.area >= _PART_SHARE * larger.area:
        return False
    reach = 1 + 2 * max(1, round(_ADJOINING * max(one.mask.shape)))
    border = one.mask - cv2.erode(one.mask, np.ones((3, 3), np.uint8))
    beside = cv2.bitwise_and(border, cv2.dilate(larger.mask, np.ones((reach, reach), np.uint8)))
    return cv2.countNonZero(beside) >= _PART_BORDER * cv2.countNonZero(border)


def _likeliest(probabilities: Probabilities) -> Mask:
    """The number of the likeliest class of each pixel, (H, W)."""
    best = probabilities[0].copy()
    classes = np.zeros(best.shape, dtype=np.uint8)
    for number in range(1, len(probabilities)):  # much faster than argmax over the first axis
        larger = cv2.compare(probabilities[number], best, cv2.CMP_GT)
        classes[larger > 0] = number
        best = np.asarray(cv2.max(best, probabilities[number]), dtype=np.float32)
    return classes


def _persons(classes: Mask) -> npt.NDArray[np.int32]:
    """The number of the person that each pixel belongs to: a connected piece of skin and garments, (H, W)."""
    size = 1 + 2 * max(1, round(_PERSON_GAP * max(classes.shape) / 2))
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    _, persons = cv2.connectedComponents(cv2.dilate((classes > 0).astype(np.uint8), brush))
    return np.asarray(persons, dtype=np.int32)


def _join_unworn(classes: Mask, persons: npt.NDArray[np.int32]) -> Mask:
    """Where nobody is, give the kinds of what is one garment the number of the largest, in place. Returns where (H, W).

    A garment on a floor is often taken for one kind here and another there. Kinds for the same part of the body are
    one garment, and small pieces of any kind belong to it.
    """
    kinds = len(KINDS)
    count = int(persons.max(initial=0)) + 1
    pairs = np.bincount(persons.ravel() * kinds + classes.ravel(), minlength=count * kinds).reshape(count, kinds)
    unworn = np.zeros_like(classes)
    for person, areas in enumerate(pairs):
        areas[_BACKGROUND] = 0
        if areas.sum() < _MIN_SHARE * classes.size or areas[_SKIN] >= _WORN_SKIN * areas.sum():
            continue
        areas[_SKIN] = 0
        largest = KINDS[int(areas.argmax())]
        joined = np.arange(kinds, dtype=np.uint8)
        for kind in KINDS:
            if 0 < areas[kind.number] < _UNWORN_PIECE * areas[largest.number] or kind.rivals(largest):
                joined[kind.number] = largest.number
        inside = persons == person
        classes[inside] = joined[classes[inside]]
        unworn[inside] = 1
    return unworn


def _of_any_kind(probabilities: Probabilities, mask: Mask) -> float:
    """The mean probability of a garment, of whatever kind, on a mask."""
    rest = sum(float(cv2.mean(probabilities[number], mask)[0]) for number in (_BACKGROUND, _SKIN))
    return 1.0 - rest


def _garments_of_kind(mask: Mask, persons: npt.NDArray[np.int32], kind: GarmentKind) -> Iterator[Mask]:
    """The mask of each garment, from that of all pixels of its kind, from left to right."""
    across, down, wide, high = cv2.boundingRect(mask)
    of_kind = np.s_[down : down + high, across : across + wide]
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask[of_kind], connectivity=8)
    pieces: list[_Piece] = []
    largest = int(stats[1:, cv2.CC_STAT_AREA].max(initial=0))
    for label in range(1, count):
        left, top, wide, high, area = (int(value) for value in stats[label])
        if area >= _MIN_PIECE * largest:
            row, column = divmod(int(np.argmax(labels[top : top + high, left : left + wide] == label)), wide)
            person = int(persons[of_kind][top + row, left + column])
            pieces.append(_Piece(label, left, top, left + wide, top + high, area, person))
    pieces = sorted(pieces, key=lambda piece: -piece.area)[:_MAX_PIECES]
    for group in _joined(pieces, is_shoes=kind.number == _SHOES):
        belongs = np.zeros(count, dtype=np.uint8)
        belongs[[piece.label for piece in group]] = 1
        garment: Mask = np.zeros_like(mask)
        garment[of_kind] = belongs[labels]
        yield garment


def _joined(pieces: list[_Piece], *, is_shoes: bool) -> list[list[_Piece]]:
    """The pieces by garment, from left to right."""
    on_one, between = (_SHOES_REACH_ON_ONE, _SHOES_REACH_BETWEEN) if is_shoes else (_REACH_ON_ONE, _REACH_BETWEEN)

    def belong_together(one: _Piece, other: _Piece) -> bool:
        reach = on_one if one.person == other.person else between
        return _gap(one, other) <= reach * max(one.longest_px, other.longest_px)

    groups: list[list[_Piece]] = []
    for piece in pieces:
        near = [group for group in groups if any(belong_together(piece, other) for other in group)]
        groups = [group for group in groups if group not in near]
        groups.append([piece, *(other for group in near for other in group)])
    return sorted(groups, key=lambda group: min((piece.left, piece.top) for piece in group))


def _gap(one: _Piece, other: _Piece) -> float:
    """The distance of two boxes in pixels."""
    across = max(0, one.left - other.right, other.left - one.right)
    down = max(0, one.top - other.bottom, other.top - one.bottom)
    return float(np.hypot(across, down))


def _box(mask: Mask) -> Region:
    height, width = mask.shape
    left, top, wide, high = cv2.boundingRect(mask)
    x, y = round(left / width, _DIGITS), round(top / height, _DIGITS)
    right, bottom = round((left + wide) / width, _DIGITS), round((top + high) / height, _DIGITS)
    return Region(x, y, round(right - x, _DIGITS), round(bottom - y, _DIGITS))


def _outline(mask: Mask) -> tuple[Polygon, ...]:
    height, width = mask.shape
    left, top, wide, high = cv2.boundingRect(mask)
    # Twice the size, so that the outline runs along the borders of pixels and a single pixel has an area.
    doubled = cv2.resize(
        mask[top : top + high, left : left + wide], (2 * wide, 2 * high), interpolation=cv2.INTER_NEAREST
    )
    contours, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    by_area = sorted(contours, key=lambda contour: -cv2.contourArea(contour))
    least = _MIN_POLYGON * 4 * cv2.countNonZero(mask)
    kept = [by_area[0], *(one for one in by_area[1:_MAX_POLYGONS] if cv2.contourArea(one) >= least)]
    origin, size = np.array([2 * left, 2 * top]) + 0.5, np.array([2 * width, 2 * height])
    polygons = (np.round((_simplified(contour)[:, 0] + origin) / size, _DIGITS) for contour in kept)
    return tuple(tuple((float(x), float(y)) for x, y in polygon) for polygon in polygons)


def _simplified(contour: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """The contour (N, 1, 2) with at most 60 points (Douglas and Peucker, Cartographica, 1973)."""
    tolerance_px = 1.5
    while len(points := cv2.approxPolyDP(contour, tolerance_px, True)) > _MAX_POINTS:
        tolerance_px *= 1.3
    return np.asarray(points, dtype=np.int32)
