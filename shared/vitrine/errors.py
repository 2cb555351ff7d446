"""Every error a user or a caller can meet, in one tree. Each class says what happened (`code`, stable), which HTTP
status tells it, and whether trying the same thing again can help. Anything else that escapes is a defect: 500.

    VitrineError
    ├── InvalidInput                  400  the request says something that cannot be
    │   ├── ParameterInvalid          400
    │   ├── FilterInvalid             400
    │   ├── ModelUnknown              400  named in a request; see ModelNotFound for an address
    │   ├── ImageMissing              400
    │   ├── ImageRejected             400  with a `reason`, so the code is e.g. image_truncated
    │   ├── BodyInvalid               422
    │   ├── MediaTypeUnsupported      415
    │   ├── BodyTooLarge              413
    │   ├── HeadersTooLarge           431
    │   ├── RequestTooSlow            408
    │   └── WorkTooLarge              413  one call that asks for more work than any may
    ├── AccessDenied
    │   ├── KeyMissing                401
    │   ├── KeyRefused                403
    │   ├── ForeignSite               403  a page of another web site asks
    │   ├── HostRefused               421
    │   └── TooManyRequests           429  retryable
    ├── NotFound                      404
    │   ├── ProductNotFound           404
    │   ├── PictureNotFound           404
    │   ├── DatasetNotFound           404
    │   ├── ModelNotFound             404
    │   ├── ReleaseNotFound           404
    │   ├── CollectionNotFound        404
    │   └── JobNotFound               404
    ├── Conflict                      409
    │   ├── ReleaseMismatch           409  a vector or a collection of another release
    │   ├── CollectionIncomplete      409
    │   ├── JobFinished               409
    │   ├── RemovalRefused            409  an indexing would remove much of what serves
    │   ├── JobUnfinished             409
    │   └── RecordChanged             409  retryable: another writer was first
    ├── Unavailable                   503  retryable
    │   ├── EmbedderOverloaded        503
    │   ├── EmbedderSilent            503  it does not answer its health check
    │   ├── EmbedderBusyWithHeavyWork 503  its small pool for expensive calls is full, others are served
    │   ├── EmbedderUnavailable       503
    │   │   └── EmbedderConnectionLost 503 it ended while it worked on the request
    │   ├── VectorStoreUnavailable    503
    │   │   └── VectorStoreRefused    503  not retryable: the same request is refused again
    │   ├── BrokerUnavailable         503
    │   ├── TooManyJobs               503  jobs that have not ended fill the list
    │   │   └── BrokerFull            503  Redis is at its memory limit
    │   ├── Draining                  503
    │   └── DeadlineExpired           504
    ├── CatalogError                  422
    │   ├── CatalogNotFound           422
    │   ├── CatalogRootRefused        422
    │   └── CatalogMalformed          422
    ├── ReleaseError                  422
    │   ├── ReleaseCorrupt            500
    │   ├── WeightsUnusable           422
    │   ├── ProjectionImpossible      422
    │   ├── TrainingImpossible        422  what was asked for cannot be trained
    │   └── TrainingDiverged          422  the loss is no finite number any more
    ├── JobTooLarge                   422  a job would take more memory than there is
    ├── StorageFull                   507
    ├── EmbeddingFailed               500  the device failed on this picture alone
    ├── PictureCrashes                422  a process ends each time it works on this picture
    │   ├── PictureCrashesEmbedder    422
    │   └── PictureCrashesWorker      422
    ├── TooManyCrashes                500  so many pictures crash that it is not the pictures
    ├── WorkerCrashed                 500  a step of a job ended its worker's process each time
    ├── VerificationFailed            500  a new collection did not pass its checks
    ├── SettingsInvalid               500  at start only
    └── JobCancelled                  409
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, ClassVar


class VitrineError(Exception):
    """The root. `detail` is a sentence for the user: what is wrong and what to do."""

    code: str = "internal_error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str, *, retry_after_s: float | None = None, **context: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.context = context

    def problem(self) -> dict[str, Any]:
        """The error as RFC 9457 problem details, with Vitrine's `success` and `code` members."""
        return {
            "type": f"urn:vitrine:error:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "success": False,
            "retryable": self.retryable,
            **self.context,
        }


class InvalidInput(VitrineError):
    """The request says something that cannot be."""

    code = "input_invalid"
    status = 400


class ParameterInvalid(InvalidInput):
    """A query, path or form parameter is outside its range or of the wrong type."""

    code = "parameter_invalid"


