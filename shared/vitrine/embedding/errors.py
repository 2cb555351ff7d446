"""The embedder's errors, mapped to Vitrine's, and the wait before a retry."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Final

import httpx

from vitrine.errors import (
    DeadlineExpired,
    Draining,
    EmbedderBusyWithHeavyWork,
    EmbedderConnectionLost,
    EmbedderOverloaded,
    EmbedderUnavailable,
    EmbeddingFailed,
    GarmentUnknown,
    ImageRejected,
    ParameterInvalid,
    ReleaseCorrupt,
    ReleaseNotFound,
    ReleaseOfOtherKind,
    VitrineError,
    WorkTooLarge,
)

_FIRST_WAIT_S: Final = 0.2
_LONGEST_WAIT_S: Final = 5.0
_RETRY_AFTER_REFUSAL_S: Final = 30.0


def picture_error(code: str, detail: str) -> ImageRejected | EmbeddingFailed:
    """The error of one picture, by its code."""
    if code.startswith("image_"):
        reason = code.removeprefix("image_")
        return ImageRejected(reason, detail or f"the picture was rejected: {reason.replace('_', ' ')}")
    return EmbeddingFailed(detail or "the network returned no vector for the picture")


def error_of_answer(status: int, headers: Mapping[str, str], problem: Any) -> VitrineError:
    """The error of an answer, by its status and its problem document, if it has one."""
    known = problem if isinstance(problem, dict) else {}
    code, detail = str(known.get("code", "")), str(known.get("detail", ""))
    if code.startswith("image_") or code == "embedding_failed":
        return picture_error(code, detail)
    if code == "release_not_found":
        return ReleaseNotFound(detail)
    if code == "garment_unknown":
        return GarmentUnknown(detail)
    if code == "release_of_other_kind":
        return ReleaseOfOtherKind(detail)
    if code in ("release_corrupt", "weights_unusable"):
        return ReleaseCorrupt(detail)
    if code == "deadline_expired":
        return DeadlineExpired(detail)
    if status in (401, 403):
        return EmbedderUnavailable(
            "the embedder refused this service's key: VITRINE_EMBEDDER_API_KEY must be the same for both",
            retry_after_s=_RETRY_AFTER_REFUSAL_S,
        )
    if code == "work_too_large":
        return WorkTooLarge(detail)
    if code == "embedder_busy_with_heavy_work":
        return EmbedderBusyWithHeavyWork(detail, retry_after_s=_retry_after_s(headers))
    if code in (Draining.code, EmbedderUnavailable.code):
        # It is stopping or restarting: another replica answers, or this one in a moment.
        return EmbedderUnavailable(detail, retry_after_s=_retry_after_s(headers))
    if status in (429, 503):
        return EmbedderOverloaded(
            detail or "the embedder is overloaded: try again in a moment", retry_after_s=_retry_after_s(headers)
        )
    if 400 <= status < 500:
        return ParameterInvalid(f"the embedder refused the request: {detail or status}")
    return EmbedderUnavailable(f"the embedder failed with status {status}: try again in a moment", retry_after_s=1.0)


def wait_before_retry_s(attempt: int, error: VitrineError) -> float:
    """Seconds before the next try: exponential with full jitter, and at least the error's `retry_after_s`."""
    jittered = random.uniform(0.0, min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**attempt))  # noqa: S311 - spreads load, no secret
    return max(jittered, error.retry_after_s or 0.0)


def _retry_after_s(headers: Mapping[str, str]) -> float:
    value = headers.get("retry-after", "")
    return float(value) if value.isdigit() else 1.0


def error_without_answer(error: httpx.HTTPError) -> VitrineError:
    """The error of a request without an answer."""
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
