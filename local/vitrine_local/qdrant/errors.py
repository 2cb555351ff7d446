"""The error answers of the local Qdrant: status and message are the ones the real server sends.

QdrantError
    WrongInput          400
    BadRequest          400
    FormatInvalid       400
    KeyRefused          401
    NotFound            404
    AlreadyExists       409
    BodyTooLong         413
    MediaTypeRefused    415
    ValidationFailed    422
    DiskFull            500
    Unsupported         501
"""

from __future__ import annotations

from typing import ClassVar


class QdrantError(Exception):
    """Base class. `status` is the HTTP status, `prefix` the start of the message."""

    status: ClassVar[int] = 500
    prefix: ClassVar[str] = "Service internal error: "

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.message = f"{self.prefix}{detail}"


class WrongInput(QdrantError):
    """The request is well formed but asks for something impossible."""

    status = 400
    prefix = "Wrong input: "


class BadRequest(QdrantError):
    """The request exceeds a limit of the collection's strict mode."""

    status = 400
    prefix = "Bad request: "


class FormatInvalid(QdrantError):
    """The body is not valid JSON or has a wrong field."""

    status = 400
    prefix = "Format error in JSON body: "


class KeyRefused(QdrantError):
    """The API key is missing or wrong."""

    status = 401
    prefix = ""


class NotFound(QdrantError):
    """The collection, alias or point does not exist."""

    status = 404
    prefix = "Not found: "


class AlreadyExists(QdrantError):
    """The name is taken."""

    status = 409
    prefix = "Wrong input: "


class BodyTooLong(QdrantError):
    """The body is longer than the limit."""

    status = 413
    prefix = "Payload too large: "


class MediaTypeRefused(QdrantError):
    """The body is not declared as JSON."""

    status = 415
    prefix = "Content type error: "


class ValidationFailed(QdrantError):
    """A value in the body is out of range."""

    status = 422
    prefix = "Validation error in JSON body: "


class DiskFull(QdrantError):
    """There is no disk space for a write."""


class Unsupported(QdrantError):
    """A feature of Qdrant that the local one does not have."""

    status = 501
    prefix = "Not supported by the local Qdrant: "