class FilterInvalid(InvalidInput):
    """A filter names an unknown field or a value of the wrong type."""

    code = "filter_invalid"


class ModelUnknown(InvalidInput):
    """The request asks for a model that serves nothing in this dataset."""

    code = "model_unknown"


class ImageMissing(InvalidInput):
    """The request carries no picture."""

    code = "image_missing"


class ImageRejected(InvalidInput):
    """The picture cannot be used. `reason` is one of a small closed set, see `vitrine.images.decode`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.code = f"image_{reason}"


class BodyInvalid(InvalidInput):
    """A JSON body does not fit its schema."""

    code = "body_invalid"
    status = 422


class MediaTypeUnsupported(InvalidInput):
    """The body is of a type this call does not take."""

    code = "media_type_unsupported"
    status = 415


class BodyTooLarge(InvalidInput):
    """The body is larger than the limit; it was not read to its end."""

    code = "body_too_large"
    status = 413


class HeadersTooLarge(InvalidInput):
    """The request line and headers are larger than the limit."""

    code = "headers_too_large"
    status = 431


class RequestTooSlow(InvalidInput):
    """The headers or the body did not arrive in time."""

    code = "request_too_slow"
    status = 408
    retryable = True


class WorkTooLarge(InvalidInput):
    """One call asks for more work than any call may."""

    code = "work_too_large"
    status = 413


class AccessDenied(VitrineError):
    """The caller may not do this."""

    code = "access_denied"
    status = 403


class KeyMissing(AccessDenied):
    """The call needs an API key and brought none."""

    code = "key_missing"
    status = 401


class KeyRefused(AccessDenied):
    """The API key is unknown or lacks the scope."""

    code = "key_refused"


class ForeignSite(AccessDenied):
    """A page of another web site makes a call that changes or costs something."""

    code = "foreign_site"


class HostRefused(AccessDenied):
    """The Host header names another machine."""

    code = "host_refused"
    status = 421


class TooManyRequests(AccessDenied):
    """The caller is over its quota."""

    code = "too_many_requests"
    status = 429
    retryable = True


class NotFound(VitrineError):
    """The thing named in the address does not exist."""

    code = "not_found"
    status = 404


class ProductNotFound(NotFound):
    """No such product in the dataset."""

    code = "product_not_found"


class PictureNotFound(NotFound):
    """The product is known, its picture is gone; or neither is known."""

    code = "picture_not_found"


class DatasetNotFound(NotFound):
    """Nothing of this dataset is indexed."""

    code = "dataset_not_found"


class ModelNotFound(NotFound):
    """No collection serves this model."""

    code = "model_not_found"


class ReleaseNotFound(NotFound):
    """The release store holds no such release."""

    code = "release_not_found"


class CollectionNotFound(NotFound):
    """No such collection."""

    code = "collection_not_found"


class UploadNotFound(NotFound):
    """No picture is kept under this id, or no longer."""

    code = "upload_not_found"


class JobNotFound(NotFound):
    """No such job."""

    code = "job_not_found"


class Conflict(VitrineError):
    """The thing is in a state that does not allow this."""

    code = "conflict"
    status = 409


class ReleaseMismatch(Conflict):
    """A vector or a collection belongs to another release; vector spaces never mix."""

    code = "release_mismatch"


class CollectionIncomplete(Conflict):
    """The collection was never published, so it cannot be activated."""

    code = "collection_incomplete"


class JobFinished(Conflict):
    """The job has ended already."""

    code = "job_finished"


class RemovalRefused(Conflict):
    """An indexing would remove a large part of the products that serve, and was not allowed to."""

    code = "removal_refused"


class JobUnfinished(Conflict):
    """The job has not ended, so its record is still needed."""

    code = "job_unfinished"


class RecordChanged(Conflict):
    """Another writer changed the record first."""

    code = "record_changed"
    retryable = True


class Unavailable(VitrineError):
    """A part of the system cannot answer now."""

    code = "unavailable"
    status = 503
    retryable = True


class EmbedderOverloaded(Unavailable):
    """The embedder's queue is full."""

    code = "embedder_overloaded"


class EmbedderSilent(Unavailable):
    """The embedder does not answer its health check, so calls end at once. Not tried again within the call."""

    code = "embedder_unavailable"


class EmbedderBusyWithHeavyWork(Unavailable):
    """The embedder's pool for expensive calls (several views, explanations, very large pictures) is full."""

    code = "embedder_busy_with_heavy_work"


