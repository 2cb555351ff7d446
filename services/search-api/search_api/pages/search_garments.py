"""View models of the garments in a query picture: an outline and a dot for each, and links that search with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from search_api.pages.formats import percent
from search_api.pages.search_state import Pair, SearchState
from search_api.search.options import LEAST_PROBABILITY

_DRAWING_WIDTH: Final = 1000  # units of the drawing; its height follows from the picture
_GRID: Final = 13
_TOWARDS_MIDDLE: Final = 0.01  # decides among points that are equally far from the edges
_MOST_SHOWN: Final = 8

Points = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Garment:
    """A garment that can be searched. `path` is an SVG path in the units of the drawing; `x` and `y` are the place of
    its dot, in fractions of the picture.
    """

    number: int
    title: str
    probability: float
    href: str
    chosen: bool
    path: str
    x: float
    y: float
    filters: tuple[Pair, ...]

    @property
    def name(self) -> str:
        return f"{self.title}, {percent(self.probability)}"


@dataclass(frozen=True, slots=True)
class Garments:
    """The garments in a picture that are shown, most prominent first. The drawing is `width` x `height` units.

    `uncertain` is how many of all the parser is not sure of, where there are others, and `uncertain_href` shows them or
    leaves them out again.
    """

    width: int
    height: int
    all: tuple[Garment, ...]
    whole_href: str
    look_href: str | None
    uncertain: int = 0
    uncertain_href: str | None = None

    @property
    def chosen(self) -> Garment | None:
        return next((one for one in self.all if one.chosen), None)


def garments_of(state: SearchState, regions: Mapping[str, Any], home: str) -> Garments | None:
    """The searchable garments of an answer of `/api/regions`; None if no garment is searchable.

    Those that the parser is not sure of are shown on request, or if there are no others, or if one is searched with.
    """
    found = [one for one in regions["garments"] if one["searchable"]][:_MOST_SHOWN]
    if not found:
        return None
    height = max(1, round(_DRAWING_WIDTH * regions["height"] / regions["width"]))
    titles = dict(zip((one["number"] for one in found), _titles(found), strict=True))
    uncertain = sum(not _is_sure(one) for one in found)
    if uncertain == len(found):
        uncertain, state = 0, state.having(uncertain=True)
    shown = [one for one in found if state.uncertain or _is_sure(one) or one["number"] == state.garment]
    whole = state.searching_part(None)
    look = home + whole.having(look=True, compare=None).query() if len(shown) > 1 else None
    return Garments(
        _DRAWING_WIDTH,
        height,
        tuple(_garment(state, one, home, titles[one["number"]], height=height) for one in shown),
        home + whole.query(),
        look,
        uncertain,
        home + state.having(uncertain=not state.uncertain).query() if uncertain else None,
    )


def first_of(regions: Mapping[str, Any]) -> int | None:
    """The number of the most prominent garment that can be searched, of those that the parser is sure of if any is."""
    found = [one for one in regions["garments"] if one["searchable"]]
    return next((one["number"] for one in [*filter(_is_sure, found), *found]), None)


def filters_of(regions: Mapping[str, Any], state: SearchState) -> tuple[Pair, ...]:
    """The filters that follow from the kind of the chosen garment and are in force: the state's own filters on the same
    field take their place.
    """
    if not state.kind_filters or state.garment is None:
        return ()
    garment = next((one for one in regions["garments"] if one["number"] == state.garment), None)
    return tuple(pair for pair in _pairs(garment or {}) if not state.values_of(pair[0]))


def dot_of(polygons: Sequence[Sequence[Sequence[float]]]) -> tuple[float, float]:
    """A point well inside the largest polygon: of a grid over its box, the inner point that is furthest from its edges.

    Polygons are lists of (x, y). The center of the box would often lie on another garment, e.g. of an open jacket.
    """
    largest = max((np.asarray(one, dtype=np.float64) for one in polygons), key=_area)
    (left, top), (right, bottom) = largest.min(axis=0), largest.max(axis=0)
    steps = (np.arange(_GRID) + 0.5) / _GRID
    x, y = np.meshgrid(left + steps * (right - left), top + steps * (bottom - top))
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    inside = _inside(points, largest)
    if not inside.any():
        return float((left + right) / 2), float((top + bottom) / 2)
    points = points[inside]
    to_middle = np.hypot(*(points - [(left + right) / 2, (top + bottom) / 2]).T)
    best = points[np.argmax(_distance(points, largest) - _TOWARDS_MIDDLE * to_middle)]
    return float(best[0]), float(best[1])


def _is_sure(found: Mapping[str, Any]) -> bool:
    return bool(found["probability"] >= LEAST_PROBABILITY)


def _titles(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """The titles of garments; those of several persons are numbered from the second on."""
    counts: dict[str, int] = {}
    titles = []
    for one in found:
        count = counts[one["title"]] = counts.get(one["title"], 0) + 1
        titles.append(one["title"] if count == 1 else f"{one['title']} {count}")
    return titles


def _garment(state: SearchState, found: Mapping[str, Any], home: str, title: str, *, height: int) -> Garment:
    polygons = [one for one in found["outline"] if len(one) > 2] or [_corners(found["box"])]
    x, y = dot_of(polygons)
    return Garment(
        number=found["number"],
        title=title,
        probability=found["probability"],
        href=home + state.searching_part(str(found["number"])).query(),
        chosen=state.garment == found["number"] and not state.shows_look and not state.from_examples,
        path=" ".join(_path(one, height) for one in polygons),
        x=round(x, 4),
        y=round(y, 4),
        filters=_pairs(found),
    )


def _pairs(found: Mapping[str, Any]) -> tuple[Pair, ...]:
    return tuple((field, value) for field, values in found.get("filters", {}).items() for value in values)


def _path(polygon: Sequence[Sequence[float]], height: int) -> str:
    points = " ".join(f"{round(x * _DRAWING_WIDTH)},{round(y * height)}" for x, y in polygon)
    return f"M{points}z"


def _corners(box: Mapping[str, float]) -> list[list[float]]:
    left, top = box["x"], box["y"]
    right, bottom = left + box["width"], top + box["height"]
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def _area(polygon: Points) -> float:
    """By the shoelace formula."""
    x, y = polygon[:, 0], polygon[:, 1]
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def _inside(points: Points, polygon: Points) -> NDArray[np.bool_]:
    """Whether each of N points is inside, by the number of edges that a ray from it crosses."""
    x, y = points[:, :1], points[:, 1:]
    (x1, y1), (x2, y2) = polygon.T, np.roll(polygon, -1, axis=0).T
    between = (y1 > y) != (y2 > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = x < (x2 - x1) * (y - y1) / (y2 - y1) + x1
    odd: NDArray[np.bool_] = (between & crossing).sum(axis=1) % 2 == 1
    return odd


def _distance(points: Points, polygon: Points) -> Points:
    """The distance of each of N points to the nearest edge."""
    edges = np.roll(polygon, -1, axis=0) - polygon
    lengths = np.maximum((edges**2).sum(axis=1), 1e-12)
    offsets = points[:, None, :] - polygon[None, :, :]
    along = np.clip((offsets * edges).sum(axis=2) / lengths, 0.0, 1.0)
    nearest = offsets - along[:, :, None] * edges
    distances: Points = np.sqrt((nearest**2).sum(axis=2)).min(axis=1)
    return distances
