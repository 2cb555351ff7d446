"""What the local Qdrant refuses, in Qdrant's own words: the status and the message that the server would send."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar


class QdrantError(Exception):
    """An answer other than success. `status` is the HTTP status; `prefix` is how Qdrant opens the message."""

    status: ClassVar[int] = 500
    prefix: ClassVar[str] = "Service internal error: "

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.message = f"{self.prefix}{detail}"


class WrongInput(QdrantError):
    """The request is well formed but asks for something that cannot be."""

    status = 400
    prefix = "Wrong input: "


class BadRequest(QdrantError):
    """The request breaks a rule of the collection's strict mode."""

    status = 400
    prefix = "Bad request: "


class FormatInvalid(QdrantError):
    """The body is not the JSON that the call takes."""

    status = 400
    prefix = "Format error in JSON body: "


class ValidationFailed(QdrantError):
    """A value in the body is out of its range."""

    status = 422
    prefix = "Validation error in JSON body: "


class KeyRefused(QdrantError):
    """The API key is missing or wrong."""

    status = 401
    prefix = ""


class NotFound(QdrantError):
    """A collection, alias or point that does not exist."""

    status = 404
    prefix = "Not found: "


class AlreadyExists(QdrantError):
    """The name is taken."""

    status = 409
    prefix = "Wrong input: "


class BodyTooLong(QdrantError):
    """The body is longer than the server takes."""

    status = 413
    prefix = "Payload too large: "


class MediaTypeRefused(QdrantError):
    """A body that is not declared as JSON."""

    status = 415
    prefix = "Content type error: "


class DiskFull(QdrantError):
    """The disk has no room for a write. The server answers with the same status and opening."""


class Unsupported(QdrantError):
    """A part of Qdrant that the local one does not have."""

    status = 501
    prefix = "Not supported by the local Qdrant: "


_MISSING_POINT = re.compile(r"No point with id \S+")
_CALLERS_FAULT = (
    "Vector dimension error",
    "Not existing vector name",
    "No appropriate index",
    "No range index",
    "Wrong",
    "Validation",
    "Unsupported",
)


def is_engine_failure(error: BaseException) -> bool:
    """Whether something is an error or a panic of the engine, which is no Exception, and not a signal to stop."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


@contextmanager
def engine_errors() -> Iterator[None]:
    """Turn what the engine raises into Qdrant's answers. What is not known to be the caller's fault stays a 500."""
    try:
        yield
    except QdrantError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise FormatInvalid(str(error)) from error
    except Exception as error:
        text = str(error)
        if missing := _MISSING_POINT.search(text):
            raise NotFound(f"{missing[0]} found") from error
        if any(word in text for word in _CALLERS_FAULT):
            raise WrongInput(text) from error
        raise
