"""The garments of a picture on the wire: what a parser found, and the vectors of its garments.

Garments are JSON in ASCII, in the body: their outlines are too long for a header. Where vectors follow, GARMENTS_HEADER
gives the length of the JSON in bytes; the vectors are those of `vitrine.embedding.wire`, a shape for each garment.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import httpx

from vitrine.embedding.wire import (
    SHAPES_HEADER,
    Embedding,
    Prediction,
    decode_views,
    encode_views,
    parse_server_timing,
)
from vitrine.errors import EmbedderUnavailable
from vitrine.images.regions import Region
from vitrine.types import Vectors

GARMENTS_HEADER: Final = "Vitrine-Garments"
# The value of the parameter `garments` for all garments.
ALL_GARMENTS: Final = "all"
_MAX_LENGTH_DIGITS: Final = 7

Polygon = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class FoundGarment:
    """A garment in a picture. All geometry is in fractions of the upright picture's sides.

    `number` counts from 1, the most prominent first. `kind` and `title` are those of `vitrine.garments`. `outline` are
    closed polygons, the largest first, and `share` is the garment's part of the picture's area.
    """

    number: int
    kind: str
    title: str
    probability: float
    box: Region
    outline: tuple[Polygon, ...]
    share: float
    searchable: bool

    def document(self) -> dict[str, Any]:
        """The garment as JSON."""
        return {
            "number": self.number,
            "kind": self.kind,
            "title": self.title,
            "probability": self.probability,
            "box": {"x": self.box.x, "y": self.box.y, "width": self.box.width, "height": self.box.height},
            "outline": [[list(point) for point in polygon] for polygon in self.outline],
            "share": self.share,
            "searchable": self.searchable,
        }

    @classmethod
    def of_document(cls, found: Mapping[str, Any]) -> FoundGarment:
        """Raises KeyError, TypeError, ValueError if it is not such a document."""
        box = found["box"]
        return cls(
            number=int(found["number"]),
            kind=str(found["kind"]),
            title=str(found["title"]),
            probability=float(found["probability"]),
            box=Region(float(box["x"]), float(box["y"]), float(box["width"]), float(box["height"])),
            outline=tuple(tuple((float(x), float(y)) for x, y in polygon) for polygon in found["outline"]),
            share=float(found["share"]),
            searchable=bool(found["searchable"]),
        )


@dataclass(frozen=True, slots=True)
class RegionsFound:
    """What a parser found in a picture: the upright picture's size in pixels, and its garments in order.

    `timings_ms` are the milliseconds of each stage of the embedder.
    """

    release_id: str
    width_px: int
    height_px: int
    garments: tuple[FoundGarment, ...]
    timings_ms: Mapping[str, float]

    def document(self) -> dict[str, Any]:
        """The answer as JSON, without the timings."""
        return {
            "release": self.release_id,
            "width": self.width_px,
            "height": self.height_px,
            "garments": [garment.document() for garment in self.garments],
        }

    @classmethod
    def of_document(cls, found: Any, timings_ms: Mapping[str, float]) -> RegionsFound:
        """Raises EmbedderUnavailable if it is not such a document."""
        try:
            return cls(
                release_id=str(found["release"]),
                width_px=int(found["width"]),
                height_px=int(found["height"]),
                garments=tuple(map(FoundGarment.of_document, found["garments"])),
                timings_ms=timings_ms,
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise EmbedderUnavailable("the embedder's garments cannot be read: has it another version?") from error


def garments_text(numbers: Sequence[int] | None) -> str:
    """The parameter `garments`: numbers separated by commas, or `all` for None."""
    return ALL_GARMENTS if numbers is None else ",".join(map(str, numbers))


def encode_garments(
    regions: RegionsFound, of_garments: Sequence[Vectors], annotations: Sequence[Mapping[str, Any]]
) -> tuple[bytes, dict[str, str]]:
    """(body, headers) of the (N, dim) views of each embedded garment. `annotations` are their familiarity and labels,
    as `annotation` gives them.
    """
    told = json.dumps({"regions": regions.document(), "embedded": list(annotations)}, separators=(",", ":")).encode()
    rows, shapes = encode_views(of_garments)
    return told + rows, {GARMENTS_HEADER: str(len(told)), SHAPES_HEADER: shapes}


def annotation(familiar: bool | None, predicted: Sequence[Prediction]) -> dict[str, Any]:
    """What is said about an embedded garment, as JSON."""
    return {"familiar": familiar, "predicted": [[one.label, one.probability] for one in predicted]}


def regions_of(answer: httpx.Response) -> RegionsFound:
    """Decode the answer of `/v1/regions`. Raises EmbedderUnavailable."""
    return RegionsFound.of_document(_parsed(answer.content), parse_server_timing(answer.headers.get("server-timing")))


def embedded_garments_of(answer: httpx.Response) -> tuple[RegionsFound, tuple[Embedding, ...]]:
    """Decode the binary answer of `/v1/embed` with `garments`. Raises EmbedderUnavailable."""
    length = answer.headers.get(GARMENTS_HEADER, "")
    if not length.isdecimal() or len(length) > _MAX_LENGTH_DIGITS or int(length) > len(answer.content):
        raise EmbedderUnavailable("the embedder's answer has no garments: has it another version?")
    told, rows = _parsed(answer.content[: int(length)]), answer.content[int(length) :]
    timings_ms = parse_server_timing(answer.headers.get("server-timing"))
    shapes = answer.headers.get(SHAPES_HEADER, "")
    vectors = decode_views(rows, shapes) if shapes else []
    try:
        regions = RegionsFound.of_document(told["regions"], timings_ms)
        embeddings = tuple(
            Embedding(
                vector,
                timings_ms,
                one["familiar"],
                views,
                tuple(Prediction(str(label), float(probability)) for label, probability in one["predicted"]),
            )
            for (vector, views), one in zip(vectors, told["embedded"], strict=True)
        )
    except (KeyError, TypeError, ValueError) as error:
        raise EmbedderUnavailable("the embedder's garments cannot be read: has it another version?") from error
    return regions, embeddings


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise EmbedderUnavailable("the embedder's garments cannot be read: has it another version?") from error
