"""What the search page does where finding the garments takes long or fails."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from search_api.context import Context
from search_api.pages.search_finding import Offer
from search_api.pages.search_regions import Seen, see_garments
from search_api.search.query_embedding import Asked
from vitrine.errors import EmbedderOverloaded, ParserNotFound, VitrineError

REGIONS: dict[str, Any] = {"width": 4, "height": 3, "garments": [{"number": 1, "searchable": True}]}
OFFER = cast("Offer", SimpleNamespace(serving=SimpleNamespace(dataset="shop", model="net")))
ASKED = Asked("caller", 0.0, upload="abc")


class Parser:
    """Answers once `ready` is set, with regions or an error."""

    def __init__(self, answer: dict[str, Any] | VitrineError) -> None:
        self.answer = answer
        self.ready = asyncio.Event()
        self.answered = 0

    async def regions(self, *_: Any) -> dict[str, Any]:
        await self.ready.wait()
        self.answered += 1
        if isinstance(self.answer, VitrineError):
            raise self.answer
        return self.answer

    async def seen(self, asked: Asked = ASKED, patience_s: float | None = None) -> Seen:
        context = cast("Context", SimpleNamespace(search=self))
        return await see_garments(context, OFFER, asked, b"picture", patience_s=patience_s)


def run(answer: dict[str, Any] | VitrineError, asked: Asked = ASKED) -> Seen:
    async def see() -> Seen:
        parser = Parser(answer)
        parser.ready.set()
        return await parser.seen(asked)

    return asyncio.run(see())


def test_the_garments_of_an_upload_are_seen_and_nothing_is_asked_without_one() -> None:
    assert run(REGIONS) == Seen(REGIONS)
    assert run(REGIONS, Asked("caller", 0.0)) == Seen()
    assert run({**REGIONS, "garments": [{"number": 1, "searchable": False}]}) == Seen()


@pytest.mark.parametrize(
    ("error", "late"), [(ParserNotFound("there is none"), False), (EmbedderOverloaded("busy"), True)]
)
def test_an_error_of_the_parser_never_reaches_the_search(error: VitrineError, late: bool) -> None:
    assert run(error) == Seen(late=late)


def test_garments_that_take_long_come_later_and_are_looked_for_once() -> None:
    async def see() -> None:
        parser = Parser(REGIONS)
        assert await parser.seen(patience_s=0.0) == Seen(late=True)
        parser.ready.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert parser.answered == 1

    asyncio.run(see())


def test_a_caller_that_goes_away_takes_the_search_for_garments_with_it() -> None:
    async def see() -> None:
        parser = Parser(REGIONS)
        seeing = asyncio.create_task(parser.seen(patience_s=60.0))
        await asyncio.sleep(0)
        seeing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await seeing
        parser.ready.set()
        await asyncio.sleep(0)
        assert parser.answered == 0

    asyncio.run(see())