class EmbedderUnavailable(Unavailable):
    """The embedder cannot be reached or is not ready."""

    code = "embedder_unavailable"


class EmbedderConnectionLost(EmbedderUnavailable):
    """The connection broke after the request was sent: the embedder ended, perhaps of what it was working on."""

    code = "embedder_connection_lost"


class VectorStoreUnavailable(Unavailable):
    """Qdrant cannot be reached or refuses work."""

    code = "vector_store_unavailable"


class VectorStoreRefused(VectorStoreUnavailable):
    """Qdrant refused a request, and would refuse it again."""

    code = "vector_store_refused"
    retryable = False


class BrokerUnavailable(Unavailable):
    """Redis cannot be reached, or refuses work for a reason that passes."""

    code = "broker_unavailable"


class BrokerFull(BrokerUnavailable):
    """Redis is at its memory limit and takes no new data. What it holds can still be read."""

    code = "broker_full"


class TooManyJobs(Unavailable):
    """As many jobs as there may be have not ended yet."""

    code = "too_many_jobs"


class Draining(Unavailable):
    """The service is stopping and takes no new work."""

    code = "draining"


class DeadlineExpired(Unavailable):
    """The caller's deadline passed before the work was done."""

    code = "deadline_expired"
    status = 504


class CatalogError(VitrineError):
    """A catalogue as a whole cannot be read. Faults of single rows are not errors, see `vitrine.catalogs`."""

    code = "catalog_error"
    status = 422


class CatalogNotFound(CatalogError):
    """The folder or its CSV does not exist."""

    code = "catalog_not_found"


class CatalogRootRefused(CatalogError):
    """The folder lies outside the configured catalogue roots."""

    code = "catalog_root_refused"


class CatalogMalformed(CatalogError):
    """The catalogue's CSV has no usable header or no usable row."""

    code = "catalog_malformed"


class ReleaseError(VitrineError):
    """A release cannot be made or used."""

    code = "release_error"
    status = 422


class ReleaseCorrupt(ReleaseError):
    """A release's files do not match its manifest."""

    code = "release_corrupt"
    status = 500


class WeightsUnusable(ReleaseError):
    """The weights are missing or do not fit the architecture."""

    code = "weights_unusable"


class ProjectionImpossible(ReleaseError):
    """A projection cannot be fitted, for instance with fewer pictures than components."""

    code = "projection_impossible"


class TrainingImpossible(ReleaseError):
    """What was asked for cannot be trained, for instance on a single class or without pictures."""

    code = "training_impossible"


class EvaluationImpossible(ReleaseError):
    """What was asked for cannot be measured, for instance without a query that has anything to find."""

    code = "evaluation_impossible"


class TrainingDiverged(ReleaseError):
    """The loss is no finite number any more."""

    code = "training_diverged"


class JobTooLarge(VitrineError):
    """A job would take more memory than it may. The detail names the option that makes it too large."""

    code = "job_too_large"
    status = 422


class StorageFull(VitrineError):
    """The disk has no room for what must be written. What was written before is whole."""

    code = "storage_full"
    status = 507


class VectorStoreFull(StorageFull):
    """Qdrant's disk has no room for what must be written. Searches go on."""

    code = "vector_store_full"
    retryable = True


class EmbeddingFailed(VitrineError):
    """The device failed on this picture alone; its neighbours in the batch were served."""

    code = "embedding_failed"


class PictureCrashes(VitrineError):
    """A process ends each time it works on this picture, so the picture is left out."""

    code = "picture_crashes"
    status = 422


class PictureCrashesEmbedder(PictureCrashes):
    """The embedder's process ends each time it works on this picture."""

    code = "picture_crashes_embedder"


class PictureCrashesWorker(PictureCrashes):
    """The indexer's process ends each time it works on this picture."""

    code = "picture_crashes_worker"


class TooManyCrashes(VitrineError):
    """So many different pictures end a process that the release or the machine is at fault, and not the pictures."""

    code = "too_many_crashes"


class WorkerCrashed(VitrineError):
    """A step of a job ended its worker's process each time it was tried."""

    code = "worker_crashed"


class VerificationFailed(VitrineError):
    """A new collection did not pass its checks, so the old one goes on serving."""

    code = "verification_failed"


class SettingsInvalid(VitrineError):
    """The configuration cannot work; raised at start only."""

    code = "settings_invalid"


class JobCancelled(Conflict):
    """The job was cancelled while it ran."""

    code = "job_cancelled"
