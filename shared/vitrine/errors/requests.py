"""Errors of the request itself: 4xx, except those of catalogues, releases and pictures."""

from __future__ import annotations

from vitrine.errors.base import VitrineError


class InputInvalid(VitrineError):
    """The request is not valid."""

    status = 400


class ParameterInvalid(InputInvalid):
    """A query, path or form parameter is out of range or has the wrong type."""


class FilterInvalid(InputInvalid):
    """A filter names an unknown field or has a value of the wrong type."""


class ModelUnknown(InputInvalid):
    """The request names a model that has no active collection in this dataset. For an address see ModelNotFound."""


class ImageMissing(InputInvalid):
    """The request contains no picture."""


class ImageRejected(InputInvalid):
    """The picture cannot be used. `reason` is one of `vitrine.images.checks.REASONS`; the code is `image_REASON`."""

    code = InputInvalid.code  # of the class; each instance has its own

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.code = f"image_{reason}"


class GarmentUnknown(InputInvalid):
    """The picture has no garment of this number. The detail says how many it has."""


class BodyInvalid(InputInvalid):
    """A JSON body does not match its schema."""

    status = 422


class MediaTypeUnsupported(InputInvalid):
    """The call does not accept bodies of this type."""

    status = 415


class BodyTooLarge(InputInvalid):
    """The body exceeds the limit; it was not read to its end."""

    status = 413


class HeadersTooLarge(InputInvalid):
    """The request line and headers exceed the limit."""

    status = 431


class RequestTooSlow(InputInvalid):
    """The headers or the body did not arrive in time."""

    status = 408
    retryable = True


class WorkTooLarge(InputInvalid):
    """The call asks for more work than one call may."""

    status = 413


class AccessDenied(VitrineError):
    """The caller is not allowed to do this."""

    status = 403


class KeyMissing(AccessDenied):
    """The call needs an API key and has none."""

    status = 401


class KeyRefused(AccessDenied):
    """The API key is unknown or lacks the scope."""


class ForeignSite(AccessDenied):
    """A page of another web site makes a call that changes something or is expensive."""


class HostRefused(AccessDenied):
    """The Host header names another machine."""

    status = 421


class TooManyRequests(AccessDenied):
    """The caller exceeds its quota."""

    status = 429
    retryable = True


class NotFound(VitrineError):
    """The resource in the address does not exist."""

    status = 404


class ProductNotFound(NotFound):
    """The dataset has no such product."""


class PictureNotFound(NotFound):
    """The product's picture is missing, or the product is unknown."""


class PictureNotDownloaded(PictureNotFound):
    """The picture is a link, and it could not be downloaded."""


class DatasetNotFound(NotFound):
    """Nothing of this dataset is indexed."""


class ModelNotFound(NotFound):
    """The model has no active collection."""


class ReleaseNotFound(NotFound):
    """The release store has no such release."""


class ParserNotFound(NotFound):
    """The release store has no parser, which finds the garments in a photograph."""


class CollectionNotFound(NotFound):
    """There is no such collection."""


class UploadNotFound(NotFound):
    """There is no uploaded query picture with this id, or it has expired."""


class JobNotFound(NotFound):
    """There is no such job."""


class Conflict(VitrineError):
    """The state of the resource does not allow this."""

    status = 409


class ReleaseMismatch(Conflict):
    """A vector or a collection belongs to another release; vector spaces are never mixed."""


class CollectionIncomplete(Conflict):
    """The collection was never published, so it cannot be activated."""


class JobFinished(Conflict):
    """The job has already finished."""


class RemovalRefused(Conflict):
    """Indexing would remove a large part of the active products, and that was not allowed."""


class JobUnfinished(Conflict):
    """The job has not finished, so its record is still needed."""


class RecordChanged(Conflict):
    """Another process changed the record first."""

    retryable = True


class JobCancelled(Conflict):
    """The job was cancelled while it ran."""
