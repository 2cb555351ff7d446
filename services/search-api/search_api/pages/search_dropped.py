"""The first results of a picture that was just dropped: it is stored, its faces blurred, while it is searched with."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass
from typing import Final

from search_api.context import Context
from search_api.pages.search_finding import Answers, Offer, find_all
from search_api.pages.search_garments import first_of
from search_api.pages.search_regions import LATER, PATIENCE_S, Seen, forget, see_garments
from search_api.pages.search_state import SearchState
from search_api.search.query_embedding import Asked
from search_api.search.uploads import new_upload_id
from vitrine.errors import ParserNotFound, VitrineError

# Garments are numbered from the most prominent one on.
_FIRST: Final = "1"


@dataclass(frozen=True, slots=True)
class Dropped:
    """The results of a dropped picture, and the state that they belong to. If it was not `kept` they are shown once."""

    state: SearchState
    seen: Seen
    answers: Answers
    kept: bool = True


async def search_dropped(context: Context, state: SearchState, found: Offer, asked: Asked, picture: bytes) -> Dropped:
    """Store the picture and search with its most prominent sure garment, else with all of it.

    It is not kept if no parser is there to blur faces. Raises the errors of a search and of storing a picture.
    """
    upload_id = new_upload_id()
    state = state.without_picture().having(upload=upload_id)
    keeping = asyncio.create_task(context.uploads.keep(picture, caller=asked.caller, upload_id=upload_id))
    try:
        first = await _first_results(context, state, found, dataclasses.replace(asked, upload=upload_id), picture)
        try:
            await keeping
        except ParserNotFound:
            return Dropped(state.having(upload=None), Seen(), first.answers, kept=False)
    finally:
        keeping.cancel()
        keeping.add_done_callback(forget)
    return first


async def _first_results(context: Context, state: SearchState, found: Offer, asked: Asked, picture: bytes) -> Dropped:
    part = state.searching_part(_FIRST)
    looking = asyncio.ensure_future(find_all(context, part, found, asked, picture, with_facets=False))
    try:
        async with asyncio.timeout(PATIENCE_S):
            answers = await asyncio.shield(looking)
        seen = await see_garments(context, found, asked, picture)
        first = _FIRST if seen.regions is None else str(first_of(seen.regions))
        if first != _FIRST:  # the parser is not sure of the most prominent one
            part = state.searching_part(first)
            answers = await find_all(context, part, found, asked, picture, with_facets=False)
        return Dropped(part, seen, answers)
    except TimeoutError:
        looking.add_done_callback(forget)  # it goes on, so that the garments are known when they are asked for
        seen = Seen(late=True)
    except VitrineError as error:  # of the parser, or one that the search below has too
        seen = Seen(late=error.status in LATER)
    except asyncio.CancelledError:
        looking.cancel()
        raise
    return Dropped(state, seen, await find_all(context, state, found, asked, picture, with_facets=False))
