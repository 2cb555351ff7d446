"""One request to the embedder: its parameters and headers, and what its answer or the lack of one means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import httpx
from pydantic import SecretStr

from vitrine.embedding.failures import error_of_answer
from vitrine.embedding.wire import (
    CALLER_HEADER,
    DEADLINE_HEADER,
    FAMILIAR_HEADER,
    MAX_BATCH,
    PREDICTED_HEADER,
    SHAPES_HEADER,
    VECTOR_MEDIA_TYPE,
    WORK_HEADER,
    Embedding,
    decode_familiar,
    decode_predicted,
    decode_views,
    parse_server_timing,
)
from vitrine.errors import EmbedderConnectionLost, EmbedderUnavailable, ParameterInvalid, VitrineError
from vitrine.telemetry import REQUEST_ID_HEADER, current_request_id
from vitrine.views import Region, region_text

Space = Literal["projected", "raw"]


def embed_parameters(
    release_id: str,
    *,
    space: Space = "projected",
    also: str = "",
    views: str = "",
    region: Region | None = None,
    predict: int = 0,
) -> dict[str, str]:
    """The query of a call for vectors, without what is left at its default."""
    optional = _named(
        also=also,
        views=views,
        region="" if region is None else region_text(region),
        predict=str(predict) if predict else "",
    )
    return {"release": release_id, "space": space, **optional}


def bearer(api_key: SecretStr | None) -> dict[str, str]:
    """The header of every request to an embedder that asks for a key."""
    return {"Authorization": f"Bearer {api_key.get_secret_value()}"} if api_key else {}


def _named(**values: str) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}


def picture_parts(pictures: Sequence[bytes]) -> list[tuple[str, tuple[str, bytes, str]]]:
    """The multipart body of a batch. Raises ParameterInvalid for none or too many pictures."""
    if not 1 <= len(pictures) <= MAX_BATCH:
        raise ParameterInvalid(f"a batch has 1 to {MAX_BATCH} pictures, not {len(pictures)}")
    return [("image", (f"{number}", data, VECTOR_MEDIA_TYPE)) for number, data in enumerate(pictures)]


def request_headers(left_s: float | None, caller: str, work: str = "") -> dict[str, str]:
    """The headers of one request, `left_s` seconds before its caller stops waiting."""
    found = {"Accept": VECTOR_MEDIA_TYPE, **_named(**{CALLER_HEADER: caller, WORK_HEADER: work})}
    request_id = current_request_id()
    if request_id is not None:
        found[REQUEST_ID_HEADER] = request_id
    if left_s is not None:
        found[DEADLINE_HEADER] = str(max(1, int(left_s * 1000)))
    return found


def checked_answer(answer: httpx.Response) -> httpx.Response:
    """The answer, if it is one. Raises the error that any other status stands for."""
    if answer.status_code in (200, 204):
        return answer
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    raise error_of_answer(answer.status_code, answer.headers, problem)


def embeddings_of(answer: httpx.Response) -> list[Embedding]:
    """What `/v1/embed` answered, for each release. Raises EmbedderUnavailable for any other answer."""
    found = decode_views(answer.content, answer.headers.get(SHAPES_HEADER, ""))
    timings_ms = parse_server_timing(answer.headers.get("server-timing"))
    familiar = decode_familiar(answer.headers.get(FAMILIAR_HEADER, ""), count=len(found))
    # Labels are predicted by the first release alone.
    predicted = [decode_predicted(answer.headers.get(PREDICTED_HEADER, "")), *((),) * (len(found) - 1)]
    return [
        Embedding(vector, timings_ms, known, views, labels)
        for (vector, views), known, labels in zip(found, familiar, predicted, strict=True)
    ]


def error_without_answer(error: httpx.HTTPError) -> VitrineError:
    """The error that a request without an answer stands for."""
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
