"""The two clients of the embedder.

The synchronous one is for the indexer, whose pictures are batch work; it retries within a budget of seconds. The
asynchronous one is for searches, which are interactive and have priority; it retries once at most.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self

import httpx
from pydantic import SecretStr

from vitrine.embedding.connection import AbandoningTransport, FairLimiter
from vitrine.embedding.errors import error_without_answer, wait_before_retry_s
from vitrine.embedding.found_garments import RegionsFound, embedded_garments_of, garments_text, regions_of
from vitrine.embedding.wire import (
    REJECTED_HEADER,
    BatchResult,
    Embedding,
    Space,
    bearer,
    checked_answer,
    decode_batch,
    embed_parameters,
    embeddings_of,
    parse_server_timing,
    picture_parts,
    request_headers,
)
from vitrine.errors import DeadlineExpired, EmbedderConnectionLost, EmbedderUnavailable, VitrineError
from vitrine.images.regions import Region

DEFAULT_TIMEOUT_S: Final = 30.0
_CONNECT_TIMEOUT_S: Final = 2.0
# The embedder loads a release on its first call, which takes seconds for a large network.
_BATCH_TIMEOUT_S: Final = 120.0


class EmbedderClient:
    """Synchronous and thread-safe. `retry_budget_s` limits the seconds of all tries of a call; 0: one try."""

    def __init__(
        self,
        url: str,
        *,
        api_key: SecretStr | None = None,
        retry_budget_s: float = 0.0,
        timeout_s: float = _BATCH_TIMEOUT_S,
    ) -> None:
        self._http = httpx.Client(
            base_url=url,
            headers=bearer(api_key),
            timeout=httpx.Timeout(timeout_s, connect=_CONNECT_TIMEOUT_S),
            trust_env=False,
        )
        self._retry_budget_s = retry_budget_s

    def embed(
        self,
        data: bytes,
        *,
        release_id: str,
        space: Space = "projected",
        region: Region | None = None,
        predict: int = 0,
    ) -> Embedding:
        """The vector of one picture, or of a region of it, with the `predict` most likely labels, up to 20.

        Raises ImageRejected, EmbeddingFailed, ReleaseNotFound, Unavailable.
        """
        parameters = embed_parameters(release_id, space=space, region=region, predict=predict)
        answer = self._post("/v1/embed", parameters, caller="", content=data)
        return embeddings_of(answer)[0]

    def embed_batch(
        self, pictures: Sequence[bytes], *, release_id: str, space: Space = "projected", caller: str = ""
    ) -> list[BatchResult]:
        """A result for each of up to 256 pictures, in order: (dim,) float32, ImageRejected or EmbeddingFailed.

        The embedder is fair between callers; `caller` is a name such as the job's. Raises ReleaseNotFound, Unavailable.
        """
        parameters = embed_parameters(release_id, space=space)
        answer = self._post("/v1/embed/batch", parameters, caller=caller, files=picture_parts(pictures))
        return decode_batch(answer.content, answer.headers.get(REJECTED_HEADER, ""), count=len(pictures))

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _post(self, path: str, parameters: dict[str, str], *, caller: str, **body: Any) -> httpx.Response:
        started_s = time.monotonic()
        attempt = 0
        while True:
            try:
                answer = self._http.post(
                    path, params=parameters, headers=request_headers(None, caller, "batch"), **body
                )
                return checked_answer(answer)
            except httpx.HTTPError as error:
                failure: VitrineError = error_without_answer(error)
            except VitrineError as error:
                failure = error
            wait_s = wait_before_retry_s(attempt, failure)
            left_s = self._retry_budget_s - (time.monotonic() - started_s)
            # A request that may have crashed the embedder is not sent again until the caller has recorded that.
            if not failure.retryable or wait_s > left_s or isinstance(failure, EmbedderConnectionLost):
                raise failure
            time.sleep(wait_s)
            attempt += 1


class AsyncEmbedderClient:
    """Asynchronous, with one connection pool. While `silent` is set, every call raises EmbedderSilent at once."""

    def __init__(
        self,
        url: str,
        *,
        api_key: SecretStr | None = None,
        silent: asyncio.Event | None = None,
        max_calls: int = 64,
    ) -> None:
        self._limiter = FairLimiter(max_calls)
        limits = httpx.Limits(max_connections=max_calls, max_keepalive_connections=max_calls)
        self._transport = AbandoningTransport(httpx.AsyncHTTPTransport(limits=limits, trust_env=False), silent)
        self.answered_within = self._transport.answered_within
        self._http = httpx.AsyncClient(
            base_url=url,
            headers=bearer(api_key),
            timeout=httpx.Timeout(DEFAULT_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S),
            transport=self._transport,
        )

    async def embed(
        self,
        data: bytes,
        *,
        release_id: str,
        space: Space = "projected",
        views: str = "",
        region: Region | None = None,
        predict: int = 0,
        parser_id: str | None = None,
        caller: str = "",
        deadline_s: float | None = None,
    ) -> Embedding:
        """The vector of one picture: the mean of `views` (see `vitrine.images.views.views_text`).

        After `deadline_s` seconds the embedder drops the work too. `region` limits the vector to a part of the picture.
        `predict` is the number of most likely labels, up to 20. `parser_id` is the parser that the view `cutout` needs.
        The embedder is fair between callers; `caller` is an opaque name.

        Raises ImageRejected, EmbeddingFailed, ReleaseNotFound, ReleaseOfOtherKind, DeadlineExpired, Unavailable.
        """
        parameters = embed_parameters(
            release_id, space=space, views=views, region=region, predict=predict, parser_id=parser_id or ""
        )
        answer = await self._post("/v1/embed", parameters, caller, deadline_s, content=data)
        return embeddings_of(answer)[0]

    async def embed_for_both(
        self,
        data: bytes,
        *,
        release_ids: tuple[str, str],
        views: str,
        caller: str,
        deadline_s: float,
        region: Region | None = None,
        predict: int = 0,
        parser_id: str | None = None,
    ) -> tuple[Embedding, Embedding]:
        """`embed` by two releases, with one upload and one decoding. Only the first release predicts labels."""
        parameters = embed_parameters(
            release_ids[0], also=release_ids[1], views=views, region=region, predict=predict, parser_id=parser_id or ""
        )
        answer = await self._post("/v1/embed", parameters, caller, deadline_s, content=data)
        first, second = embeddings_of(answer)
        return first, second

    async def regions(
        self, picture: bytes, *, parser_id: str, caller: str = "", deadline_s: float | None = None
    ) -> RegionsFound:
        """The garments that a parser finds in a picture. Raises as `embed` does."""
        answer = await self._post("/v1/regions", {"release": parser_id}, caller, deadline_s, content=picture)
        return regions_of(answer)

    async def embed_garments(
        self,
        picture: bytes,
        *,
        release_id: str,
        parser_id: str,
        numbers: tuple[int, ...] | None = None,
        views: str = "",
        predict: int = 0,
        caller: str = "",
        deadline_s: float | None = None,
    ) -> tuple[RegionsFound, tuple[Embedding, ...]]:
        """The garments that a parser finds in a picture, and the vectors of some, each cut out, from one decoding.

        `numbers` are those of the garments to embed, in the order of the vectors; None: every searchable one, in order.
        Raises GarmentUnknown if there is no garment of a number, and as `embed` does.
        """
        parameters = embed_parameters(
            release_id, views=views, predict=predict, parser_id=parser_id, garments=garments_text(numbers)
        )
        answer = await self._post("/v1/embed", parameters, caller, deadline_s, content=picture)
        return embedded_garments_of(answer)

    async def anonymize(
        self, picture: bytes, *, parser_id: str, caller: str = "", deadline_s: float | None = None
    ) -> bytes:
        """The picture with blurred faces, upright, without metadata: a JPEG or WebP file. The same bytes if it shows
        nobody. Raises as `embed` does.
        """
        answer = await self._post("/v1/anonymize", {"parser": parser_id}, caller, deadline_s, content=picture)
        return answer.content

    async def embed_batch(
        self, pictures: Sequence[bytes], *, release_id: str, caller: str = "", deadline_s: float | None = None
    ) -> tuple[list[BatchResult], Mapping[str, float]]:
        """A result for each picture, in order, and the milliseconds of each stage of the embedder.

        Raises WorkTooLarge if decoding takes longer than one call may, and as `embed` does.
        """
        parameters = embed_parameters(release_id)
        answer = await self._post("/v1/embed/batch", parameters, caller, deadline_s, files=picture_parts(pictures))
        results = decode_batch(answer.content, answer.headers.get(REJECTED_HEADER, ""), count=len(pictures))
        return results, parse_server_timing(answer.headers.get("server-timing"))

    async def explain(
        self,
        pictures: tuple[bytes, bytes],
        *,
        release_id: str,
        region: Region | None = None,
        parser_id: str | None = None,
        garment: int | None = None,
        caller: str = "",
        deadline_s: float | None = None,
    ) -> dict[str, Any]:
        """Why two pictures are similar: the embedder's answer to `/v1/explain`. With a `region`, or a parser and the
        number of a `garment`, only that part of the first. Raises as `embed` does, and GarmentUnknown.
        """
        parameters = embed_parameters(release_id, region=region, parser_id=parser_id or "")
        if garment is not None:
            parameters["garment"] = str(garment)
        answer = await self._post("/v1/explain", parameters, caller, deadline_s, files=picture_parts(pictures))
        found: dict[str, Any] = answer.json()
        return found

    async def check(self, data: bytes, *, caller: str = "", deadline_s: float | None = None) -> None:
        """Decode a picture and drop it. Raises ImageRejected, DeadlineExpired, Unavailable."""
        await self._post("/v1/check", {}, caller, deadline_s, content=data)

    async def thumbnail(
        self, data: bytes, *, width_px: int, caller: str = "", deadline_s: float | None = None
    ) -> bytes:
        """A small WebP of a picture, upright, `width_px` wide at most, one of `vitrine.images.thumbnails`'s widths.

        Raises ImageRejected, ParameterInvalid, DeadlineExpired, Unavailable.
        """
        answer = await self._post("/v1/thumbnail", {"width": str(width_px)}, caller, deadline_s, content=data)
        return answer.content

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _post(
        self, path: str, parameters: dict[str, str], caller: str, deadline_s: float | None, **body: Any
    ) -> httpx.Response:
        budget_s = DEFAULT_TIMEOUT_S if deadline_s is None else deadline_s
        ends_s = time.monotonic() + budget_s
        try:
            async with asyncio.timeout(max(budget_s, 0.0)):
                try:
                    return await self._once(path, parameters, caller, ends_s, body)
                except VitrineError as error:
                    wait_s = wait_before_retry_s(0, error)
                    left_s = ends_s - time.monotonic()
                    # An overloaded embedder is not called again: that would add to the load.
                    if not isinstance(error, EmbedderUnavailable) or wait_s >= left_s:
                        raise
                    await asyncio.sleep(wait_s)
                    return await self._once(path, parameters, caller, ends_s, body)
        except TimeoutError as error:
            raise DeadlineExpired("the embedder did not answer in time: try again in a moment") from error

    async def _once(
        self, path: str, parameters: dict[str, str], caller: str, ends_s: float, body: dict[str, Any]
    ) -> httpx.Response:
        try:
            async with self._limiter.slot(caller):
                headers = request_headers(ends_s - time.monotonic(), caller)
                answer = await self._http.post(path, params=parameters, headers=headers, **body)
        except httpx.HTTPError as error:
            raise error_without_answer(error) from error
        return checked_answer(answer)
