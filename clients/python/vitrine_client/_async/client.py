"""The asynchronous client of the search API."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self, Unpack

import httpx

from vitrine_client._async.connection import AsyncConnection
from vitrine_client._async.datasets import AsyncDatasets
from vitrine_client._async.jobs import AsyncJobs
from vitrine_client._async.products import AsyncProducts
from vitrine_client._async.releases import AsyncReleases
from vitrine_client.examples import Example, is_id
from vitrine_client.filters import Filters, Pairs, filter_members, filter_pairs
from vitrine_client.models import ExplainAnswer, FacetsAnswer, RegionsAnswer, SearchAnswer, StatusAnswer, UploadAnswer
from vitrine_client.options import ListOptions, MatchOptions, SearchOptions
from vitrine_client.pictures import Picture, Upload
from vitrine_client.requests import (
    DEFAULT_RETRIES,
    DEFAULT_TIMEOUT_S,
    form_of,
    option_members,
    option_pairs,
    parse,
    path_of,
    query_of,
)


class AsyncVitrine:
    """An asynchronous client of one search API. Close it, or use it as a context manager.

    `url` and `api_key` are by default those in VITRINE_URL and VITRINE_API_KEY. `timeout_s` is for one answer. A call
    that the server refuses for the moment (429, 503), or that does not reach it, is repeated up to `max_retries` times;
    so is one that only reads if its answer is lost. Calls raise VitrineError.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        max_retries: int = DEFAULT_RETRIES,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.connection = AsyncConnection(
            url, api_key=api_key, timeout_s=timeout_s, max_retries=max_retries, transport=transport
        )
        self.products = AsyncProducts(self.connection)
        self.datasets = AsyncDatasets(self.connection)
        self.releases = AsyncReleases(self.connection)
        self.jobs = AsyncJobs(self.connection)

    @property
    def url(self) -> str:
        return self.connection.url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self.connection.aclose()

    async def search(
        self, picture: Picture, *, filters: Filters | None = None, **options: Unpack[SearchOptions]
    ) -> SearchAnswer:
        """The products that look most like a picture: a path, bytes, an open file, an Upload or a Link."""
        pairs = [*option_pairs(options), *filter_pairs(filters)]
        return parse(SearchAnswer, await self._post_picture("search", picture, pairs), "a search")

    async def regions(self, picture: Picture, *, model: str | None = None, dataset: str | None = None) -> RegionsAnswer:
        """The garments in a picture, such as a photograph of a person. A search with `region=garment.number` searches
        with one of them, with `regions="auto"` with each.
        """
        pairs = option_pairs({"model": model, "dataset": dataset})
        return parse(RegionsAnswer, await self._post_picture("regions", picture, pairs), "the regions")

    async def similar(
        self, product_id: str | int, *, filters: Filters | None = None, **options: Unpack[MatchOptions]
    ) -> SearchAnswer:
        """The products that look most like one of the catalogue."""
        pairs = [*option_pairs(options), *filter_pairs(filters)]
        content = await self.connection.call("GET", path_of("products", product_id, "similar"), params=query_of(pairs))
        return parse(SearchAnswer, content, "a search by product")

    async def recommend(
        self,
        positive: Sequence[Example],
        negative: Sequence[Example] = (),
        *,
        filters: Filters | None = None,
        **options: Unpack[ListOptions],
    ) -> SearchAnswer:
        """Products like the examples of `positive` and unlike those of `negative`. Text and numbers are ids of
        products; pictures are a Path, bytes, an open file, an Upload or a Link.
        """
        examples = {"positive": positive, "negative": negative}
        if all(is_id(one) for some in examples.values() for one in some):
            body = {**examples, **option_members(options), "filters": filter_members(filters)}
            content = await self.connection.call("POST", path_of("recommend"), json=body, repeatable=True)
        else:
            pairs = [*option_pairs(options), *filter_pairs(filters)]
            pictures: list[tuple[str, bytes]] = []
            for name, some in examples.items():
                for one in some:
                    await self._add_example(name, one, pairs, pictures)
            form = form_of(pairs, pictures)
            content = await self.connection.call("POST", path_of("recommend"), files=form, repeatable=True)
        return parse(SearchAnswer, content, "a recommendation")

    async def explain(
        self,
        picture: Picture,
        product_id: str | int,
        *,
        region: str | int | None = None,
        model: str | None = None,
        dataset: str | None = None,
    ) -> ExplainAnswer:
        """Where a picture and a product look alike, as a picture of both. `region` is that of a search: a garment's
        number or a box.
        """
        options = {"region": region, "model": model, "dataset": dataset}
        pairs = [("id", str(product_id)), *option_pairs(options)]
        return parse(ExplainAnswer, await self._post_picture("explain", picture, pairs), "an explanation")

    async def facets(
        self,
        *fields: str,
        model: str | None = None,
        dataset: str | None = None,
        limit: int | None = None,
        under: str | None = None,
        filters: Filters | None = None,
    ) -> FacetsAnswer:
        """The number of products of each value of the fields, among those that the filters let through.

        `under` counts only the levels of category paths right below that one; an empty text, the top levels.
        """
        named = option_pairs({"model": model, "dataset": dataset, "limit": limit, "under": under})
        pairs = [*(("field", name) for name in fields), *named, *filter_pairs(filters)]
        content = await self.connection.call("GET", path_of("facets"), params=query_of(pairs))
        return parse(FacetsAnswer, content, "facets")

    async def upload(self, picture: Picture) -> UploadAnswer:
        """Let the server keep a picture for a while. `Upload(answer.upload)` stands for it."""
        content = await self._post_picture("uploads", picture, [])
        return parse(UploadAnswer, content, "an upload")

    async def picture(self, address: str, *, width: int | None = None) -> bytes:
        """The picture at an address that an answer named, such as `result.image`; smaller with `width` (pixels)."""
        return await self.connection.file(address, **({} if width is None else {"width": width}))

    async def status(self) -> StatusAnswer:
        """Which services are up and what is indexed."""
        return parse(StatusAnswer, await self.connection.call("GET", path_of("status")), "the status")

    async def request(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Any call of the API as JSON, for what has no method here. `options` are those of httpx."""
        return await self.connection.call(method, path, **options)

    async def _post_picture(self, call: str, picture: Picture, pairs: Pairs) -> dict[str, Any]:
        part = await self.connection.part(picture)
        kept = [("upload", part.id)] if isinstance(part, Upload) else []
        sent = [] if isinstance(part, Upload) else [("image", part)]
        # A second upload is a second picture that expires: no harm.
        return await self.connection.call("POST", path_of(call), files=form_of([*pairs, *kept], sent), repeatable=True)

    async def _add_example(self, name: str, example: Example, pairs: Pairs, pictures: list[tuple[str, bytes]]) -> None:
        if isinstance(example, str | int):
            pairs.append((name, str(example)))
            return
        part = await self.connection.part(example)
        if isinstance(part, Upload):
            pairs.append((f"{name}Upload", part.id))
        else:
            pictures.append((f"{name}Image", part))
