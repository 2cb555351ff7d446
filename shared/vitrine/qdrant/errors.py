"""Qdrant's errors, mapped to Vitrine's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import grpc
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from vitrine.errors import (
    CollectionNotFound,
    FilterInvalid,
    VectorStoreFull,
    VectorStoreRefused,
    VectorStoreUnavailable,
)
from vitrine.telemetry import get_logger

_RETRY_AFTER_S: Final = 1.0
_MAX_REASON_CHARS: Final = 500
# In Qdrant's answer of status 500 when its disk is full.
_FULL: Final = "No space left on device"
_UNANSWERED: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
_HTTP_STATUSES: Final = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNIMPLEMENTED: 501,
}


@contextmanager
def qdrant_errors(collection: str | None = None, *, filtered: bool = False) -> Iterator[None]:
    """Map what a Qdrant client raises to Vitrine's errors.

    Raises CollectionNotFound for a 404 if `collection` is given, FilterInvalid for a refused request if `filtered`,
    VectorStoreFull, VectorStoreRefused for every other refusal, and VectorStoreUnavailable if Qdrant does not answer or
    asks to try again.
    """
    try:
        yield
    except ResourceExhaustedResponse as error:
        wait_s = max(_RETRY_AFTER_S, float(error.retry_after_s))
        raise VectorStoreUnavailable("Qdrant is over its rate limit", retry_after_s=wait_s) from error
    except UnexpectedResponse as error:
        reason = error.content.decode(errors="replace")
        raise _refusal(error.status_code, reason, collection, filtered=filtered) from error
    except grpc.RpcError as error:
        raise _grpc_refusal(error, collection, filtered=filtered) from error
    except (ResponseHandlingException, ApiException) as error:
        cause = type(getattr(error, "source", error)).__name__
        get_logger("qdrant").error("qdrant_failure", kind=cause, collection=collection)
        raise VectorStoreUnavailable(f"Qdrant cannot be reached ({cause})", retry_after_s=_RETRY_AFTER_S) from error


@contextmanager
def unless_exists() -> Iterator[None]:
    """Wrap a creation in Qdrant. If another process has created it first, that counts as success."""
    try:
        yield
    except UnexpectedResponse as error:
        if error.status_code != 409:
            raise
    except grpc.RpcError as error:
        if _grpc_status(error) != 409:
            raise


_Refusal = CollectionNotFound | FilterInvalid | VectorStoreFull | VectorStoreRefused | VectorStoreUnavailable


def _grpc_refusal(error: grpc.RpcError, collection: str | None, *, filtered: bool) -> _Refusal:
    status = _grpc_status(error)
    if status is None:
        cause = error.code().name if hasattr(error, "code") else type(error).__name__
        get_logger("qdrant").error("qdrant_failure", kind=cause, collection=collection)
        return VectorStoreUnavailable(f"Qdrant cannot be reached ({cause})", retry_after_s=_RETRY_AFTER_S)
    return _refusal(status, error.details() or "", collection, filtered=filtered)


def _grpc_status(error: grpc.RpcError) -> int | None:
    """The HTTP status of the same refusal; None if no node answered."""
    code = error.code() if hasattr(error, "code") else None
    return None if code is None or code in _UNANSWERED else _HTTP_STATUSES.get(code, 500)


def _refusal(status: int | None, reason: str, collection: str | None, *, filtered: bool) -> _Refusal:
    reason = reason[:_MAX_REASON_CHARS]
    if status == 404 and collection is not None:
        return CollectionNotFound(f"the collection {collection!r} or a point in it does not exist")
    get_logger("qdrant").error("qdrant_refusal", status=status, collection=collection, reason=reason)
    if _FULL in reason:
        start = reason.index(_FULL)
        message = reason[start:].split('"', 1)[0]
        return VectorStoreFull(f"Qdrant's disk is full: {message}", retry_after_s=_RETRY_AFTER_S)
    # 501: the local Qdrant does not support what was asked for, and never will.
    if status is None or (status >= 500 and status != 501) or status == 429:
        return VectorStoreUnavailable(f"Qdrant answered {status}", retry_after_s=_RETRY_AFTER_S)
    if filtered and status in (400, 422):
        return FilterInvalid("Qdrant does not accept this filter: a value is out of range")
    return VectorStoreRefused(f"Qdrant refused a request: {status} {reason}")
