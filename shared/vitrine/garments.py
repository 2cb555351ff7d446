"""The kinds of garments that a parser finds in a photograph, and the labels of street photographs that they come from.

The table is `garments.toml`. A kind's number is the value of its pixels in a mask.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

BACKGROUND: Final = "background"
SKIN: Final = "skin"


@dataclass(frozen=True, slots=True)
class GarmentKind:
    """`number` is the value in a mask. `fields` maps an attribute to the values that a garment of the kind may have;
    empty for background and skin, which are not searched. `body` has the parts of the body that it covers, `upper` and
    `lower`; empty for what is no clothing.
    """

    name: str
    number: int
    title: str
    fields: Mapping[str, tuple[str, ...]]
    body: frozenset[str] = frozenset()

    @property
    def searchable(self) -> bool:
        return bool(self.fields)

    def rivals(self, other: GarmentKind) -> bool:
        """Whether it is another kind for the same part of the body, so that one may be taken for the other."""
        return self != other and bool(self.body & other.body)


@dataclass(frozen=True, slots=True)
class StreetLabel:
    """A label of outlined street photographs: the name of its kind, and the article types that it may be."""

    name: str
    kind: str
    article_types: frozenset[str]


def _read_kinds(table: dict[str, Any]) -> tuple[GarmentKind, ...]:
    return tuple(
        GarmentKind(
            row["name"],
            number,
            row["title"],
            {name: tuple(values) for name, values in row.get("fields", {}).items()},
            frozenset(row.get("body", ())),
        )
        for number, row in enumerate(table["kinds"])
    )


def _read_labels(table: dict[str, Any]) -> dict[str, StreetLabel]:
    return {
        name: StreetLabel(name, row["kind"], frozenset(row.get("articleTypes", ())))
        for name, row in table["labels"].items()
    }


_TABLE: Final = tomllib.loads(files("vitrine").joinpath("garments.toml").read_text("utf-8"))
KINDS: Final = _read_kinds(_TABLE)
KIND_NAMES: Final = tuple(kind.name for kind in KINDS)
BY_NAME: Final[Mapping[str, GarmentKind]] = {kind.name: kind for kind in KINDS}
STREET_LABELS: Final[Mapping[str, StreetLabel]] = _read_labels(_TABLE)


def kind_of_label(label: str) -> GarmentKind:
    """The kind that a street label counts as; background if it is not in the table."""
    known = STREET_LABELS.get(label)
    return BY_NAME[BACKGROUND if known is None else known.kind]
