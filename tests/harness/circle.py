"""Points on a circle, in order of their numbers, so that their neighbours are known without computing."""

from __future__ import annotations

import math
import uuid
from datetime import date, timedelta

from qdrant_client import models

DIM = 4
POINTS = 60
IDS = [str(uuid.uuid5(uuid.NAMESPACE_URL, f"product/{number}")) for number in range(POINTS)]
DATED = 30  # the first so many have a date, one a day from 2024-01-01
GENDERS = ("Men", "Women", "Boys")


def vector(number: float) -> list[float]:
    """The position of a number on the circle, with length 3."""
    angle = 2 * math.pi * number / POINTS
    return [3 * math.cos(angle), 3 * math.sin(angle), 0.0, 0.0]


def unit(number: float) -> list[float]:
    """The same with length 1, as a store of cosine distances keeps it."""
    return [part / 3 for part in vector(number)]


def payload(number: int) -> dict[str, object]:
    return {
        "product_id": str(number),
        "gender": GENDERS[number % 3],
        "year": 2000 + number % 10,
        "price": number / 2,
        "tags": ["even" if number % 2 == 0 else "odd", "all"],
        "sale": number % 2 == 0,
        "paths_": {"category": ["All", f"All > {GENDERS[number % 3]}"]},
        **({"added": _added(number), "größe": "M"} if number < DATED else {}),
        "secret": number,
        **({"season": "Summer"} if number < 5 else {}),
        **({"note": None} if number == 0 else {}),
    }


def _added(number: int) -> str:
    """A day, or for each third a moment of it, in another zone."""
    day = date(2024, 1, 1) + timedelta(days=number)
    return f"{day}T10:00:00+02:00" if number % 3 == 2 else day.isoformat()


def points() -> list[models.PointStruct]:
    return [models.PointStruct(id=IDS[n], vector=vector(n), payload=payload(n)) for n in range(POINTS)]


def number_of(point_id: object) -> int:
    """The number of a point by its id."""
    return IDS.index(str(point_id))


def field(key: str, value: object) -> models.FieldCondition:
    return models.FieldCondition(key=key, match=models.MatchValue(value=value))


def must(*conditions: models.Condition) -> models.Filter:
    return models.Filter(must=list(conditions))
