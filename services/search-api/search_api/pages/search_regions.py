"""The garments in the query picture. The page works the same without them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from search_api.context import Context
from search_api.pages.search_finding import Offer
from search_api.search.options import Target
from search_api.search.query_embedding import Asked
from vitrine.errors import VitrineError
from vitrine.telemetry import get_logger

# If finding the garments takes longer, the results of the whole picture come first.
PATIENCE_S: Final = 1.0
# Statuses of an embedder that will have time later.
LATER: Final = frozenset({429, 503, 504})


@dataclass(frozen=True, slots=True)
class Seen:
    """The garments as `/api/regions` answers them. None without a garment, or if they are not known yet (`late`)."""

    regions: Mapping[str, Any] | None = None
    late: bool = False


async def see_garments(
    context: Context, found: Offer, asked: Asked, picture: bytes | None, *, patience_s: float | None = PATIENCE_S
) -> Seen:
    """The garments in the picture of an upload. Never raises: an error of the parser is none of the search."""
    if asked.upload is None or picture is None:
        return Seen()
    target = Target(dataset=found.serving.dataset, model=found.serving.model)
    looking = asyncio.ensure_future(context.search.regions(picture, target, asked))
    try:
        async with asyncio.timeout(patience_s):
            regions = await asyncio.shield(looking)
    except TimeoutError:
        looking.add_done_callback(forget)  # it goes on, so that they are known when they are asked for again
        return Seen(late=True)
    except VitrineError as error:
        get_logger("search_page").info("garments_not_found", code=error.code)
        return Seen(late=error.status in LATER)
    except asyncio.CancelledError:
        looking.cancel()
        raise
    return Seen(regions) if any(one["searchable"] for one in regions["garments"]) else Seen()


def forget(looking: asyncio.Future[Any]) -> None:
    """Mark the error of a task that nobody waits for as seen."""
    if not looking.cancelled():
        looking.exception()
