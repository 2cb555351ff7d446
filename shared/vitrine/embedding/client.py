"""The embedder's two clients. The synchronous one serves the indexer, whose pictures are of the
batch class; it tries again as long as its budget of seconds lasts. The asynchronous one serves searches,
which are interactive: they go first, and are tried once more at most.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Literal, Self

import httpx
from pydantic import SecretStr

from vitrine.embedding.abandon import AbandoningTransport
from vitrine.embedding.failures import error_of_answer, wait_before_retry_s
from vitrine.embedding.turns import Turns
from vitrine.embedding.wire import (
    CALLER_HEADER,
    DEADLINE_HEADER,
    FAMILIAR_HEADER,
    MAX_BATCH,
    REJECTED_HEADER,
    SHAPES_HEADER,
    VECTOR_MEDIA_TYPE,
    WORK_HEADER,
    BatchResult,
    Embedding,
    decode_batch,
    decode_familiar,
    decode_views,
    parse_server_timing,
)
from vitrine.errors import DeadlineExpired, EmbedderConnectionLost, EmbedderUnavailable, ParameterInvalid, VitrineError
from vitrine.telemetry import REQUEST_ID_HEADER, current_request_id

Space = Literal["projected", "raw"]
DEFAULT_TIMEOUT_S: Final = 30.0
_CONNECT_TIMEOUT_S: Final = 2.0
# The first call for a release makes the embedder load it, which takes seconds for a large network.
_BATCH_TIMEOUT_S: Final = 120.0


class EmbedderClient:
    """Synchronous. `retry_budget_s` bounds the seconds that all tries of one call may take; 0: one try. Thread-safe."""

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
            headers=_authorization(api_key),
            timeout=httpx.Timeout(timeout_s, connect=_CONNECT_TIMEOUT_S),
            trust_env=False,
        )
        self._retry_budget_s = retry_budget_s

    def embed(self, data: bytes, *, release_id: str, space: Space = "projected") -> Embedding:
        """One picture's vector. Raises ImageRejected, EmbeddingFailed, ReleaseNotFound, Unavailable."""
        answer = self._post("/v1/embed", _parameters(release_id, space), caller="", content=data)
        return _embeddings(answer)[0]

    def embed_batch(
        self, pictures: Sequence[bytes], *, release_id: str, space: Space = "projected", caller: str = ""
    ) -> list[BatchResult]:
        """A result for each of up to 256 pictures, in order: (dim,) float32, ImageRejected or EmbeddingFailed.

        `caller` is any name, among which the embedder is fair: a job's. Raises ReleaseNotFound, Unavailable.
        """
        answer = self._post("/v1/embed/batch", _parameters(release_id, space), caller=caller, files=_parts(pictures))
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
                answer = self._http.post(path, params=parameters, headers=_headers(None, caller, "batch"), **body)
                return _checked(answer)
            except httpx.HTTPError as error:
                failure: VitrineError = _unreachable(error)
            except VitrineError as error:
                failure = error
            wait_s = wait_before_retry_s(attempt, failure)
            left_s = self._retry_budget_s - (time.monotonic() - started_s)
            # A request that may have ended the embedder is not sent again before the caller has taken note of it.
            if not failure.retryable or wait_s > left_s or isinstance(failure, EmbedderConnectionLost):
                raise failure
            time.sleep(wait_s)
            attempt += 1


