"""Cursors: the beginning of a page of a listing, as text for a URL. A cursor is bound to its listing and is refused
with other filters or another sort. Its content is validated like any input.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from search_api.products.listing import Listing, Part, Place
from vitrine.errors import ParameterInvalid

MAX_CURSOR_CHARS: Final = 400
_DIGEST_CHARS: Final = 16
_NO_CURSOR: Final = "'cursor' is invalid: use the `next` of an answer unchanged"


class _Cursor(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    listing: str = Field(alias="l")
    part: Part = Field(alias="p")
    value: int | float | None = Field(default=None, alias="v", allow_inf_nan=False)
    point: UUID | None = Field(default=None, alias="i")


def cursor_of(place: Place, listing: Listing) -> str:
    """Encode a place of a listing."""
    point = UUID(place.point) if place.point is not None else None
    cursor = _Cursor(l=_digest(listing), p=place.part, v=place.value, i=point)
    text = cursor.model_dump_json(by_alias=True, exclude_none=True)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def place_of(cursor: str, listing: Listing) -> Place:
    """Decode a cursor. Raises ParameterInvalid if it is invalid or of another listing."""
    try:
        read = _Cursor.model_validate_json(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError:
        raise ParameterInvalid(_NO_CURSOR) from None
    if read.listing != _digest(listing):
        raise ParameterInvalid(
            "'cursor' belongs to a listing with another dataset, other filters or another sort: begin without it"
        )
    place = Place(read.part, read.value, str(read.point) if read.point is not None else None)
    if place.part not in listing.order.parts or not _is_possible(place):
        raise ParameterInvalid(_NO_CURSOR)
    return place


def _is_possible(place: Place) -> bool:
    if place.part == "rest":
        return place.value is None
    return place.value is not None or place.point is None


def _digest(listing: Listing) -> str:
    """A digest of dataset, filters and sort. It leaves out the model, because all models have the same point ids."""
    whole = repr((listing.dataset, listing.spec.key, listing.order))
    return hashlib.sha256(whole.encode()).hexdigest()[:_DIGEST_CHARS]