class AsyncEmbedderClient:
    """Asynchronous, with one connection pool. While `silent` is set every call ends at once with EmbedderSilent."""

    def __init__(
        self,
        url: str,
        *,
        api_key: SecretStr | None = None,
        silent: asyncio.Event | None = None,
        max_calls: int = 64,
    ) -> None:
        self._turns = Turns(max_calls)
        limits = httpx.Limits(max_connections=max_calls, max_keepalive_connections=max_calls)
        self._transport = AbandoningTransport(httpx.AsyncHTTPTransport(limits=limits, trust_env=False), silent)
        self.answered_within = self._transport.answered_within
        self._http = httpx.AsyncClient(
            base_url=url,
            headers=_authorization(api_key),
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
        caller: str = "",
        deadline_s: float | None = None,
    ) -> Embedding:
        """One picture's vector, the mean of `views` (see `vitrine.views.views_text`), within `deadline_s` seconds;
        then the embedder drops the work too. `caller` is an opaque name, among which the embedder is fair.

        Raises ImageRejected, EmbeddingFailed, ReleaseNotFound, DeadlineExpired, Unavailable.
        """
        parameters = {**_parameters(release_id, space), **_named(views=views)}
        answer = await self._post("/v1/embed", parameters, caller, deadline_s, content=data)
        return _embeddings(answer)[0]

    async def embed_for_both(
        self, data: bytes, *, release_ids: tuple[str, str], views: str, caller: str, deadline_s: float
    ) -> tuple[Embedding, Embedding]:
        """The same by two releases, from one upload and one decoding."""
        parameters = {**_parameters(release_ids[0], "projected"), "also": release_ids[1], **_named(views=views)}
        answer = await self._post("/v1/embed", parameters, caller, deadline_s, content=data)
        first, second = _embeddings(answer)
        return first, second

    async def embed_batch(
        self, pictures: Sequence[bytes], *, release_id: str, caller: str = "", deadline_s: float | None = None
    ) -> tuple[list[BatchResult], Mapping[str, float]]:
        """A result for each picture, in order, and the milliseconds each stage of the embedder took.

        Raises WorkTooLarge where decoding them takes longer than one call may, and as `embed` does.
        """
        parameters = _parameters(release_id, "projected")
        answer = await self._post("/v1/embed/batch", parameters, caller, deadline_s, files=_parts(pictures))
        results = decode_batch(answer.content, answer.headers.get(REJECTED_HEADER, ""), count=len(pictures))
        return results, parse_server_timing(answer.headers.get("server-timing"))

    async def explain(
        self, pictures: tuple[bytes, bytes], *, release_id: str, caller: str = "", deadline_s: float | None = None
    ) -> dict[str, Any]:
        """Why two pictures are alike: the embedder's answer to `/v1/explain` as it is. Raises as `embed` does."""
        parameters = _parameters(release_id, "projected")
        answer = await self._post("/v1/explain", parameters, caller, deadline_s, files=_parts(pictures))
        found: dict[str, Any] = answer.json()
        return found

    async def check(self, data: bytes, *, caller: str = "", deadline_s: float | None = None) -> None:
        """Decode a picture and drop it. Raises ImageRejected, DeadlineExpired, Unavailable."""
        await self._post("/v1/check", {}, caller, deadline_s, content=data)

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
                    # An overloaded embedder is not asked again: that would add to the load.
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
            async with self._turns.turn(caller):
                headers = _headers(ends_s - time.monotonic(), caller)
                answer = await self._http.post(path, params=parameters, headers=headers, **body)
        except httpx.HTTPError as error:
            raise _unreachable(error) from error
        return _checked(answer)


def _parameters(release_id: str, space: Space) -> dict[str, str]:
    return {"release": release_id, "space": space}


def _authorization(api_key: SecretStr | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_key.get_secret_value()}"} if api_key else {}


def _named(**values: str) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def _parts(pictures: Sequence[bytes]) -> list[tuple[str, tuple[str, bytes, str]]]:
    if not 1 <= len(pictures) <= MAX_BATCH:
        raise ParameterInvalid(f"a batch has 1 to {MAX_BATCH} pictures, not {len(pictures)}")
    return [("image", (f"{number}", data, VECTOR_MEDIA_TYPE)) for number, data in enumerate(pictures)]


def _headers(left_s: float | None, caller: str, work: str = "") -> dict[str, str]:
    headers = {"Accept": VECTOR_MEDIA_TYPE, **_named(**{CALLER_HEADER: caller, WORK_HEADER: work})}
    request_id = current_request_id()
    if request_id is not None:
        headers[REQUEST_ID_HEADER] = request_id
    if left_s is not None:
        headers[DEADLINE_HEADER] = str(max(1, int(left_s * 1000)))
    return headers


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.status_code in (200, 204):
        return answer
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    raise error_of_answer(answer.status_code, answer.headers, problem)


def _embeddings(answer: httpx.Response) -> list[Embedding]:
    found = decode_views(answer.content, answer.headers.get(SHAPES_HEADER, ""))
    timings_ms = parse_server_timing(answer.headers.get("server-timing"))
    familiar = decode_familiar(answer.headers.get(FAMILIAR_HEADER, ""), count=len(found))
    return [Embedding(vector, timings_ms, known, views) for (vector, views), known in zip(found, familiar, strict=True)]


def _unreachable(error: httpx.HTTPError) -> VitrineError:
    if isinstance(error, httpx.ReadTimeout):
        return EmbedderUnavailable("the embedder did not answer in time: try again in a moment", retry_after_s=1.0)
    if isinstance(error, httpx.ReadError | httpx.WriteError | httpx.RemoteProtocolError):
        return EmbedderConnectionLost(
            f"the embedder ended the connection before it answered ({type(error).__name__}): try again in a moment",
            retry_after_s=0.5,
        )
    return EmbedderUnavailable(
        f"the embedder cannot be reached ({type(error).__name__}): try again in a moment", retry_after_s=0.5
    )
